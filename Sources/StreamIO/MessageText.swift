import CMessage

/// Why a message has no text: "cannot write value.a as JSON: nan".
public struct MessageTextProblem: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
}

/// Messages as text: what the sinks write, and what error messages show.
public enum MessageText {
    /// Appends the message as one JSON text, without a line end: what `stream.json.encode` gives for the same value
    /// (keys sorted by bytes, floats as the shortest text that reads back). A record that came as JSON leaves with
    /// its bytes. On a problem `out` is unchanged.
    public static func appendJSON(
        _ message: UnsafePointer<msg_header>, to out: inout ByteWriter
    ) throws(MessageTextProblem) {
        let count = out.count
        var encoder = MessageEncoder(describing: false, limit: .max)
        guard encoder.write(message, to: &out) else {
            out.truncate(to: count)
            throw MessageTextProblem(description: encoder.problem)
        }
    }

    /// Appends the message as text for a person or a line format, without a line end: strings as they are, other
    /// scalars as Lua's `tostring`, `null`, tables as JSON. On a problem `out` is unchanged.
    public static func appendLine(
        _ message: UnsafePointer<msg_header>, to out: inout ByteWriter
    ) throws(MessageTextProblem) {
        let payload = UnsafeRawPointer(message) + MSG_HEADER_SIZE
        switch Int(message.pointee.kind) {
        case MSG_STRING:
            out.append(payload + 4, Int(payload.loadUnaligned(as: UInt32.self)))
        case MSG_FLOAT:
            NumberText.appendToString(payload.loadUnaligned(as: Double.self), to: &out)
        case MSG_OBJECT:
            throw MessageTextProblem(description: "cannot write value as a line: a host object")
        default:
            try appendJSON(message, to: &out)
        }
    }

    /// The value for an error message, in at most `limit` bytes: as JSON where it can be, strings quoted, invalid
    /// UTF-8 as `\xNN`, what is left out as `...`.
    public static func describe(_ message: UnsafePointer<msg_header>, limit: Int) -> String {
        let limit = max(limit, 3)
        var out = ByteWriter(capacity: 256)
        var encoder = MessageEncoder(describing: true, limit: limit)
        _ = encoder.write(message, to: &out)
        let bytes = out.bytes
        guard bytes.count > limit else { return String(decoding: bytes, as: UTF8.self) }
        var cut = limit - 3
        while cut > 0, bytes[cut] & 0xC0 == 0x80 { cut -= 1 }  // not inside a character
        return String(decoding: bytes[..<cut], as: UTF8.self) + "..."
    }
}

/// The key by which a value is reached: for the path in a problem, and to sort fields.
private struct MessageKey {
    enum Kind { case string, integer, float }

    var kind: Kind
    var text: UnsafeRawPointer  // of a string
    var length: Int
    var bits: UInt64  // of a number

    static func integer(_ value: Int64, at text: UnsafeRawPointer) -> Self {
        Self(kind: .integer, text: text, length: 0, bits: UInt64(bitPattern: value))
    }

    func appendNumber(to out: inout ByteWriter) {
        if kind == .integer {
            NumberText.append(Int64(bitPattern: bits), to: &out)
        } else {
            NumberText.appendShortest(Double(bitPattern: bits), to: &out)
        }
    }

    /// By the bytes of the text; a number before a string that looks like it.
    static func precedes(_ a: Self, _ b: Self) -> Bool {
        if a.kind == .string, b.kind == .string { return compare(a.text, a.length, b.text, b.length) < 0 }
        var first = ByteWriter(capacity: 64), second = ByteWriter(capacity: 64)
        if a.kind == .string { first.append(a.text, a.length) } else { a.appendNumber(to: &first) }
        if b.kind == .string { second.append(b.text, b.length) } else { b.appendNumber(to: &second) }
        let order = first.bytes.withMemoryRebound(to: UInt8.self) { x in
            second.bytes.withMemoryRebound(to: UInt8.self) { y in
                compare(x.baseAddress!, x.count, y.baseAddress!, y.count)
            }
        }
        return order != 0 ? order < 0 : a.kind != .string && b.kind == .string
    }

    private static func compare(_ a: UnsafeRawPointer, _ m: Int, _ b: UnsafeRawPointer, _ n: Int) -> Int {
        for i in 0..<min(m, n) {
            let x = a.load(fromByteOffset: i, as: UInt8.self), y = b.load(fromByteOffset: i, as: UInt8.self)
            if x != y { return Int(x) - Int(y) }
        }
        return m - n
    }

    /// ".name", "[3]" or "[\"odd key\"]", shortened: the words of CLuaShim/json_encode.c.
    func step() -> String {
        guard kind == .string else {
            var out = ByteWriter(capacity: 64)
            appendNumber(to: &out)
            return "[\(String(decoding: out.bytes, as: UTF8.self))]"
        }
        let bytes = UnsafeRawBufferPointer(start: text, count: length)
        let isName =
            (1...40).contains(length) && !(0x30...0x39).contains(bytes[0])
            && bytes.allSatisfy { $0 == 0x5F || ($0 &- 0x30) < 10 || (($0 | 0x20) &- 0x61) < 26 }
        if isName { return "." + String(decoding: bytes, as: UTF8.self) }
        var out = ByteWriter(capacity: 64)
        out.append("[\"")
        var p = text
        let end = text + length
        while p < end, out.count < 40 {
            let c = p.load(as: UInt8.self)
            let n = c < 0x80 ? 1 : UTF8Text.sequenceLength(p, end)
            if n == 0 || c < 0x20 || c == 0x7F {
                NumberText.appendHex(c, prefix: "\\x", to: &out)
                p += 1
            } else {
                if c == UInt8(ascii: "\"") || c == UInt8(ascii: "\\") { out.append(UInt8(ascii: "\\")) }
                out.append(p, n)
                p += n
            }
        }
        if p < end { out.append("...") }
        out.append("\"]")
        return String(decoding: out.bytes, as: UTF8.self)
    }
}

/// Writes one message. The same rules as `shim_json_encode`, on the bytes of CMessage.h; for a description it goes
/// on where JSON has no word, and stops when the limit is passed.
private struct MessageEncoder {
    struct Field {
        var key: MessageKey
        var value: UnsafeRawPointer
        /// The first 8 bytes of a string key as a number, zeros after a shorter one: most comparisons need no more.
        var prefix: UInt64

        init(key: MessageKey, value: UnsafeRawPointer) {
            self.key = key
            self.value = value
            prefix = 0
            guard key.kind == .string else { return }
            withUnsafeMutableBytes(of: &prefix) {
                $0.copyMemory(from: UnsafeRawBufferPointer(start: key.text, count: min(8, key.length)))
            }
            prefix = UInt64(bigEndian: prefix)
        }

        @inline(__always)
        static func precedes(_ a: Self, _ b: Self) -> Bool {
            if a.prefix != b.prefix, a.key.kind == .string, b.key.kind == .string { return a.prefix < b.prefix }
            return MessageKey.precedes(a.key, b.key)
        }

        /// Few are sorted by insertion: records come in nearly the same order each time, and are short.
        static func sort(_ fields: UnsafeMutableBufferPointer<Self>) {
            guard fields.count <= 32 else {
                var fields = fields
                return fields.sort(by: precedes)
            }
            for i in fields.indices.dropFirst() {
                let moving = fields[i]
                var j = i
                while j > 0, precedes(moving, fields[j - 1]) {
                    fields[j] = fields[j - 1]
                    j -= 1
                }
                fields[j] = moving
            }
        }
    }

    let describing: Bool
    let limit: Int
    var problem = ""
    private var path: [MessageKey] = []
    private var cursor: UnsafeRawPointer

    init(describing: Bool, limit: Int) {
        self.describing = describing
        self.limit = limit
        cursor = UnsafeRawPointer(UnsafeMutableRawPointer(bitPattern: 8)!)
    }

    mutating func write(_ message: UnsafePointer<msg_header>, to out: inout ByteWriter) -> Bool {
        cursor = UnsafeRawPointer(message) + MSG_HEADER_SIZE
        switch Int(message.pointee.kind) {
        case MSG_FALSE: return writeValue(UInt8(MSG_VALUE_FALSE), to: &out)
        case MSG_TRUE: return writeValue(UInt8(MSG_VALUE_TRUE), to: &out)
        case MSG_NULL: return writeValue(UInt8(MSG_VALUE_NULL), to: &out)
        case MSG_INTEGER: return writeValue(UInt8(MSG_VALUE_INTEGER), to: &out)
        case MSG_FLOAT: return writeValue(UInt8(MSG_VALUE_FLOAT), to: &out)
        case MSG_STRING: return writeValue(UInt8(MSG_VALUE_STRING), to: &out)
        case MSG_TABLE: return writeValue(UInt8(MSG_VALUE_TABLE), to: &out)
        case MSG_JSON:
            let length = Int(take(UInt32.self))
            out.append(cursor, describing ? min(length, limit + 1) : length)
            return true
        default: return cannotWrite("a host object", "<host object>", to: &out)
        }
    }

    @inline(__always)
    private mutating func take<T: BitwiseCopyable>(_: T.Type) -> T {
        let value = cursor.loadUnaligned(as: T.self)
        cursor += MemoryLayout<T>.size
        return value
    }

    /// A problem; but a description shows `instead` and goes on.
    private mutating func cannotWrite(_ what: String, _ instead: String, to out: inout ByteWriter) -> Bool {
        guard !describing else {
            out.append(instead)
            return true
        }
        var steps = "value"
        for (i, key) in path.enumerated() {
            let skipped = path.count > 12 && i >= 8 && i < path.count - 3
            if skipped {
                if i == 8 { steps += "..." }
                continue
            }
            let step = key.step()
            guard steps.utf8.count + step.utf8.count <= 396 else {
                steps += "..."
                break
            }
            steps += step
        }
        problem = "cannot write \(steps) as JSON: \(what)"
        return false
    }

    /// The value at the cursor, behind its tag; the cursor moves behind it.
    private mutating func writeValue(_ tag: UInt8, to out: inout ByteWriter) -> Bool {
        switch Int(tag) {
        case MSG_VALUE_FALSE: out.append("false")
        case MSG_VALUE_TRUE: out.append("true")
        case MSG_VALUE_NULL: out.append("null")
        case MSG_VALUE_INTEGER: NumberText.append(take(Int64.self), to: &out)
        case MSG_VALUE_FLOAT:
            let number = take(Double.self)
            guard number.isFinite else {
                let text = number.isNaN ? "nan" : number < 0 ? "-inf" : "inf"
                return cannotWrite(text, text, to: &out)
            }
            NumberText.appendShortest(number, to: &out)
        case MSG_VALUE_STRING:
            let length = Int(take(UInt32.self))
            let text = cursor
            cursor += length
            return writeString(text, length, "", to: &out)
        case MSG_VALUE_TABLE: return writeTable(to: &out)
        case MSG_VALUE_JSON:
            let length = Int(take(UInt32.self))
            out.append(cursor, describing ? min(length, limit + 1) : length)
            cursor += length
        default:
            cursor += MemoryLayout<UnsafeRawPointer>.size
            return cannotWrite("a host object", "<host object>", to: &out)
        }
        return true
    }

    private mutating func writeTable(to out: inout ByteWriter) -> Bool {
        guard path.count < Int(MSG_MAX_DEPTH) else { return cannotWrite("nested deeper than 200", "...", to: &out) }
        let marked = Int(take(UInt8.self)) & MSG_TABLE_IS_ARRAY != 0
        let arrayCount = Int(take(UInt32.self)), pairCount = Int(take(UInt32.self))
        guard pairCount == 0, arrayCount > 0 || marked else {
            if marked, !describing { return cannotWrite("an array with holes or other keys", "", to: &out) }
            return withUnsafeTemporaryAllocation(of: Field.self, capacity: arrayCount + pairCount) { fields in
                writeObject(fields, arrayCount, to: &out)
            }
        }
        out.append(UInt8(ascii: "["))
        path.append(.integer(0, at: cursor))
        for i in 0..<arrayCount {
            if out.count > limit { break }
            path[path.count - 1].bits = UInt64(i + 1)
            if i > 0 { out.append(UInt8(ascii: ",")) }
            let tag = take(UInt8.self)
            guard writeValue(tag, to: &out) else { return false }
        }
        path.removeLast()
        out.append(UInt8(ascii: "]"))
        return true
    }

    private mutating func writeObject(
        _ fields: UnsafeMutableBufferPointer<Field>, _ arrayCount: Int, to out: inout ByteWriter
    ) -> Bool {
        for i in 0..<fields.count {
            var key = MessageKey.integer(Int64(i + 1), at: cursor)
            if i >= arrayCount {
                let tag = Int(take(UInt8.self))
                switch tag {
                case MSG_VALUE_INTEGER: key.bits = UInt64(bitPattern: take(Int64.self))
                case MSG_VALUE_FLOAT:
                    key.kind = .float
                    let number = take(Double.self)
                    key.bits = number.bitPattern
                    if !number.isFinite, !describing { return cannotWrite("an infinite key", "", to: &out) }
                case MSG_VALUE_KEY:
                    var length = 0
                    let name = msg_symbol_name(take(UInt32.self), &length)
                    key = MessageKey(kind: .string, text: UnsafeRawPointer(name!), length: length, bits: 0)
                case MSG_VALUE_STRING:
                    let length = Int(take(UInt32.self))
                    key = MessageKey(kind: .string, text: cursor, length: length, bits: 0)
                    cursor += length
                default:
                    guard describing else { return cannotWrite("a boolean key", "", to: &out) }
                    let word: StaticString = tag == MSG_VALUE_TRUE ? "true" : "false"
                    key = MessageKey(
                        kind: .string, text: UnsafeRawPointer(word.utf8Start), length: word.utf8CodeUnitCount, bits: 0)
                }
            }
            fields.initializeElement(at: i, to: Field(key: key, value: cursor))
            skipValue()
        }
        let end = cursor
        Field.sort(fields)
        out.append(UInt8(ascii: "{"))
        path.append(.integer(0, at: cursor))
        for i in 0..<fields.count {
            if out.count > limit { break }
            let key = fields[i].key
            path[path.count - 1] = key
            if i > 0 { out.append(UInt8(ascii: ",")) }
            if key.kind == .string {
                guard writeString(key.text, key.length, "its key has ", to: &out) else { return false }
            } else {
                out.append(UInt8(ascii: "\""))
                key.appendNumber(to: &out)
                out.append(UInt8(ascii: "\""))
            }
            out.append(UInt8(ascii: ":"))
            cursor = fields[i].value
            let tag = take(UInt8.self)
            guard writeValue(tag, to: &out) else { return false }
        }
        path.removeLast()
        cursor = end
        out.append(UInt8(ascii: "}"))
        return true
    }

    /// Moves the cursor behind the value at it, without recursion.
    private mutating func skipValue() {
        var left = 1
        while left > 0 {
            left -= 1
            switch Int(take(UInt8.self)) {
            case MSG_VALUE_INTEGER, MSG_VALUE_FLOAT, MSG_VALUE_OBJECT: cursor += 8
            case MSG_VALUE_KEY: cursor += 4
            case MSG_VALUE_STRING, MSG_VALUE_JSON: cursor += Int(take(UInt32.self))
            case MSG_VALUE_TABLE:
                cursor += 1
                left += Int(take(UInt32.self))
                left += 2 * Int(take(UInt32.self))
            default: break
            }
        }
    }

    private mutating func writeString(
        _ text: UnsafeRawPointer, _ length: Int, _ whose: String, to out: inout ByteWriter
    ) -> Bool {
        let shown = describing ? min(length, limit + 8) : length
        let end = text + shown
        var p = text, run = text
        out.reserve(shown + 2)
        out.append(UInt8(ascii: "\""))
        while true {
            p = UTF8Text.skipPlain(p, end)
            guard p < end else { break }
            let c = p.load(as: UInt8.self)
            if c >= 0x80 {
                let n = UTF8Text.sequenceLength(p, end)
                if n > 0 {
                    p += n
                    continue
                }
                guard describing else {
                    return cannotWrite("\(whose)invalid UTF-8 at byte \(p - text + 1)", "", to: &out)
                }
            }
            out.append(run, p - run)
            p += 1
            run = p
            switch c {
            case UInt8(ascii: "\""): out.append("\\\"")
            case UInt8(ascii: "\\"): out.append("\\\\")
            case UInt8(ascii: "\n"): out.append("\\n")
            case UInt8(ascii: "\t"): out.append("\\t")
            case UInt8(ascii: "\r"): out.append("\\r")
            case 0x08: out.append("\\b")
            case 0x0C: out.append("\\f")
            case 0x80...: NumberText.appendHex(c, prefix: "\\x", to: &out)
            default: NumberText.appendHex(c, prefix: "\\u00", to: &out)
            }
        }
        out.append(run, end - run)
        out.append(UInt8(ascii: "\""))
        return true
    }
}

// Records as CSV (RFC 4180, but that lines end with "\n").
import CMessage
import Glibc
import StreamCore

/// Writes records as lines of CSV, under one header. Pure: it writes into memory.
///
/// The header is what `columns` says, or the fields of the first record: those of a JSON text in its order, those of a
/// table sorted by bytes. Fields are quoted where they hold a comma, a quote or a line end. A field that is missing or
/// null is empty.
///
/// - Complexity: O(bytes) a record, no allocation.
struct CSVWriter: ~Copyable {
    private var names = ByteWriter(capacity: 256)
    private var nameEnds: UnsafeMutableBufferPointer<Int> = .allocate(capacity: 0)
    /// Hash table of the names: numbers of columns, or -1.
    private var places: [Int32] = []
    private var slots: UnsafeMutablePointer<RecordFields.Value>
    private var scratch = ByteWriter(capacity: 256)
    private var isHeaderDue = true
    private var count = 0  // records
    private static let keptBytes = 1 << 20

    init() { slots = .allocate(capacity: 1) }

    deinit {
        slots.deallocate()
        nameEnds.deallocate()
    }

    var hasColumns: Bool { nameEnds.count > 0 }

    /// - Parameter isWritten: the header stands in the file already.
    mutating func setColumns(_ columns: [[UInt8]], isWritten: Bool) {
        isHeaderDue = !isWritten
        nameEnds.deallocate()
        nameEnds = .allocate(capacity: columns.count)
        names.removeAll()
        slots.deallocate()
        slots = .allocate(capacity: max(1, columns.count))
        slots.initialize(repeating: RecordFields.Value(), count: columns.count)
        var room = 8
        while room < columns.count * 2 { room *= 2 }
        places = Array(repeating: -1, count: room)
        for (i, column) in columns.enumerated() {
            column.withUnsafeBytes { bytes in
                names.append(bytes)
                nameEnds.initializeElement(at: i, to: names.count)
                var place = Self.hash(bytes) & (room - 1)
                while places[place] >= 0 { place = (place + 1) & (room - 1) }
                places[place] = Int32(i)
            }
        }
    }

    /// Appends the header, if the columns are known and it is not written yet.
    mutating func appendHeader(to out: inout ByteWriter) {
        guard isHeaderDue, hasColumns else { return }
        isHeaderDue = false
        for i in 0..<nameEnds.count {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            let name = self.name(i)
            guard let start = name.baseAddress else { continue }
            // Without quotes it would be taken for the file's byte order mark.
            let isMark = i == 0 && name.count >= 3 && name[0] == 0xEF && name[1] == 0xBB && name[2] == 0xBF
            Self.append(start, name.count, isQuoted: isMark, to: &out)
        }
        out.append(UInt8(ascii: "\n"))
    }

    /// Appends the record as a line, after the header if that is due. On a problem `out` is unchanged.
    mutating func append(_ message: MessagePointer, to out: inout ByteWriter) throws(MessageTextProblem) {
        count += 1
        if !hasColumns { try takeColumns(message) }
        guard var fields = RecordFields(message) else { throw notARecord(message) }
        for i in 0..<nameEnds.count { slots[i].kind = .missing }
        var expected = 0
        while fields.next() {
            guard let column = try column(fields.key, expected: expected) else {
                throw problem(
                    "field '\(try shown(fields.key))' is not in the header; name all fields with columns = { ... }, "
                        + "or take it out of the record before")
            }
            switch fields.value.kind {
            case .nested:
                throw problem(
                    "field '\(try shown(fields.key))' is a table; make it a string before, as by stream.json.encode")
            case .object: throw problem("field '\(try shown(fields.key))' is a host object")
            default: break
            }
            slots[column] = fields.value
            expected = column + 1
        }
        appendHeader(to: &out)
        for i in 0..<nameEnds.count {
            if i > 0 { out.append(UInt8(ascii: ",")) }
            append(slots[i], to: &out)
        }
        out.append(UInt8(ascii: "\n"))
    }

    // MARK: Columns

    @inline(__always)
    private func name(_ column: Int) -> UnsafeRawBufferPointer {
        let begin = column == 0 ? 0 : nameEnds[column - 1]
        return UnsafeRawBufferPointer(rebasing: names.bytes[begin..<nameEnds[column]])
    }

    /// FNV-1a.
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int(truncatingIfNeeded: hash >> 1 ^ hash >> 33)
    }

    /// The column of that name; nil: there is none. `expected`, the one behind that of the field before, is tried first.
    @inline(__always)
    private mutating func column(_ key: RecordFields.Value, expected: Int) throws(MessageTextProblem) -> Int? {
        let bytes = try text(key)
        if expected < nameEnds.count, Self.areEqual(name(expected), bytes) { return expected }
        return lookUp(bytes)
    }

    private func lookUp(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard !places.isEmpty else { return nil }
        var place = Self.hash(bytes) & (places.count - 1)
        while places[place] >= 0 {
            if Self.areEqual(name(Int(places[place])), bytes) { return Int(places[place]) }
            place = (place + 1) & (places.count - 1)
        }
        return nil
    }

    @inline(__always)
    private static func areEqual(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard a.count == b.count, let x = a.baseAddress, let y = b.baseAddress else { return a.count == b.count }
        return memcmp(x, y, a.count) == 0
    }

    /// The name in `key`: its bytes are valid until the next call.
    @inline(__always)
    private mutating func text(_ key: RecordFields.Value) throws(MessageTextProblem) -> UnsafeRawBufferPointer {
        switch key.kind {
        case .string: return UnsafeRawBufferPointer(start: key.start, count: key.length)
        case .escaped:
            scratch.removeAll(keepingCapacity: true)
            JSONText.appendUnescaped(key.start, key.start + key.length, to: &scratch)
            return scratch.bytes
        default: throw problem("a field's name is not a string")
        }
    }

    private mutating func takeColumns(_ message: MessagePointer) throws(MessageTextProblem) {
        guard var fields = RecordFields(message) else { throw notARecord(message) }
        var columns: [[UInt8]] = []
        var known: Set<[UInt8]> = []
        while fields.next() {
            let name = Array(try text(fields.key))
            guard !name.isEmpty else { throw problem("a field has an empty name") }
            if known.insert(name).inserted { columns.append(name) }
        }
        guard !columns.isEmpty else { throw problem("it has no fields, so there is no header; give columns = { ... }") }
        if !fields.isOrdered { columns.sort { $0.lexicographicallyPrecedes($1) } }
        setColumns(columns, isWritten: false)
    }

    private mutating func shown(_ key: RecordFields.Value) throws(MessageTextProblem) -> String {
        let bytes = try text(key)
        let name = String(decoding: bytes.prefix(60), as: UTF8.self)
        return bytes.count > 60 ? name + "..." : name
    }

    private func problem(_ text: String) -> MessageTextProblem {
        MessageTextProblem(description: "cannot write record \(count) as CSV: \(text)")
    }

    private func notARecord(_ message: MessagePointer) -> MessageTextProblem {
        problem("\(MessageText.describe(message, limit: 60)) is not a record (a table with names as keys)")
    }

    // MARK: Fields

    @inline(__always)
    private mutating func append(_ value: RecordFields.Value, to out: inout ByteWriter) {
        let isOnly = nameEnds.count == 1  // an empty line would be none
        switch value.kind {
        case .missing, .null, .nested, .object: if isOnly { out.append("\"\"") }
        case .no: out.append("false")
        case .yes: out.append("true")
        case .integer: NumberText.append(value.start.loadUnaligned(as: Int64.self), to: &out)
        case .float: NumberText.appendShortest(value.start.loadUnaligned(as: Double.self), to: &out)
        case .number: out.append(value.start, value.length)
        case .string: Self.append(value.start, value.length, isQuoted: isOnly && value.length == 0, to: &out)
        case .escaped:
            scratch.removeAll(keepingCapacity: scratch.count <= Self.keptBytes)
            JSONText.appendUnescaped(value.start, value.start + value.length, to: &scratch)
            if let start = scratch.bytes.baseAddress { Self.append(start, scratch.count, isQuoted: false, to: &out) }
        }
    }

    /// A field's text, in quotes where it needs them.
    @inline(__always)
    private static func append(_ start: UnsafeRawPointer, _ length: Int, isQuoted: Bool, to out: inout ByteWriter) {
        let end = start + length
        let special = ByteSearch.first(
            UInt8(ascii: ","), UInt8(ascii: "\""), UInt8(ascii: "\n"), UInt8(ascii: "\r"), start, end)
        guard special < end || isQuoted else { return out.append(start, length) }
        appendQuoted(start, end, to: &out)
    }

    private static func appendQuoted(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer, to out: inout ByteWriter) {
        let quote = UInt8(ascii: "\"")
        var p = start
        out.append(quote)
        while true {
            let found = ByteSearch.first(quote, quote, p, end)
            out.append(p, found - p)
            guard found < end else { break }
            out.append("\"\"")
            p = found + 1
        }
        out.append(quote)
    }
}

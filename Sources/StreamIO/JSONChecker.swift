/// Why a text is not JSON.
public struct JSONProblem: Error, Equatable, Sendable, CustomStringConvertible {
    enum Kind: Equatable, Sendable {
        case expected(StaticExpectation)
        case outOfRange
        case tooDeep
    }

    /// The byte where it stopped being JSON; the first is 1.
    public let position: Int
    let kind: Kind

    /// What should have been there: "a value".
    public var expected: String {
        switch kind {
        case .expected(let what): what.rawValue
        case .outOfRange: "a number in range"
        case .tooDeep: "at most 200 levels"
        }
    }

    /// The problem in the words of `stream.json.decode`: "byte 17: expected a value".
    public var description: String {
        switch kind {
        case .expected(let what): "byte \(position): expected \(what.rawValue)"
        case .outOfRange: "byte \(position): number out of range"
        case .tooDeep: "byte \(position): nested deeper than 200"
        }
    }
}

/// The words of the C decoder (`CLuaShim/json.c`), letter by letter.
enum StaticExpectation: String, Sendable {
    case value = "a value"
    case valueOrEnd = "a value or ']'"
    case key = "a key"
    case keyOrEnd = "a key or '}'"
    case colon = "':'"
    case commaOrBracket = "',' or ']'"
    case commaOrBrace = "',' or '}'"
    case endOfText = "the end of the text"
    case quote = "'\"' at the end of the string"
    case controlEscape = "an escape in place of a control character"
    case escape = "one of \"\\/bfnrtu after \\"
    case hexDigit = "a hex digit"
    case surrogatePair = "a surrogate pair"
    case utf8 = "valid UTF-8"
    case digit = "a digit"
}

/// Checks that bytes are one JSON text (RFC 8259, in UTF-8), without making values of it: what the host reads is
/// checked before a script sees it, and most of it is passed on as it came.
///
/// It accepts exactly what `stream.json.decode` accepts, and names the same position otherwise.
/// - Complexity: O(length), no memory.
public struct JSONChecker {
    /// What is wrong with `text`, or nil.
    public static func check(_ text: UnsafeRawBufferPointer) -> JSONProblem? {
        guard let start = text.baseAddress else { return JSONProblem(position: 1, kind: .expected(.value)) }
        var scanner = JSONScanner(start: start, end: start + text.count)
        guard scanner.scanText() else {
            return JSONProblem(position: scanner.failure - start + 1, kind: scanner.kind)
        }
        return nil
    }
}

private struct JSONScanner {
    typealias Pointer = UnsafeRawPointer
    static let depthLimit = 200

    let end: Pointer
    var failure: Pointer
    var kind = JSONProblem.Kind.expected(.value)
    private var p: Pointer
    /// One bit for each open container, set for an object.
    private var containers = SIMD4<UInt64>()

    init(start: Pointer, end: Pointer) {
        self.end = end
        failure = start
        p = start
    }

    @inline(never)
    private mutating func refuse(_ at: Pointer, _ kind: JSONProblem.Kind) -> Bool {
        failure = at
        self.kind = kind
        return false
    }

    @inline(never)
    private mutating func refuse(_ at: Pointer, _ what: StaticExpectation) -> Bool {
        refuse(at, .expected(what))
    }

    @inline(__always)
    private func byte(_ at: Pointer) -> UInt8 { at.load(as: UInt8.self) }

    @inline(__always)
    private mutating func skipSpace() {
        while p < end {
            let c = byte(p)
            guard c == 0x20 || c == 0x0A || c == 0x0D || c == 0x09 else { return }
            p += 1
        }
    }

    /// The whole text: values in turn, with the open containers as bits instead of a recursion.
    mutating func scanText() -> Bool {
        var depth = 0
        var inObject = false
        var expected = StaticExpectation.value
        while true {
            // A value begins here.
            skipSpace()
            guard p < end else { return refuse(p, expected) }
            var opened = false
            switch byte(p) {
            case UInt8(ascii: "\""):
                guard scanString() else { return false }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard depth < Self.depthLimit else { return refuse(p, .tooDeep) }
                inObject = byte(p) == UInt8(ascii: "{")
                let bit = UInt64(1) << UInt64(depth & 63)
                if inObject { containers[depth >> 6] |= bit } else { containers[depth >> 6] &= ~bit }
                depth += 1
                p += 1
                opened = true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                guard scanNumber() else { return false }
            case UInt8(ascii: "t"):
                guard scanWord(0x6575_7274, 4) else { return refuse(p, expected) }
            case UInt8(ascii: "n"):
                guard scanWord(0x6C6C_756E, 4) else { return refuse(p, expected) }
            case UInt8(ascii: "f"):
                guard end - p >= 5, byte(p + 4) == UInt8(ascii: "e"), scanWord(0x736C_6166, 5) else {
                    return refuse(p, expected)
                }
            default:
                return refuse(p, expected)
            }
            // Containers that end here.
            while depth > 0 {
                skipSpace()
                let closing = inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")
                if p < end, byte(p) == closing {
                    p += 1
                    depth -= 1
                    opened = false
                    if depth > 0 { inObject = containers[(depth - 1) >> 6] >> UInt64((depth - 1) & 63) & 1 == 1 }
                    continue
                }
                if !opened {
                    guard p < end, byte(p) == UInt8(ascii: ",") else {
                        return refuse(p, inObject ? .commaOrBrace : .commaOrBracket)
                    }
                    p += 1
                }
                break
            }
            guard depth > 0 else { break }
            if inObject {
                skipSpace()
                guard p < end, byte(p) == UInt8(ascii: "\"") else { return refuse(p, opened ? .keyOrEnd : .key) }
                guard scanString() else { return false }
                skipSpace()
                guard p < end, byte(p) == UInt8(ascii: ":") else { return refuse(p, .colon) }
                p += 1
                expected = .value
            } else {
                expected = opened ? .valueOrEnd : .value
            }
        }
        skipSpace()
        return p == end || refuse(p, .endOfText)
    }

    /// `word` is the first four letters as a little-endian number.
    @inline(__always)
    private mutating func scanWord(_ word: UInt32, _ length: Int) -> Bool {
        guard end - p >= length, UInt32(littleEndian: p.loadUnaligned(as: UInt32.self)) == word else { return false }
        p += length
        return true
    }

    /// `p` is at the opening quote.
    @inline(__always)
    private mutating func scanString() -> Bool {
        p += 1
        while true {
            p = UTF8Text.skipPlain(p, end)
            guard p < end else { return refuse(p, .quote) }
            let c = byte(p)
            if c == UInt8(ascii: "\"") {
                p += 1
                return true
            }
            if c == UInt8(ascii: "\\") {
                guard scanEscape() else { return false }
            } else if c < 0x20 {
                return refuse(p, .controlEscape)
            } else {
                let length = UTF8Text.sequenceLength(p, end)
                guard length > 0 else { return refuse(p, .utf8) }
                p += length
            }
        }
    }

    /// `p` is at the backslash.
    private mutating func scanEscape() -> Bool {
        let start = p
        p += 1
        guard p < end else { return refuse(p, .escape) }
        switch byte(p) {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            p += 1
            return true
        case UInt8(ascii: "u"):
            p += 1
        default:
            return refuse(p, .escape)
        }
        guard let unit = scanHex() else { return false }
        guard unit & 0xF800 == 0xD800 else { return true }
        guard unit < 0xDC00, end - p >= 2, byte(p) == UInt8(ascii: "\\"), byte(p + 1) == UInt8(ascii: "u") else {
            return refuse(start, .surrogatePair)
        }
        p += 2
        guard let low = scanHex() else { return false }
        return low & 0xFC00 == 0xDC00 || refuse(start, .surrogatePair)
    }

    private mutating func scanHex() -> UInt32? {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard p < end, let digit = UTF8Text.hexDigit(byte(p)) else {
                _ = refuse(p, .hexDigit)
                return nil
            }
            unit = unit << 4 | digit
            p += 1
        }
        return unit
    }

    @inline(__always)
    private var atDigit: Bool { p < end && byte(p) &- UInt8(ascii: "0") < 10 }

    /// `p` is at a digit or a minus sign.
    @inline(__always)
    private mutating func scanNumber() -> Bool {
        let start = p
        if byte(p) == UInt8(ascii: "-") { p += 1 }
        guard atDigit else { return refuse(p, .digit) }
        let first = p
        if byte(p) == UInt8(ascii: "0") { p += 1 } else { while atDigit { p += 1 } }
        let digits = p - first
        if p < end, byte(p) == UInt8(ascii: ".") {
            p += 1
            guard atDigit else { return refuse(p, .digit) }
            while atDigit { p += 1 }
        }
        var exponent = 0
        if p < end, byte(p) | 0x20 == UInt8(ascii: "e") {
            p += 1
            let minus = p < end && byte(p) == UInt8(ascii: "-")
            if p < end, minus || byte(p) == UInt8(ascii: "+") { p += 1 }
            guard atDigit else { return refuse(p, .digit) }
            while atDigit {
                if exponent < 1_000_000_000_000 { exponent = exponent * 10 + Int(byte(p) - UInt8(ascii: "0")) }
                p += 1
            }
            if minus { exponent = -exponent }
        }
        // Less than 10 ^ 308 for certain?
        if digits + exponent <= 308 { return true }
        return Self.fitsDouble(first, p, exponent) || refuse(start, .outOfRange)
    }

    /// 2 ^ 1024 - 2 ^ 970, halfway from the largest double to the next that would be: this rounds to infinity.
    private static let overflow: StaticString = """
        17976931348623158079372897140530341507993413271003782693617377898044496829276475094664901797758720709633028641\
        66928879109465555478519404026306574886715058206819089020007083836762738548458177115317644757302700698555713669\
        59622842914819860834936475292719074168444365510704342711559699508093042880177904174497792
        """

    /// True if the checked digits in [first, end), of which the exponent was read already, round to a finite double.
    @inline(never)
    private static func fitsDouble(_ first: Pointer, _ end: Pointer, _ exponent: Int) -> Bool {
        let limit = UnsafeRawPointer(overflow.utf8Start)
        var magnitude = exponent  // the number is below 10 ^ magnitude
        var used = 0  // significant digits seen
        var order = 0  // of those against the limit's
        var point = false
        var p = first
        while p < end {
            let c = p.load(as: UInt8.self)
            p += 1
            if c | 0x20 == UInt8(ascii: "e") { break }
            if c == UInt8(ascii: ".") {
                point = true
                continue
            }
            if used == 0, c == UInt8(ascii: "0") {
                if point { magnitude -= 1 }
                continue
            }
            if !point { magnitude += 1 }
            if order == 0, used < overflow.utf8CodeUnitCount {
                order = Int(c) - Int((limit + used).load(as: UInt8.self))
            }
            used += 1
        }
        if used == 0 || magnitude < 309 { return true }
        if magnitude > 309 { return false }
        if order == 0 { return used < overflow.utf8CodeUnitCount }  // the limit does not end in 0
        return order < 0
    }
}

/// What the checker and the writer both ask of the bytes of a string.
enum UTF8Text {
    private static let ones: UInt64 = 0x0101_0101_0101_0101

    /// The first byte in [p, end) that is a control character, '"', '\' or not ASCII.
    @inline(__always)
    static func skipPlain(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UnsafeRawPointer {
        var p = start
        while end - p >= 8 {
            let v = UInt64(littleEndian: p.loadUnaligned(as: UInt64.self))
            // A high bit at the first such byte; those above it may be wrong.
            let quote = (v ^ (ones &* 0x22)) &- ones
            let backslash = (v ^ (ones &* 0x5C)) &- ones
            let found = (v | (v &- ones &* 0x20) | quote | backslash) & (ones &* 0x80)
            if found != 0 { return p + found.trailingZeroBitCount >> 3 }
            p += 8
        }
        while p < end {
            let c = p.load(as: UInt8.self)
            guard c >= 0x20, c < 0x80, c != 0x22, c != 0x5C else { break }
            p += 1
        }
        return p
    }

    /// Length of the UTF-8 sequence at `p`, whose first byte is not ASCII; 0 if it is invalid.
    static func sequenceLength(_ p: UnsafeRawPointer, _ end: UnsafeRawPointer) -> Int {
        let first = p.load(as: UInt8.self)
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        guard first >= 0xC2, first <= 0xF4, end - p >= length else { return 0 }
        let second = p.load(fromByteOffset: 1, as: UInt8.self)
        let low: UInt8 = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80  // overlong below
        let high: UInt8 = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF  // surrogates, past U+10FFFF
        guard second >= low, second <= high else { return 0 }
        for i in 2..<max(length, 2) where p.load(fromByteOffset: i, as: UInt8.self) & 0xC0 != 0x80 { return 0 }
        return length
    }

    @inline(__always)
    static func hexDigit(_ c: UInt8) -> UInt32? {
        if c &- UInt8(ascii: "0") < 10 { return UInt32(c &- UInt8(ascii: "0")) }
        let letter = (c | 0x20) &- UInt8(ascii: "a")
        return letter < 6 ? UInt32(letter) + 10 : nil
    }
}

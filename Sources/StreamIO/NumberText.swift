#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// Numbers as text, letter by letter as CLuaShim/json_encode.c and Lua's `tostring` write them. In the "C" locale, in which
/// the process runs.
enum NumberText {
    static func append(_ value: Int64, to out: inout ByteWriter) {
        if value < 0 { out.append(UInt8(ascii: "-")) }
        append(magnitude: value.magnitude, to: &out)
    }

    private static func append(magnitude: UInt64, to out: inout ByteWriter) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var rest = magnitude
            var first = 20
            repeat {
                first -= 1
                digits[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest != 0
            out.append(UnsafeRawPointer(digits.baseAddress! + first), 20 - first)
        }
    }

    static func appendHex(_ byte: UInt8, prefix: StaticString, to out: inout ByteWriter) {
        out.append(prefix)
        for digit in [byte >> 4, byte & 15] { out.append(digit < 10 ? digit + 0x30 : digit + 0x57) }
    }

    private static let powersOfTen: [Double] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    ]

    /// The shortest text that reads back as `value`, and as a float; infinities as Lua writes them.
    static func appendShortest(_ value: Double, to out: inout ByteWriter) {
        guard value.isFinite else { return appendToString(value, to: &out) }
        if appendDecimal(value, below: 1e15, to: &out) { return }
        let start = out.count
        var precision = value.magnitude < .leastNormalMagnitude ? 1 : 15
        while true {
            appendFormatted(value, precision, to: &out)
            if precision == 17 || reads(out.bytes[start...], as: value) { break }
            out.truncate(to: start)
            precision += 1
        }
        markAsFloat(from: start, &out)
    }

    /// What Lua's `tostring` gives.
    static func appendToString(_ value: Double, to out: inout ByteWriter) {
        if appendDecimal(value, below: 1e14, to: &out) { return }
        let start = out.count
        appendFormatted(value, 14, to: &out)
        markAsFloat(from: start, &out)
    }

    /// The common case, without the C library: a decimal of up to 15 digits is found by scaling, the errors of which
    /// stay under a half. False: nothing was written.
    private static func appendDecimal(_ value: Double, below limit: Double, to out: inout ByteWriter) -> Bool {
        let size = value.magnitude
        guard size >= 1e-4, size < limit else { return false }
        for places in 0...18 {
            let power = powersOfTen[places]
            let scaled = size * power
            guard scaled < limit else { return false }
            let whole = (scaled + 0.5).rounded(.down)
            guard whole < limit, whole / power == size else { continue }
            if value < 0 { out.append(UInt8(ascii: "-")) }
            let digits = UInt64(whole), unit = UInt64(power)
            append(magnitude: digits / unit, to: &out)
            out.append(UInt8(ascii: "."))
            if places == 0 {
                out.append(UInt8(ascii: "0"))
                return true
            }
            var rest = digits % unit, place = unit / 10
            while place > 0 {
                out.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest / place))
                rest %= place
                place /= 10
            }
            return true
        }
        return false
    }

    private static func appendFormatted(_ value: Double, _ precision: Int, to out: inout ByteWriter) {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            let length = withVaList([Int32(precision), value]) { vsnprintf(text.baseAddress!, 64, "%.*g", $0) }
            out.append(UnsafeRawPointer(text.baseAddress!), Int(length))
        }
    }

    private static func reads(_ text: Slice<UnsafeRawBufferPointer>, as value: Double) -> Bool {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { copy in
            for (i, byte) in text.enumerated() { copy[i] = CChar(bitPattern: byte) }
            copy[text.count] = 0
            return strtod(copy.baseAddress!, nil) == value
        }
    }

    /// ".0" behind what would read as an integer.
    private static func markAsFloat(from start: Int, _ out: inout ByteWriter) {
        let isInteger = out.bytes[start...].allSatisfy { $0 == UInt8(ascii: "-") || $0 &- 0x30 < 10 }
        if isInteger { out.append(".0") }
    }
}

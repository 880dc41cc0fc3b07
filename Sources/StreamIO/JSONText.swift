// The strings of JSON texts: written, found and read. The texts that are read were checked before.

enum JSONText {
    private static let quote = UInt8(ascii: "\""), backslash = UInt8(ascii: "\\")

    /// Appends [start, end) as the inside of a JSON string. False: it is not UTF-8; what was appended is no text then.
    /// - Parameter isDoubled: each quote stands twice, as in CSV, and is one.
    static func appendEscaped(
        _ start: UnsafeRawPointer, _ end: UnsafeRawPointer, isDoubled: Bool, to out: inout ByteWriter
    ) -> Bool {
        var p = start, run = start
        while true {
            p = UTF8Text.skipPlain(p, end)
            guard p < end else { break }
            let c = p.load(as: UInt8.self)
            if c >= 0x80 {
                let length = UTF8Text.sequenceLength(p, end)
                guard length > 0 else { return false }
                p += length
                continue
            }
            out.append(run, p - run)
            p += c == quote && isDoubled ? 2 : 1
            run = p
            switch c {
            case quote: out.append("\\\"")
            case backslash: out.append("\\\\")
            case UInt8(ascii: "\n"): out.append("\\n")
            case UInt8(ascii: "\t"): out.append("\\t")
            case UInt8(ascii: "\r"): out.append("\\r")
            case 0x08: out.append("\\b")
            case 0x0C: out.append("\\f")
            default: NumberText.appendHex(c, prefix: "\\u00", to: &out)
            }
        }
        out.append(run, end - run)
        return true
    }

    private static let ones: UInt64 = 0x0101_0101_0101_0101

    /// As `appendEscaped`, but for short fields, most of which have nothing to be escaped: eight bytes are looked at and
    /// written at a time. Writes at `out`, which it moves, and up to eight bytes behind what it wrote.
    /// - Parameter readable: up to there bytes may be read, though they are not the string's.
    @inline(__always)
    static func writeEscaped(
        _ start: UnsafeRawPointer, _ end: UnsafeRawPointer, readable: UnsafeRawPointer, isDoubled: Bool,
        to out: inout UnsafeMutableRawPointer
    ) -> Bool {
        var p = start
        while p < end {
            if readable - p >= 8 {
                let v = UInt64(littleEndian: p.loadUnaligned(as: UInt64.self))
                out.storeBytes(of: v.littleEndian, as: UInt64.self)
                // A high bit at the first byte that is a control character, '"', '\' or not ASCII.
                let quotes = (v ^ (ones &* 0x22)) &- ones, backslashes = (v ^ (ones &* 0x5C)) &- ones
                var found = (v | (v &- ones &* 0x20) | quotes | backslashes) & (ones &* 0x80)
                let length = min(end - p, 8)
                found &= ~0 >> UInt64(64 - 8 * length)
                guard found != 0 else {
                    p += length
                    out += length
                    continue
                }
                let plain = found.trailingZeroBitCount >> 3
                p += plain
                out += plain
            } else {
                let c = p.load(as: UInt8.self)
                if c >= 0x20, c < 0x80, c != quote, c != backslash {
                    out.storeBytes(of: c, as: UInt8.self)
                    p += 1
                    out += 1
                    continue
                }
            }
            guard writeSpecial(&p, end, isDoubled, &out) else { return false }
        }
        return true
    }

    /// The byte at `p`, which stands for itself in no JSON string, or the sequence of UTF-8.
    @inline(never)
    private static func writeSpecial(
        _ p: inout UnsafeRawPointer, _ end: UnsafeRawPointer, _ isDoubled: Bool, _ out: inout UnsafeMutableRawPointer
    ) -> Bool {
        let c = p.load(as: UInt8.self)
        guard c < 0x80 else {
            let length = UTF8Text.sequenceLength(p, end)
            guard length > 0 else { return false }
            out.copyMemory(from: p, byteCount: length)
            p += length
            out += length
            return true
        }
        p += c == quote && isDoubled ? 2 : 1
        out.storeBytes(of: backslash, as: UInt8.self)
        let letter: UInt8 =
            switch c {
            case quote, backslash: c
            case UInt8(ascii: "\n"): UInt8(ascii: "n")
            case UInt8(ascii: "\t"): UInt8(ascii: "t")
            case UInt8(ascii: "\r"): UInt8(ascii: "r")
            case 0x08: UInt8(ascii: "b")
            case 0x0C: UInt8(ascii: "f")
            default: UInt8(ascii: "u")
            }
        out.storeBytes(of: letter, toByteOffset: 1, as: UInt8.self)
        out += 2
        guard letter == UInt8(ascii: "u") else { return true }
        for digit in [0, 0, c >> 4, c & 15] {
            out.storeBytes(of: digit < 10 ? digit + 0x30 : digit + 0x57, as: UInt8.self)
            out += 1
        }
        return true
    }

    /// The closing quote of the string whose inside begins at `start`, and whether there are escapes in it.
    @inline(__always)
    static func stringEnd(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> (
        end: UnsafeRawPointer, isEscaped: Bool
    ) {
        var p = start
        var isEscaped = false
        while true {
            p = ByteSearch.first(quote, backslash, p, end)
            guard p < end, p.load(as: UInt8.self) == backslash else { return (p, isEscaped) }
            isEscaped = true
            p += 2
        }
    }

    /// Appends what the inside [start, end) of a JSON string stands for.
    static func appendUnescaped(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer, to out: inout ByteWriter) {
        var p = start
        while p < end {
            let run = p
            p = ByteSearch.first(backslash, backslash, p, end)
            out.append(run, p - run)
            guard p + 1 < end else { return }
            let c = (p + 1).load(as: UInt8.self)
            p += 2
            switch c {
            case UInt8(ascii: "b"): out.append(UInt8(0x08))
            case UInt8(ascii: "f"): out.append(UInt8(0x0C))
            case UInt8(ascii: "n"): out.append(UInt8(0x0A))
            case UInt8(ascii: "r"): out.append(UInt8(0x0D))
            case UInt8(ascii: "t"): out.append(UInt8(0x09))
            case UInt8(ascii: "u"):
                var scalar = hex(p, end)
                p += 4
                if scalar & 0xFC00 == 0xD800, p + 6 <= end {  // its second half follows
                    scalar = 0x10000 + (scalar & 0x3FF) << 10 + hex(p + 2, end) & 0x3FF
                    p += 6
                }
                for byte in UTF8.encode(UnicodeScalar(scalar) ?? "\u{FFFD}") ?? UTF8.encodedReplacementCharacter {
                    out.append(byte)
                }
            default: out.append(c)
            }
        }
    }

    private static func hex(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UInt32 {
        var value: UInt32 = 0
        for p in start..<min(start + 4, end) {
            let c = p.load(as: UInt8.self)
            value = value << 4 | UInt32(c < 0x40 ? c & 15 : (c & 7) + 9)
        }
        return value
    }

    static func skipSpace(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UnsafeRawPointer {
        var p = start
        while p < end {
            let c = p.load(as: UInt8.self)
            guard c == 0x20 || c == 0x0A || c == 0x0D || c == 0x09 else { break }
            p += 1
        }
        return p
    }

    /// The end of the array or object that begins at `start`.
    static func containerEnd(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UnsafeRawPointer {
        var p = start
        var depth = 0
        while p < end {
            let c = p.load(as: UInt8.self)
            p += 1
            switch c {
            case quote: p = min(stringEnd(p, end).end + 1, end)
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 { return p }
            default: break
            }
        }
        return end
    }

    /// The end of the number or word that begins at `start`.
    static func wordEnd(_ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UnsafeRawPointer {
        var p = start
        while p < end {
            let c = p.load(as: UInt8.self)
            if c <= 0x20 || c == UInt8(ascii: ",") || c == UInt8(ascii: "}") || c == UInt8(ascii: "]") { break }
            p += 1
        }
        return p
    }
}

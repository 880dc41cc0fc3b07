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

// The first of several bytes, eight at a time.

enum ByteSearch {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The high bit at the first byte of `v` that is `byte`; those above it may be wrong.
    @inline(__always)
    private static func matches(_ v: UInt64, _ byte: UInt8) -> UInt64 {
        let x = v ^ (ones &* UInt64(byte))
        return (x &- ones) & ~x
    }

    /// The first byte in [start, end) that is `a` or `b`, or `end`.
    @inline(__always)
    static func first(_ a: UInt8, _ b: UInt8, _ start: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UnsafeRawPointer {
        first(a, b, b, b, start, end)
    }

    /// The first byte in [start, end) that is `a`, `b` or `c`, or `end`.
    @inline(__always)
    static func first(
        _ a: UInt8, _ b: UInt8, _ c: UInt8, _ start: UnsafeRawPointer, _ end: UnsafeRawPointer
    ) -> UnsafeRawPointer {
        first(a, b, c, c, start, end)
    }

    /// The first byte in [start, end) that is one of four, or `end`.
    @inline(__always)
    static func first(
        _ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ start: UnsafeRawPointer, _ end: UnsafeRawPointer
    ) -> UnsafeRawPointer {
        var p = start
        while end - p >= 8 {
            let v = UInt64(littleEndian: p.loadUnaligned(as: UInt64.self))
            let found = (matches(v, a) | matches(v, b) | matches(v, c) | matches(v, d)) & highs
            if found != 0 { return p + found.trailingZeroBitCount >> 3 }
            p += 8
        }
        while p < end {
            let x = p.load(as: UInt8.self)
            if x == a || x == b || x == c || x == d { break }
            p += 1
        }
        return p
    }
}

import CMessage

/// What the formats ask of text, in the C functions that the JSON reader has too.
enum UTF8Text {
    /// The first byte in `p..<end` that is a control character, `"`, `\`, or not ASCII.
    @inline(__always)
    static func skipPlain(_ p: UnsafeRawPointer, _ end: UnsafeRawPointer) -> UnsafeRawPointer {
        UnsafeRawPointer(msg_skip_plain(p.assumingMemoryBound(to: UInt8.self), end.assumingMemoryBound(to: UInt8.self)))
    }

    /// Length of the sequence at `p`, whose first byte is not ASCII; 0: invalid.
    @inline(__always)
    static func sequenceLength(_ p: UnsafeRawPointer, _ end: UnsafeRawPointer) -> Int {
        Int(msg_utf8_length(p.assumingMemoryBound(to: UInt8.self), end.assumingMemoryBound(to: UInt8.self)))
    }
}

/// Bytes that grow at their end, in memory of their own: what the formats write into.
///
/// - Complexity: `append` is amortized O(length).
public struct ByteWriter: ~Copyable {
    private var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// How many bytes there are.
    public private(set) var count = 0

    /// An empty writer with room for `capacity` bytes.
    public init(capacity: Int = 4096) {
        self.capacity = max(capacity, 64)
        base = .allocate(capacity: self.capacity)
    }

    deinit {
        base.deallocate()
    }

    /// The bytes, until the writer changes next.
    public var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: count)
    }

    /// Makes room for `more` bytes after those that are there.
    @inline(__always)
    public mutating func reserve(_ more: Int) {
        if capacity - count < more { grow(more) }
    }

    @inline(never)
    private mutating func grow(_ more: Int) {
        let needed = max(capacity * 2, count + more)
        let grown = UnsafeMutablePointer<UInt8>.allocate(capacity: needed)
        grown.update(from: base, count: count)
        base.deallocate()
        base = grown
        capacity = needed
    }

    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        reserve(1)
        base[count] = byte
        count += 1
    }

    @inline(__always)
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        append(start, bytes.count)
    }

    @inline(__always)
    public mutating func append(_ start: UnsafeRawPointer, _ length: Int) {
        reserve(length)
        UnsafeMutableRawPointer(base + count).copyMemory(from: start, byteCount: length)
        count += length
    }

    @inline(__always)
    public mutating func append(_ text: StaticString) {
        append(text.utf8Start, text.utf8CodeUnitCount)
    }

    @_disfavoredOverload  // a literal is a StaticString
    public mutating func append(_ text: some StringProtocol) {
        for byte in text.utf8 { append(byte) }
    }

    /// Lets `body` write behind the bytes that are there, in at most `room` bytes; it returns how many it wrote, all of
    /// which count, or a negative number: none.
    @inline(__always)
    mutating func write(room: Int, _ body: (UnsafeMutableRawPointer) -> Int) -> Bool {
        reserve(room)
        let written = body(UnsafeMutableRawPointer(base + count))
        if written > 0 { count += written }
        return written >= 0
    }

    /// Forgets the bytes from `count` on.
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= self.count, "a writer is truncated to what it holds")
        self.count = count
    }

    /// Forgets all bytes; their memory too, unless it is kept for what comes next.
    public mutating func removeAll(keepingCapacity: Bool = false) {
        count = 0
        guard !keepingCapacity else { return }
        base.deallocate()
        capacity = 64
        base = .allocate(capacity: capacity)
    }
}

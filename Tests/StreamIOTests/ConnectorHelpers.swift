import CMessage
import Glibc
import StreamCore
import StreamIO
import Synchronization

/// A file name of its own under /tmp; to be removed when the test ends.
struct TemporaryPath {
    let path: String
    init(_ content: String? = nil) {
        var template = Array("/tmp/streamio-test-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if let content { _ = content.withCString { write(descriptor, $0, strlen($0)) } }
        close(descriptor)
    }
    func remove() { unlink(path) }

    var content: String {
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        return readAll(descriptor)
    }
}

func readAll(_ descriptor: Int32) -> String {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        guard count > 0 else { break }
        bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

func makePipe() -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [-1, -1]
    pipe(&ends)
    return (ends[0], ends[1])
}

/// Fills a pipe until a write would block, with so many bytes.
@discardableResult
func fill(_ descriptor: Int32) -> Int {
    let flags = fcntl(descriptor, F_GETFL)
    _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
    let zeros = [UInt8](repeating: 0, count: 4096)
    var count = 0
    while write(descriptor, zeros, zeros.count) > 0 { count += zeros.count }
    _ = fcntl(descriptor, F_SETFL, flags)
    return count
}

func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Waits up to 10 s for `condition`.
func eventually(_ condition: () -> Bool) -> Bool {
    let end = seconds() + 10
    while !condition() {
        if seconds() > end { return false }
        usleep(500)
    }
    return true
}

/// Sets once, seen by all threads.
final class Box<Value: Sendable>: Sendable {
    private let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
    func set(_ new: Value) { value.withLock { $0 = new } }
    func update(_ body: @Sendable (inout Value) -> Void) { value.withLock { body(&$0) } }
    var get: Value { value.withLock { $0 } }
}

func withMessage<R, E: Error>(
    _ text: String, kind: Int = MSG_STRING, _ body: (MessagePointer) throws(E) -> R
) throws(E) -> R {
    let bytes = Array(text.utf8)
    let size = Int(msg_padded(UInt32(MSG_TEXT_OFFSET) + UInt32(bytes.count)))
    let place = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
    defer { place.deallocate() }
    memset(place, 0, size)
    place.storeBytes(of: msg_header(size: UInt32(size), kind: UInt8(kind), flags: 0, shape: 0), as: msg_header.self)
    place.storeBytes(of: UInt32(bytes.count), toByteOffset: 8, as: UInt32.self)
    memcpy(place + Int(MSG_TEXT_OFFSET), bytes, bytes.count)
    return try body(MessagePointer(place.assumingMemoryBound(to: msg_header.self)))
}

/// A message of 16 bytes: an integer or a float.
func withNumber<R, E: Error>(_ bits: UInt64, kind: Int, _ body: (MessagePointer) throws(E) -> R) throws(E) -> R {
    let place = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
    defer { place.deallocate() }
    place.storeBytes(of: msg_header(size: 16, kind: UInt8(kind), flags: 0, shape: 0), as: msg_header.self)
    place.storeBytes(of: bits, toByteOffset: 8, as: UInt64.self)
    return try body(MessagePointer(place.assumingMemoryBound(to: msg_header.self)))
}

func text(of message: MessagePointer) -> String {
    let length = Int(UnsafeRawPointer(message).load(fromByteOffset: 8, as: UInt32.self))
    let bytes = UnsafeRawBufferPointer(start: UnsafeRawPointer(message) + Int(MSG_TEXT_OFFSET), count: length)
    return String(decoding: bytes, as: UTF8.self)
}

// What a case prints.
import StreamCore
import StreamRuntime

/// Keeps what is written, up to a limit; of more it keeps how much it was.
final class TextRecorder: TextOutput {
    static let limit = 1 << 20

    private let lock = Lock()
    nonisolated(unsafe) private var bytes: [UInt8] = []  // `lock`
    nonisolated(unsafe) private var left = 0  // `lock`

    func enqueue(_ more: UnsafeRawBufferPointer) {
        lock.withLock {
            let room = Self.limit - bytes.count
            if left == 0 && more.count <= room { bytes.append(contentsOf: more) } else { left += more.count }
        }
    }

    var pendingBytes: Int { 0 }
    func whenDrained(below: Int, _ body: @escaping @Sendable () -> Void) { body() }

    var text: String {
        let (kept, left) = lock.withLock { (bytes, self.left) }
        let text = String(decoding: kept, as: UTF8.self)
        return left == 0 ? text : text + "(and \(left) bytes more)\n"
    }
}

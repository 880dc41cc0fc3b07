// Chunks of the embedded library that this process has parsed before.
import StreamCore

/// By name; a chunk whose source is another one than before counts as unknown.
final class CompiledChunks: Sendable {
    private let lock = Lock()
    nonisolated(unsafe) private var known: [String: (source: [UInt8], compiled: [UInt8])] = [:]  // `lock`

    func find(_ name: String, _ source: [UInt8]) -> [UInt8]? {
        let entry = lock.withLock { known[name] }
        guard let entry, entry.source == source else { return nil }  // the same storage, as a rule: no byte is read
        return entry.compiled
    }

    func keep(_ name: String, _ source: [UInt8], _ compiled: [UInt8]) {
        lock.withLock { known[name] = (source, compiled) }
    }
}

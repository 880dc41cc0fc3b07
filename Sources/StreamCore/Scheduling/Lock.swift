// A lock whose two halves stand apart, so that a decision is made under it and carried out after it.
import CMessage

/// A mutual exclusion lock. Nothing is resumed, and no foreign code called, while one is held.
///
/// `Synchronization.Mutex` is not used here because its closure form cannot span the loop over several channels.
public final class Lock: @unchecked Sendable {  // the word is its own synchronisation
    private let word: UnsafeMutablePointer<msg_lock_word>

    public init() {
        word = .allocate(capacity: 1)
        word.initialize(to: 0)
    }

    deinit { word.deallocate() }

    @inline(__always) public func lock() { msg_lock(word) }
    @inline(__always) public func unlock() { msg_unlock(word) }

    @inline(__always)
    public func withLock<R>(_ body: () throws -> R) rethrows -> R {
        lock()
        defer { unlock() }
        return try body()
    }
}

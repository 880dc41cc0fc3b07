// A lock whose two halves stand apart, so that a decision is made under it and carried out after it.
import Glibc

/// A mutual exclusion lock. Nothing is resumed, and no foreign code called, while one is held.
///
/// `Synchronization.Mutex` is not used here because its closure form cannot span the loop over several channels.
public final class Lock: @unchecked Sendable {  // the mutex is its own synchronisation
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    public init() {
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    @inline(__always) public func lock() { pthread_mutex_lock(mutex) }
    @inline(__always) public func unlock() { pthread_mutex_unlock(mutex) }

    @inline(__always)
    public func withLock<R>(_ body: () throws -> R) rethrows -> R {
        lock()
        defer { unlock() }
        return try body()
    }
}

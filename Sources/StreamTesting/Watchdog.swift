// Real time, for what does not end by itself.
import Glibc
import StreamCore

/// Nanoseconds on the system's monotonic clock.
func monotonicNow() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// A condition that threads wait for, with a deadline in real time.
final class Gate: @unchecked Sendable {  // `mutex` guards what the bodies touch
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(changed)
        mutex.deallocate()
        changed.deallocate()
    }

    func read<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    func change<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(mutex)
        }
        return body()
    }

    /// Waits until `holds` is true, or until the deadline. Returns which.
    @discardableResult
    func wait(until deadline: Int64 = .max, _ holds: () -> Bool) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !holds() {
            guard deadline != .max else {
                pthread_cond_wait(changed, mutex)
                continue
            }
            if monotonicNow() >= deadline { return false }
            var time = timespec(tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
            pthread_cond_timedwait(changed, mutex, &time)
        }
        return true
    }
}

/// Calls for the end of what takes too long: at a deadline, and again and again until it has ended.
final class Watchdog: @unchecked Sendable {  // `gate` guards the rest
    private static let pause: Int64 = 20_000_000

    private let gate = Gate()
    private var next = Int64.max
    private var deadline = Int64.max
    private var act: (@Sendable (_ overdue: Int64) -> Void)?
    private var isOver = false

    init() {
        spawnDetached(stack: 256 << 10) { [self] in loop() }
    }

    func begin(limit: Int64, _ act: @escaping @Sendable (_ overdue: Int64) -> Void) {
        gate.change {
            deadline = monotonicNow() &+ limit
            next = deadline
            self.act = act
        }
    }

    func end() {
        gate.change {
            next = .max
            act = nil
        }
    }

    /// Ends its thread.
    func stop() { gate.change { isOver = true } }

    private func loop() {
        while true {
            var limit = Int64.max
            gate.wait {
                limit = next; return isOver || next != .max
            }
            // Woken at the deadline, or earlier by a change.
            let isSame = gate.wait(until: limit) { isOver || next != limit }
            if isSame {
                if gate.change({ isOver }) { return }
                continue
            }
            let due: (act: @Sendable (Int64) -> Void, overdue: Int64)? = gate.change {
                guard next == limit, let act else { return nil }
                let now = monotonicNow()
                next = now + Self.pause
                return (act, now - deadline)
            }
            if let due { due.act(due.overdue) }
        }
    }
}

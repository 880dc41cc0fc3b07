// A thread on which code may block, as its scheduler sees it.
import Glibc

/// Runs one piece of blocking code, and lets it wait for others: `park` until `unpark`. While it runs, something can
/// still move; while it is parked, nothing does by it.
open class ThreadSeat: @unchecked Sendable {  // `mutex` guards `isReady`
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isReady = false
    private let scheduler: Scheduler

    init(scheduler: Scheduler) {
        self.scheduler = scheduler
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(condition)
        mutex.deallocate()
        condition.deallocate()
    }

    /// Runs `body` on the thread, once.
    func start(stack: Int, _ body: @escaping @Sendable () -> Void) {
        let scheduler = self.scheduler
        scheduler.beginActivity()
        spawnDetached(stack: stack) {
            body()
            scheduler.endActivity()
        }
    }

    /// Waits for `unpark`, which may have come before. Called on the thread.
    func park() {
        scheduler.endActivity()
        pthread_mutex_lock(mutex)
        while !isReady { pthread_cond_wait(condition, mutex) }
        isReady = false
        pthread_mutex_unlock(mutex)
    }

    /// Ends a `park`. Any thread; once for each.
    func unpark() {
        scheduler.beginActivity()
        pthread_mutex_lock(mutex)
        isReady = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }
}

/// A thread that takes turns with a scheduler of one thread: it runs only while that waits for it, and when it parks the
/// turn goes back. So where it reads and writes files, too, the order of all is the scheduler's.
final class TurnSeat: ThreadSeat, @unchecked Sendable {  // `mutex` guards `turn`; who has the turn has the rest
    private enum Turn { case scheduler, thread }
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var turn = Turn.scheduler
    /// It was let go, and has not taken notice.
    private var isFree = false
    private var job: TurnJob!

    private static let key = {
        var key = pthread_key_t()
        pthread_key_create(&key, nil)
        return key
    }()
    /// The seat of the thread that calls, if it has one of these.
    static var current: TurnSeat? {
        pthread_getspecific(key).map { Unmanaged<TurnSeat>.fromOpaque($0).takeUnretainedValue() }
    }

    override init(scheduler: Scheduler) {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
        super.init(scheduler: scheduler)
        job = TurnJob(scheduler: scheduler, seat: self)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(changed)
        mutex.deallocate()
        changed.deallocate()
    }

    override func start(stack: Int, _ body: @escaping @Sendable () -> Void) {
        spawnDetached(stack: stack) { [self] in
            pthread_setspecific(Self.key, Unmanaged.passUnretained(self).toOpaque())
            wait(for: .thread)
            body()
            pass(to: .scheduler)
        }
        unpark()
    }

    override func park() {
        if !isFree {
            pass(to: .scheduler)
            wait(for: .thread)
        }
        isFree = false
    }

    override func unpark() {
        isFree = true
        job.wake()
    }

    /// The scheduler's turn is the thread's until it parks or ends.
    fileprivate func run() {
        guard isFree else { return }  // it had not parked yet when it was let go
        isFree = false
        pass(to: .thread)
        wait(for: .scheduler)
    }

    private func pass(to next: Turn) {
        pthread_mutex_lock(mutex)
        turn = next
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    private func wait(for mine: Turn) {
        pthread_mutex_lock(mutex)
        while turn != mine { pthread_cond_wait(changed, mutex) }
        pthread_mutex_unlock(mutex)
    }
}

private final class TurnJob: Job, @unchecked Sendable {  // its seat's rule
    private weak var seat: TurnSeat?
    init(scheduler: Scheduler, seat: TurnSeat) {
        self.seat = seat
        super.init(scheduler: scheduler)
    }

    override func work() -> Outcome {
        seat?.run()
        return .park
    }
}

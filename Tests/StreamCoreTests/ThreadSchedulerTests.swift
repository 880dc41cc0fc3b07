// The scheduler of real runs, and channels on it: real threads, real time.
import Glibc
import Synchronization
import Testing

@testable import StreamCore

/// Whether `condition` came true within `seconds`.
private func eventually(_ seconds: Double = 20, _ condition: () -> Bool) -> Bool {
    for _ in 0..<Int(seconds * 1000) {
        if condition() { return true }
        usleep(1000)
    }
    return condition()
}

private func started(threads: Int) -> ThreadScheduler {
    let scheduler = ThreadScheduler(.init(threads: threads))
    scheduler.start()
    return scheduler
}

/// Notes what it saw of `wakes` in its last run, and whether two threads were ever in it.
private final class WatchedJob: Job, @unchecked Sendable {  // atomics; `plain` is what the job's state guards
    let wakes = Atomic<Int>(0), seen = Atomic<Int>(0), inside = Atomic<Int>(0), overlaps = Atomic<Int>(0)
    var plain = 0

    override func work() -> Outcome {
        if inside.wrappingAdd(1, ordering: .relaxed).oldValue != 0 {
            overlaps.wrappingAdd(1, ordering: .relaxed)
        }
        plain += 1
        seen.store(wakes.load(ordering: .sequentiallyConsistent), ordering: .relaxed)
        inside.wrappingSubtract(1, ordering: .relaxed)
        return plain % 7 == 0 ? .again : .park
    }
}

/// A box of numbers under a lock.
private final class Log: @unchecked Sendable {  // `lock` guards `entries`
    private let lock = Lock()
    private var entries: [Int] = []
    func add(_ entry: Int) { lock.withLock { entries.append(entry) } }
    var all: [Int] { lock.withLock { entries } }
}

@Suite(.serialized)
struct ThreadSchedulerTests {
    @Test func jobsWokenFromSeveralThreads_runAfterTheirLastWake_onOneThreadAtATime() {
        let scheduler = started(threads: 4)
        let jobs = (0..<1000).map { _ in WatchedJob(scheduler: scheduler) }
        let left = Atomic<Int>(4)
        for waker in 0..<4 as Range<UInt64> {
            let thread = spawn(stack: 256 << 10) {
                var random = SplitMix64(seed: waker)
                for _ in 0..<5 {
                    for job in jobs.shuffled(using: &random) {
                        job.wakes.wrappingAdd(1, ordering: .sequentiallyConsistent)
                        job.wake()
                    }
                }
                left.wrappingSubtract(1, ordering: .sequentiallyConsistent)
            }
            pthread_detach(thread)
        }
        #expect(eventually { left.load(ordering: .sequentiallyConsistent) == 0 && scheduler.isQuiescent })
        scheduler.stop()
        #expect(jobs.allSatisfy { $0.seen.load(ordering: .relaxed) == 20 })
        #expect(jobs.allSatisfy { $0.overlaps.load(ordering: .relaxed) == 0 })
        #expect(jobs.allSatisfy { $0.plain >= 1 })
    }

    @Test func timers_fireInOrder_notBeforeTheirDeadline_andNotWhenDisarmed() {
        let scheduler = started(threads: 1)
        let log = Log(), early = Log(), start = scheduler.now
        let order = [7, 2, 9, 4, 0, 1, 8, 3, 6, 5]
        let timers = order.map { place in
            let deadline = start + Int64(10 + 2 * place) * 1_000_000
            return Timer(deadline: deadline) {
                log.add(place)
                if scheduler.now < deadline { early.add(place) }
            }
        }
        for timer in timers { scheduler.arm(timer) }
        scheduler.disarm(timers[3])
        #expect(eventually { log.all.count == 9 })
        #expect(log.all == [0, 1, 2, 3, 5, 6, 7, 8, 9])
        #expect(early.all.isEmpty && scheduler.armedTimers == 0)
        scheduler.stop()
    }

    @Test func quiescence_isNoticedWhenNothingCanMove_andNotWhileATimerIsArmed() {
        let scheduler = ThreadScheduler(.init(threads: 2))
        let log = Log(), fired = Log()
        scheduler.onQuiescent = { log.add(fired.all.count) }
        scheduler.start()
        scheduler.arm(Timer(deadline: scheduler.now + 30_000_000) { fired.add(1) })
        let job = WatchedJob(scheduler: scheduler)
        job.wake()
        #expect(eventually { !log.all.isEmpty })
        #expect(log.all == [1])
        job.wake()
        #expect(eventually { log.all.count == 2 })
        scheduler.stop()
    }

    /// Guards against a timer thread that missed the signal of `stop` and slept for ever.
    @Test func stop_rightAfterStart_returns() {
        let rounds = Atomic<Int>(0)
        let thread = spawn(stack: 256 << 10) {
            for round in 0..<4000 {
                let scheduler = started(threads: 1)
                if round % 2 == 0 { usleep(UInt32(round % 100)) }
                scheduler.stop()
                rounds.wrappingAdd(1, ordering: .sequentiallyConsistent)
            }
        }
        pthread_detach(thread)
        #expect(eventually { rounds.load(ordering: .sequentiallyConsistent) == 4000 })
    }

    /// Guards against thread-specific keys that were never given back: a process has 1024.
    @Test func manySchedulers_leaveTheProcessItsKeys() {
        for _ in 0..<1100 { _ = ThreadScheduler(.init(threads: 1)) }
        var key = pthread_key_t()
        let status = pthread_key_create(&key, nil)
        #expect(status == 0)
        if status == 0 { pthread_key_delete(key) }
    }

    /// Each job keeps its thread until the last one has run, which no thread is free for.
    @Test func jobsThatDoNotReturn_keepNoOthersWaiting() {
        let scheduler = started(threads: 2)
        let isOpen = Atomic<Bool>(false), inside = Atomic<Int>(0)
        let stuck = (0..<20).map { _ in
            CallingJob(scheduler) {
                inside.wrappingAdd(1, ordering: .relaxed)
                _ = eventually { isOpen.load(ordering: .relaxed) }
            }
        }
        for job in stuck { job.wake() }
        #expect(eventually { inside.load(ordering: .relaxed) == 20 })
        let last = CallingJob(scheduler) { isOpen.store(true, ordering: .relaxed) }
        last.wake()
        #expect(eventually { scheduler.isQuiescent })
        let wasOpened = isOpen.load(ordering: .relaxed)
        #expect(wasOpened)
        // Those that were replaced have ended: the others go on as before.
        let log = Log()
        let again = (0..<10).map { number in CallingJob(scheduler) { log.add(number) } }
        for job in again { job.wake() }
        #expect(eventually { log.all.count == 10 })
        scheduler.stop()
        #expect(log.all.sorted() == Array(0..<10))
    }

    /// Guards against a timer thread that fired and never came to look at the others: whoever kept a ticker of a
    /// nanosecond could not be interrupted.
    @Test func timersThatAreAlwaysDue_hideNoJobThatDoesNotReturn() {
        let scheduler = started(threads: 2)
        let tickers = (0..<50).map { _ in
            Ticker(scheduler: scheduler, interval: 1, repeats: true, name: "ticker") { _ in }
        }
        for ticker in tickers { ticker.start() }
        let isOpen = Atomic<Bool>(false), inside = Atomic<Int>(0)
        let stuck = (0..<8).map { _ in
            CallingJob(scheduler) {
                inside.wrappingAdd(1, ordering: .relaxed)
                _ = eventually { isOpen.load(ordering: .relaxed) }
            }
        }
        for job in stuck { job.wake() }
        #expect(eventually(5) { inside.load(ordering: .relaxed) == 8 })
        isOpen.store(true, ordering: .relaxed)
        for ticker in tickers { ticker.stop() }
        scheduler.stop()
    }

    @Test func stop_waitsForTheRunningJob_andDropsQueuedOnes() {
        let scheduler = started(threads: 1)
        let log = Log()
        let job = BlockingJob(scheduler, log)
        job.wake()
        #expect(eventually { log.all == [1] })
        weak var queued: Job?
        do {
            let other = WatchedJob(scheduler: scheduler)
            other.wake()
            queued = other
        }
        #expect(queued != nil)
        scheduler.stop()
        #expect(log.all == [1, 2])
    }
}

private final class BlockingJob: Job, @unchecked Sendable {  // immutable
    private let log: Log
    init(_ scheduler: Scheduler, _ log: Log) {
        self.log = log
        super.init(scheduler: scheduler)
    }
    override func work() -> Outcome {
        log.add(1)
        usleep(20_000)
        log.add(2)
        return .park
    }
}

private final class CallingJob: Job, @unchecked Sendable {  // immutable
    private let body: @Sendable () -> Void
    init(_ scheduler: Scheduler, _ body: @escaping @Sendable () -> Void) {
        self.body = body
        super.init(scheduler: scheduler)
    }
    override func work() -> Outcome {
        body()
        return .park
    }
}

@Suite struct TwoQueuesTests {
    /// What comes out, by the names that went in: capitals used their slice up.
    @Test(arguments: [
        ("ab", "ab"), ("AB", "AB"), ("AaBb", "abAB"), ("Aabcdefghij", "abcdefghAij"),
        ("ABabcdefghijklmnopq", "abcdefghAijklmnopBq"),
    ]) func wokenJobsComeFirst_butNotForEver(_ names: String, _ expected: String) {
        let scheduler = SeededScheduler(seed: 1)
        var queues = TwoQueues()
        let jobs = names.map { _ in CallingJob(scheduler) {} }
        for (name, job) in zip(names, jobs) { queues.append(job, usedUp: name.isUppercase) }
        var order = ""
        while let job = queues.popFirst() { order.append(Array(names)[jobs.firstIndex { $0 === job }!]) }
        #expect(order == expected)
    }
}

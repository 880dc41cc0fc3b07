// The timer queue, the seeded scheduler, and what both schedulers inherit.
import Synchronization
import Testing

@testable import StreamCore

struct TimerQueueTests {
    private func timer(_ deadline: Int64) -> Timer { Timer(deadline: deadline) {} }

    @Test func due_comeByDeadline_thenInTheOrderMade() {
        var random = SplitMix64(seed: 7), queue = TimerQueue()
        let timers = (0..<500).map { _ in timer(Int64(random.next() % 50)) }
        for timer in timers.shuffled(using: &random) { queue.arm(timer) }
        var taken: [Timer] = []
        while let next = queue.takeDue(49) { taken.append(next) }
        #expect(taken.elementsEqual(timers.sorted(), by: ===))
        #expect(queue.armed == 0 && queue.earliest() == nil)
    }

    @Test func due_excludesLaterOnes() {
        var queue = TimerQueue()
        queue.arm(timer(5))
        #expect(queue.takeDue(4) == nil)
        #expect(queue.earliest() == 5)
        #expect(queue.takeDue(5) != nil)
    }

    @Test func disarmed_neverComes_andDisarmingTwiceCountsOnce() {
        var queue = TimerQueue()
        let first = timer(1), second = timer(2)
        queue.arm(first)
        queue.arm(second)
        queue.disarm(first)
        queue.disarm(first)
        #expect(queue.armed == 1 && queue.earliest() == 2)
        #expect(queue.takeDue(9) === second)
        queue.disarm(second)
        #expect(queue.armed == 0 && queue.takeDue(9) == nil)
    }

    /// Against a list of what is there: any order of arming, asking, disarming and firing.
    @Test func thoseWithAQuestion_areListedFromTheLastArmedOrMoved() {
        var random = SplitMix64(seed: 11)
        var queue = TimerQueue()
        var plain: [Timer] = [], listed: [Timer] = []
        for step in 0..<4000 {
            switch random.next() % 6 {
            case 0, 1:
                let timer = Timer(deadline: Int64(step), isAwaited: { true }) {}
                queue.arm(timer)
                listed.insert(timer, at: 0)
            case 2:
                let timer = timer(Int64(step))
                queue.arm(timer)
                plain.append(timer)
            case 3:
                guard let timer = listed.randomElement(using: &random) else { continue }
                queue.moveToFront(timer)
                listed.removeAll { $0 === timer }
                listed.insert(timer, at: 0)
            case 4:
                guard let timer = listed.randomElement(using: &random) else { continue }
                queue.disarm(timer)
                queue.moveToFront(timer)  // it has no place any more
                listed.removeAll { $0 === timer }
            default:
                guard let timer = queue.takeDue(.max) else { continue }
                listed.removeAll { $0 === timer }
                plain.removeAll { $0 === timer }
            }
            #expect(queue.unconditional == plain.count)
            #expect(queue.questions().elementsEqual(listed, by: ===))
            #expect(queue.questions(3).elementsEqual(listed.prefix(3), by: ===))
        }
    }

    @Test func disarmingNearlyAll_freesThem_andKeepsTheRest() {
        var queue = TimerQueue(), timers = (0..<1000).map { timer(Int64($0)) }
        weak var early = timers[0]
        for timer in timers { queue.arm(timer) }
        for (index, timer) in timers.enumerated() where index % 100 != 99 { queue.disarm(timer) }
        timers.removeAll()
        #expect(early == nil)
        var deadlines: [Int64] = []
        while let next = queue.takeDue(.max) { deadlines.append(next.deadline) }
        #expect(deadlines == (0..<10).map { Int64($0 * 100 + 99) })
    }
}

private final class CountingJob: Job, @unchecked Sendable {  // one thread, by the seeded scheduler
    private var left: Int
    private let log: (Int) -> Void
    init(_ scheduler: Scheduler, times: Int, log: @escaping (Int) -> Void = { _ in }) {
        left = times
        self.log = log
        super.init(scheduler: scheduler)
    }
    override func work() -> Outcome {
        left -= 1
        log(left)
        return left > 0 ? .again : .park
    }
}

/// A timer fires at the very moment when someone asks how many are armed.
private final class FiringScheduler: Scheduler, @unchecked Sendable {  // one thread
    override var armedTimers: Int {
        beginActivity()
        return 0
    }
}

struct SeededSchedulerTests {
    /// Guards against a deadlock that was reported of a program in which all went on: a timer fired while the timers were
    /// asked, and what it set going waited again, for a timer that was not asked.
    @Test func quiescence_isNotSeen_whereSomethingMovedWhileTheTimersWereAsked() {
        let scheduler = SeededScheduler(seed: 1)
        let wasAsked = Atomic<Bool>(false)
        let timer = Timer(
            deadline: 10,
            isAwaited: { [unowned scheduler] in
                if wasAsked.exchange(true, ordering: .relaxed) { return false }
                scheduler.beginActivity()
                scheduler.arm(Timer(deadline: 20) {})
                scheduler.endActivity()
                return false
            }
        ) {}
        scheduler.arm(timer)
        let isQuiescent = scheduler.isQuiescent, asked = wasAsked.load(ordering: .relaxed)
        #expect(asked && !isQuiescent)
    }

    private func run(seed: UInt64) -> (trace: UInt64, order: [Int]) {
        let scheduler = SeededScheduler(seed: seed)
        var order: [Int] = []
        let jobs = (0..<5).map { id in CountingJob(scheduler, times: 4) { _ in order.append(id) } }
        for job in jobs { job.wake() }
        scheduler.run()
        return (scheduler.trace, order)
    }

    @Test func sameSeed_sameTraceAndOrder() {
        for seed in 0..<20 as Range<UInt64> { #expect(run(seed: seed) == run(seed: seed)) }
    }

    @Test func differentSeeds_differ() {
        let runs = (0..<100 as Range<UInt64>).map { run(seed: $0) }
        #expect(Set(runs.map(\.trace)).count == 100)
        #expect(Set(runs.map(\.order)).count == 100)
    }

    @Test func clock_movesOnlyWhenNoJobIsReady() {
        let scheduler = SeededScheduler(seed: 3)
        nonisolated(unsafe) var seen: [Int64] = []
        let job = CountingJob(scheduler, times: 5) { _ in seen.append(scheduler.now) }
        scheduler.arm(Timer(deadline: 70) { seen.append(scheduler.now) })
        scheduler.arm(Timer(deadline: 50) { seen.append(scheduler.now) })
        job.wake()
        #expect(!scheduler.run())
        #expect(seen == [0, 0, 0, 0, 0, 50, 70])
    }

    @Test func run_stopsAtItsLimit_orWhenFinished() {
        let scheduler = SeededScheduler(seed: 3)
        var runs = 0
        CountingJob(scheduler, times: 20) { _ in runs += 1 }.wake()
        #expect(!scheduler.run(limit: 10))
        #expect(runs == 10 && scheduler.steps == 10)
        #expect(scheduler.run { runs == 15 })
        scheduler.run()
        #expect(runs == 20)
    }

    @Test func wakeOfAQueuedJob_runsItOnce() {
        let scheduler = SeededScheduler(seed: 3)
        var runs = 0
        let job = CountingJob(scheduler, times: 1) { _ in runs += 1 }
        for _ in 0..<3 { job.wake() }
        scheduler.run()
        #expect(runs == 1)
    }

    @Test func wakeOfARunningJob_runsItOnceMore() {
        let scheduler = SeededScheduler(seed: 3)
        var runs = 0
        var job: CountingJob!
        job = CountingJob(scheduler, times: 1) { _ in
            runs += 1
            if runs == 1 { for _ in 0..<3 { job.wake() } }
        }
        job.wake()
        scheduler.run()
        #expect(runs == 2)
        job = nil  // its body refers to it
    }

    @Test func quiescence_isNoticedWhenNothingCanMove() {
        let scheduler = SeededScheduler(seed: 3)
        nonisolated(unsafe) var noticed: [Int64] = []
        scheduler.onQuiescent = { [unowned scheduler] in noticed.append(scheduler.now) }
        scheduler.arm(Timer(deadline: 50) {})
        CountingJob(scheduler, times: 3).wake()
        scheduler.run()
        #expect(noticed == [50])
    }

    /// Guards against asking for activity before asking for timers: a timer that fired in between was seen by neither.
    @Test func quiescence_isNotSeenWhileATimerFires() { #expect(!FiringScheduler().isQuiescent) }
}

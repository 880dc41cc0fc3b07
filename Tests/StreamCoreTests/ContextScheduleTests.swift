// Contexts under many schedules, and on real threads.
import Glibc
import Schedules
import Synchronization
import Testing

@testable import StreamCore

struct ContextScheduleTests {
    @Test func everySchedule_endsEachContextOnce_andTellsEachListenerOnce() {
        var traces: Set<UInt64> = [], found: [String] = []
        let seeds = UInt64(1)...400
        for seed in seeds {
            let run = ContextRun(seed: seed)
            run.run()
            traces.insert(run.scheduler.trace)
            if let problem = run.problems.first { found.append("seed \(seed): \(problem)") }
        }
        #expect(found.isEmpty, "\(found.count) of \(seeds.count); first \(found.first ?? "")")
        #expect(traces.count * 2 > seeds.count)
    }

    @Test func plantedBug_aContextThatEndsTwice_isFound() {
        let found = (UInt64(1)...50).count { seed in
            let run = ContextRun(seed: seed, fault: .endsTwice)
            run.run()
            return run.problems.contains { $0.contains("twice") || $0.contains("ended with") }
        }
        #expect(found > 25, "found by \(found) of 50 seeds")
    }
}

/// Real threads: a timer, cancels and a parent's end meet, while listeners come and go.
struct ContextStressTests {
    private final class Ear: ContextListener, @unchecked Sendable {  // the count is atomic
        let told = Atomic<Int>(0)
        func contextEnded(_ reason: Reason) { told.wrappingAdd(1, ordering: .relaxed) }
    }

    private final class Wanderer: ContextListener, @unchecked Sendable {  // the counts are atomic
        let seat = ContextSeat()
        /// The latest epoch that it was told with: the threads that tell may pass each other.
        let last = Atomic<UInt32>(0)
        let told = Atomic<Int>(0)
        deinit { seat.destroy() }
        func contextEnded(_ reason: Reason) {}
        func contextEnded(_ reason: Reason, epoch: UInt32) {
            last.max(epoch, ordering: .sequentiallyConsistent)
            told.wrappingAdd(1, ordering: .sequentiallyConsistent)
        }
    }

    private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let threads = (0..<count).map { index in spawn(stack: 512 << 10) { body(index) } }
        for thread in threads { pthread_join(thread, nil) }
    }

    @Test func cancelDeadlineAndParent_endItOnce() {
        let scheduler = ThreadScheduler(.init(threads: 1))
        scheduler.start()
        defer { scheduler.stop() }
        for round in 0..<400 {
            let root = Context(scheduler: scheduler), side = Context(scheduler: scheduler)
            let deadline = scheduler.now + Int64(round % 20) * 10_000
            let context = Context(scheduler: scheduler, parents: [root, side], deadline: deadline)
            let below = Context(scheduler: scheduler, parent: context)
            let box = EarBox()
            onThreads(4) { index in
                switch index {
                case 0: root.cancel(cause: "root")
                case 1: side.cancel(cause: "side")
                case 2: if context.cancel(cause: "own") { box.wins.wrappingAdd(1, ordering: .relaxed) }
                default:
                    for _ in 0..<20 {
                        let ear = Ear(), late = Context(scheduler: scheduler, parent: below)
                        if below.add(ear) { box.ears.withLock { $0.append(ear) } }
                        _ = late.reason
                    }
                }
            }
            #expect(context.reason != nil && below.reason == context.reason && below.cause == context.cause)
            let cause = context.cause
            #expect(["root", "side", "own", "deadline exceeded"].contains(cause))
            #expect((box.wins.load(ordering: .relaxed) == 1) == (cause == "own"))
            // Whoever ended it may still be telling: the threads above have, but not the timer's.
            for ear in box.ears.withLock({ $0 }) {
                while ear.told.load(ordering: .relaxed) == 0 { sched_yield() }
                #expect(ear.told.load(ordering: .relaxed) == 1)
            }
        }
    }

    private final class EarBox: Sendable {
        let ears = Mutex<[Ear]>([])
        let wins = Atomic<Int>(0)
    }

    /// What is told of a stay that is over carries its epoch, so that the listener can tell.
    @Test func wanderer_thatStaysWhereItEnds_isToldOfThatStay() {
        let scheduler = SeededScheduler(seed: 1)
        for _ in 0..<200 {
            let places = (0..<8).map { _ in Context(scheduler: scheduler) }
            let wanderer = Wanderer(), note = Note()
            onThreads(3) { index in
                if index > 0 {
                    for number in stride(from: index - 1, to: places.count, by: 2) { places[number].cancel() }
                } else {
                    for place in places.shuffled() {
                        let (isLive, epoch) = place.add(wanderer, wanderer.seat)
                        note.stay.store(epoch, ordering: .relaxed)
                        note.isLive.store(isLive, ordering: .relaxed)
                    }
                }
            }
            // All have been cancelled and told: where the last stay began in time, the telling was of it.
            if note.isLive.load(ordering: .relaxed) {
                #expect(wanderer.told.load(ordering: .relaxed) >= 1)
                #expect(wanderer.last.load(ordering: .relaxed) == note.stay.load(ordering: .relaxed))
            }
        }
    }

    private final class Note: Sendable {
        let stay = Atomic<UInt32>(0)
        let isLive = Atomic<Bool>(false)
    }

    /// A child that is dropped just as its parent ends.
    @Test func childrenDroppedWhileTheParentEnds_areGone() {
        let scheduler = SeededScheduler(seed: 1)
        for _ in 0..<200 {
            let root = Context(scheduler: scheduler)
            onThreads(3) { index in
                if index == 0 {
                    root.cancel()
                } else {
                    for _ in 0..<50 {
                        let child = Context(scheduler: scheduler, parents: [root, root])
                        _ = Context(scheduler: scheduler, parent: child).reason
                    }
                }
            }
            #expect(root.node.pointee.first == nil && root.node.pointee.last == nil)
        }
    }
}

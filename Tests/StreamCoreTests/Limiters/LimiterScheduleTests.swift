// Properties of limiters under seeded schedules, and a planted bug that the same checks must find.
import Testing

@testable import StreamCore

struct LimiterScheduleTests {
    private static let seeds: Range<UInt64> = 0..<3000

    @Test func everySchedule_isNeverOver_keepsTheBooksAndTheOrder_andLeavesNobodyWaiting() {
        var traces: Set<UInt64> = []
        var passed = 0
        for seed in Self.seeds {
            let run = LimiterRun(seed: seed)
            run.finish()
            traces.insert(run.scheduler.trace)
            passed += run.uses.count
            #expect(run.failures.isEmpty, "seed \(seed), \(run.spec.kind): \(run.failures)")
        }
        print("\(Self.seeds.count) schedules, \(traces.count) distinct traces, \(passed) uses")
        #expect(2 * traces.count >= Self.seeds.count, "\(traces.count) distinct traces of \(Self.seeds.count)")
        #expect(passed > 5 * Self.seeds.count)
    }

    @Test func plantedBug_aWaitThatKeepsItsTokensWhenItIsCancelled_isFound() {
        var found = 0
        for seed in Self.seeds {
            let run = LimiterRun(seed: seed, fault: .tokensKept)
            run.finish()
            if run.failures.contains(where: { $0.contains("are there, expected") }) { found += 1 }
        }
        print("tokensKept: found by \(found) of \(Self.seeds.count) seeds")
        #expect(found > 0)
    }
}

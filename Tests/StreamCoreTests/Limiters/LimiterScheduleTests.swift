// Properties of limiters under seeded schedules, and a planted bug that the same checks must find. The release binary runs
// many more of them: ScheduleTests.
import Schedules
import Testing

struct LimiterScheduleTests {
    private static let seeds: Range<UInt64> = 0..<600

    @Test func everySchedule_isNeverOver_keepsTheBooksAndTheOrder_andLeavesNobodyWaiting() {
        var traces: Set<UInt64> = []
        var passed = 0
        for seed in Self.seeds {
            let run = LimiterRun(seed: seed)
            run.finish()
            traces.insert(run.scheduler.trace)
            passed += run.useCount
            #expect(run.failures.isEmpty, "seed \(seed): \(run.failures)")
        }
        #expect(2 * traces.count >= Self.seeds.count, "\(traces.count) distinct traces of \(Self.seeds.count)")
        #expect(passed > 5 * Self.seeds.count)
    }

    @Test(arguments: Families.plantedInLimiters.indices) func plantedBug_isFound(_ index: Int) {
        let bug = Families.plantedInLimiters[index]
        #expect(Self.seeds.contains { bug.isFound($0) }, "no seed finds \(bug.name)")
    }
}

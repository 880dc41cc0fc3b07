// Properties of channels under seeded schedules, and planted bugs that the same checks must find.
import Testing

@testable import StreamCore

struct ChannelScheduleTests {
    private static let seeds: Range<UInt64> = 0..<2400

    @Test func everySchedule_keepsTheBooks_theOrderAndTheCapacity_andLeavesNobodyWaiting() {
        var traces: Set<UInt64> = []
        for seed in Self.seeds {
            let run = ChannelRun(seed: seed)
            run.finish()
            traces.insert(run.scheduler.trace)
            #expect(run.failures.isEmpty, "seed \(seed)")
        }
        print("\(Self.seeds.count) schedules, \(traces.count) distinct traces")
        #expect(2 * traces.count >= Self.seeds.count, "\(traces.count) distinct traces of \(Self.seeds.count)")
    }

    /// What the checks say of each planted bug.
    private static let planted: [(fault: ChannelFault, says: String)] = [
        (.lostWakeUp, "waits"),
        (.valueLostAtClose, "created"),
        (.capacityExceeded, "in flight"),
    ]

    @Test(arguments: planted.indices)
    func plantedBug_isFound(_ index: Int) {
        let (fault, says) = Self.planted[index]
        var found = 0
        for seed in Self.seeds {
            let run = ChannelRun(seed: seed, fault: fault)
            run.finish()
            if run.failures.contains(where: { $0.contains(says) }) { found += 1 }
        }
        print("\(fault): found by \(found) of \(Self.seeds.count) seeds")
        #expect(found > 0, "no seed finds \(fault)")
    }
}

// Properties of channels under seeded schedules, and planted bugs that the same checks must find. The release binary runs
// many more of them: ScheduleTests.
import Schedules
import Testing

struct ChannelScheduleTests {
    private static let seeds: Range<UInt64> = 0..<600

    @Test func everySchedule_keepsTheBooks_theOrderAndTheCapacity_andLeavesNobodyWaiting() {
        for family in Families.channels {
            var traces: Set<UInt64> = []
            for seed in Self.seeds {
                let schedule = family.run(seed)
                traces.insert(schedule.trace)
                #expect(schedule.failures.isEmpty, "\(family.name), seed \(seed)")
            }
            #expect(2 * traces.count >= Self.seeds.count, "\(traces.count) distinct traces of \(Self.seeds.count)")
        }
    }

    @Test(arguments: Families.planted.indices)
    func plantedBug_isFound(_ index: Int) {
        let bug = Families.planted[index]
        #expect(Self.seeds.contains { bug.isFound($0) }, "no seed finds \(bug.name)")
    }
}

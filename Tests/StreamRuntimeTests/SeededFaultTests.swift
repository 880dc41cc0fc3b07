// Programs that are struck by faults, with all of the debug build's checks. The release binary runs many more: ScheduleTests.
import Schedules
import Testing

@Suite struct SeededFaultTests {
    @Test(arguments: Families.faults.indices) func noValueIsLostUnsaid_andAllThatWasBegunIsEnded(_ index: Int) {
        let family = Families.faults[index]
        let failing = (UInt64(1)...60).flatMap { seed in family.run(seed).failures.map { "seed \(seed): \($0)" } }
        #expect(failing.isEmpty, "\(family.name): \(failing.count); first \(failing.first ?? "")")
    }

    @Test(arguments: Families.faults.indices) func theSameSeedGoesTheSameWay(_ index: Int) {
        for seed in [7, 4711] as [UInt64] {
            #expect(Families.faults[index].run(seed).trace == Families.faults[index].run(seed).trace)
        }
    }
}

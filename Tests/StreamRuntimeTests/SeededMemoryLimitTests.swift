// Workers over their memory limit, in some orders. The release binary runs many more: ScheduleTests.
import Schedules
import Testing

@Suite struct SeededMemoryLimitTests {
    private static let families = Families.scripts(Families.memoryLimitCases)

    @Test(arguments: families.indices) func everyOrder(_ index: Int) {
        let family = Self.families[index]
        let failing = (UInt64(1)...20).flatMap { family.run($0).failures }
        #expect(failing.isEmpty, "\(family.name): \(failing.count) of 20; first \(failing.first ?? "")")
    }

    @Test(arguments: Families.memoryLimitCases.indices) func theSameSeedGoesTheSameWay(_ index: Int) {
        let script = Families.memoryLimitCases[index].script
        let first = runSeeded(script, seed: 4711), second = runSeeded(script, seed: 4711)
        #expect(first.trace == second.trace && first.steps == second.steps && first.output == second.output)
    }
}

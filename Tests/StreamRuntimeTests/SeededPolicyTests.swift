// What follows a failure, in some orders. The release binary runs many more: ScheduleTests.
import Schedules
import Testing

@Suite struct SeededPolicyTests {
    private static let cases = Families.policyCases + Families.retryCases
    private static let families = Families.scripts(cases)

    @Test(arguments: families.indices) func everyOrder(_ index: Int) {
        let family = Self.families[index]
        let failing = (UInt64(1)...20).flatMap { family.run($0).failures }
        #expect(failing.isEmpty, "\(family.name): \(failing.count) of 20; first \(failing.first ?? "")")
    }

    @Test(arguments: cases.indices) func theSameSeedGoesTheSameWay(_ index: Int) {
        let script = Self.cases[index].script
        let first = runSeeded(script, seed: 4711), second = runSeeded(script, seed: 4711)
        #expect(first.trace == second.trace && first.steps == second.steps && first.output == second.output)
    }
}

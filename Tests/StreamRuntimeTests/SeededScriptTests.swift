// Scripts in some orders, with all of the debug build's checks. The release binary runs many more: ScheduleTests.
import Schedules
import Testing

@Suite struct SeededScriptTests {
    private static let cases = Families.cases + Families.oneWorkerCases
    private static let families = Families.scripts(cases)

    @Test(arguments: families.indices) func everyOrder(_ index: Int) {
        let family = Self.families[index]
        let failing = (UInt64(1)...20).flatMap { family.run($0).failures }
        #expect(failing.isEmpty, "\(family.name): \(failing.count) of 20; first \(failing.first ?? "")")
    }

    @Test(arguments: cases.indices) func theSameSeedGoesTheSameWay(_ index: Int) {
        let script = Self.cases[index].script
        for seed in [7, 4711] as [UInt64] {
            let first = runSeeded(script, seed: seed), second = runSeeded(script, seed: seed)
            #expect(first.trace == second.trace)
            #expect(first.steps == second.steps)
            #expect(first.output == second.output)
        }
    }
}

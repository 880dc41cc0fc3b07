// Contexts of scripts in every order that a range of seeds gives.
import Schedules
import Testing

@testable import StreamRuntime

@Suite struct SeededContextTests {
    @Test(arguments: Families.contextCases) func everyOrder(_ test: SeededCase) {
        var failing: [String] = [], traces: Set<UInt64> = []
        let seeds = UInt64(1)..<41
        for seed in seeds {
            let outcome = runSeeded(test.script, seed: seed)
            traces.insert(outcome.trace)
            if let problem = test.problem(outcome) { failing.append("\(problem): \(outcome.summary)") }
        }
        #expect(failing.isEmpty, "\(test.name): \(failing.count) of \(seeds.count); first \(failing.first ?? "")")
    }

    @Test func theSeedsTakeDifferentWays() {
        let traces = Families.contextCases.map { test in
            Set((UInt64(1)..<41).map { runSeeded(test.script, seed: $0).trace }).count
        }
        // A script whose tasks all run in one worker leaves the scheduler little to choose; together they do differ.
        #expect(traces.max()! > 20, "\(traces)")
    }
}

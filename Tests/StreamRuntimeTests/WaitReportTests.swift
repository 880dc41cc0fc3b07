// The reports of what waits.
import Schedules
import Testing

@testable import StreamRuntime

@Suite struct WaitReportTests {
    @Test func aWaitThatOutlivesTheRun_isReportedOnceMore_andTheRunEnds() {
        let outcome = runSeeded(Families.taskCases.last!.script, seed: 1)
        #expect(outcome.result?.failures.count == 2)
        #expect(
            outcome.result?.failures.last
                == "the run has ended, and these wait on, in contexts that do not end with it\n"
                + "  script.lua:3: main is receiving from the channel of script.lua:2")
    }

    @Test func aReport_countsEqualPlaces_andIsBounded() {
        let many = (0..<30).map { "line \($0)" } + Array(repeating: "line 3", count: 4)
        let summary = Run.summary(of: many)
        #expect(summary.count == 21 && summary[0] == "line 0" && summary[3] == "line 3 (5 tasks)")
        #expect(summary[20] == "and 10 more places")
    }
}

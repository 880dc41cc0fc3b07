// What is run under many seeds: families of programs, and planted bugs that the same checks must find.
import StreamCore

/// What one schedule showed.
package struct Schedule: Sendable {
    /// A hash of every choice: two schedules with the same one went the same way.
    package let trace: UInt64
    /// What is wrong; nothing where all is well.
    package let failures: [String]

    package init(trace: UInt64, failures: [String]) {
        self.trace = trace
        self.failures = failures
    }
}

/// A program, or one drawn anew for each seed, with checks that keep their own accounts.
package struct Family: Sendable {
    package let name: String
    /// How many seeds it takes of each hundred that a family of scripts takes: programs drawn anew take more.
    package let share: Int
    package let run: @Sendable (_ seed: UInt64) -> Schedule

    package init(_ name: String, share: Int = 100, run: @escaping @Sendable (UInt64) -> Schedule) {
        self.name = name
        self.share = share
        self.run = run
    }
}

/// A bug put into the code under test.
package struct PlantedBug: Sendable {
    package let name: String
    /// What the checks say of it.
    package let symptom: String
    /// How many seeds it takes of each hundred that a family of scripts takes.
    package let share: Int
    package let run: @Sendable (_ seed: UInt64) -> Schedule

    package init(
        _ name: String, symptom: String, share: Int = 2000, run: @escaping @Sendable (UInt64) -> Schedule
    ) {
        self.name = name
        self.symptom = symptom
        self.share = share
        self.run = run
    }

    package func isFound(_ seed: UInt64) -> Bool { run(seed).failures.contains { $0.contains(symptom) } }
}

package enum Families {
    /// Scripts in which workers run side by side.
    package static let cases =
        scriptCases + graphCases + workerCases + overflowCases + requestCases + limiterCases + byteStreamCases
        + selectWorkerCases + timeoutCases + policyCases
    /// Tasks of one worker take turns in the order in which they can go on, so a seed changes little there.
    package static let oneWorkerCases = selectCases + contextCases + taskCases

    package static let all =
        channels + selects + contexts + limiters + shutdowns + stops + accounts + faults + scripts(cases)
        + scripts(oneWorkerCases, share: 10)
        + scripts(memoryLimitCases + retryCases, share: 10)  // filling a state up to its limit takes its time

    package static let channels = [
        Family("channels: parties drawn by the seed", share: 4000) { seed in
            let run = ChannelRun(seed: seed)
            run.finish()
            return Schedule(trace: run.scheduler.trace, failures: run.failures)
        }
    ]

    package static func scripts(_ cases: [SeededCase], share: Int = 100) -> [Family] {
        cases.map { test in
            Family(test.name, share: share) { seed in
                let outcome = runSeeded(test.script, seed: seed)
                let problem = test.problem(outcome).map { "\($0): \(outcome.summary)" }
                return Schedule(trace: outcome.trace, failures: problem.map { [$0] } ?? [])
            }
        }
    }

    package static let planted =
        plantedInChannels + plantedInSelects + plantedInContexts + plantedInLimiters + plantedInShutdowns
        + plantedInFaults + plantedInAccounts

    private static let plantedInChannels = [
        plantedInChannel("a lost wake-up", .lostWakeUp, symptom: "waits"),
        plantedInChannel("a value lost at close", .valueLostAtClose, symptom: "created"),
        plantedInChannel("a place too many", .capacityExceeded, symptom: "in flight"),
    ]

    private static func plantedInChannel(_ name: String, _ fault: ChannelFault, symptom: String) -> PlantedBug {
        PlantedBug(name, symptom: symptom) { seed in
            let run = ChannelRun(seed: seed, fault: fault)
            run.finish()
            return Schedule(trace: run.scheduler.trace, failures: run.failures)
        }
    }
}

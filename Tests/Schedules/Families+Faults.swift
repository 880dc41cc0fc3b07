// Faults: pipelines drawn by the seed with workers stopped, contexts ended, functions, sources and sinks that fail, and the
// bugs planted in them.
import StreamCore
import StreamRuntime

extension Families {
    package static let faults = [
        Family("faults: pipelines drawn by the seed, struck at any point", share: 10_000) { schedule(FaultRun(seed: $0)) }
    ]

    package static let plantedInFaults = [
        PlantedBug("a batch that is lost", symptom: "balance") { schedule(FaultRun(seed: $0, planted: .lostBatch)) },
    ]

    /// What a seed of the faults does: the script, what was done to it, what it wrote to standard error, what is wrong.
    package static func describeFaults(_ seed: UInt64) -> String {
        let run = FaultRun(seed: seed, tells: true)
        print(run.script)
        run.run()
        let (fired, stats, outcomes, notes) = run.ledger.book.withLock { ($0.fired, $0.stats, $0.outcomes, $0.notes) }
        return "\n-- done to it: \(fired)\n-- said: \(stats)\n-- outcomes: \(outcomes)\n"
            + notes.map { "-- " + $0 + "\n" }.joined() + run.log.map { "-- " + $0 }.joined(separator: "\n") + "\n"
            + run.failures.map { "-- wrong: " + $0 }.joined(separator: "\n")
    }

    private static func schedule(_ run: FaultRun) -> Schedule {
        run.run()
        return Schedule(trace: run.trace, failures: run.failures)
    }
}

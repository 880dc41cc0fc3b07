// Faults: pipelines drawn by the seed with workers stopped, contexts ended, functions, sources and sinks that fail, and the
// bugs planted in them.
import StreamCore
import StreamRuntime

extension Families {
    package static let faults = [
        Family("faults: pipelines drawn by the seed, struck at any point", share: 10_000) {
            schedule(FaultRun(seed: $0))
        },
        Family("cleanup: whatever was begun is ended once, on every way out", share: 2500) {
            schedule(CleanupRun(seed: $0))
        },
    ]

    package static let plantedInFaults = [
        PlantedBug("a batch that is lost in a queue", symptom: "lost unsaid", share: 300) {
            schedule(FaultRun(seed: $0, planted: .batchLostInQueue))
        },
        PlantedBug("a worker that is stopped, and nobody is told", symptom: "that is not said", share: 600) {
            schedule(FaultRun(seed: $0, planted: .stopUnsaid))
        },
        PlantedBug("a value that is counted twice", symptom: "came to its ends", share: 300) {
            schedule(FaultRun(seed: $0, planted: .deliveredTwice))
        },
        PlantedBug("a drop that is not counted", symptom: "balance", share: 300) {
            schedule(FaultRun(seed: $0, planted: .dropNotCounted))
        },
        PlantedBug("a stage that fails and is not torn down", symptom: "teardown", share: 300) {
            schedule(CleanupRun(seed: $0, planted: .teardownSkipped))
        },
        PlantedBug("an on_end that a replaced worker forgets", symptom: "was not run", share: 300) {
            schedule(CleanupRun(seed: $0, planted: .endingsSkipped))
        },
        PlantedBug("a task that is dropped while it waits", symptom: "<close>", share: 300) {
            schedule(CleanupRun(seed: $0, planted: .waitsDropped))
        },
        PlantedBug("a worker that fails and is told that it is done", symptom: "got \"done\"", share: 300) {
            schedule(CleanupRun(seed: $0, planted: .replacedAsDone))
        },
        PlantedBug(
            "results of an ordered stage that are passed on before their turn", symptom: "out of order", share: 300
        ) {
            schedule(FaultRun(seed: $0, planted: .ticketsSwapped))
        },
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

    /// The same of a seed of the cleanups.
    package static func describeCleanup(_ seed: UInt64) -> String {
        let run = CleanupRun(seed: seed)
        print(run.script)
        run.run()
        return (run.story.map { "-- " + $0 } + run.failures.map { "-- wrong: " + $0 }).joined(separator: "\n")
    }

    private static func schedule(_ run: CleanupRun) -> Schedule {
        run.run()
        return Schedule(trace: run.trace, failures: run.failures)
    }

    private static func schedule(_ run: FaultRun) -> Schedule {
        run.run()
        return Schedule(trace: run.trace, failures: run.failures)
    }
}

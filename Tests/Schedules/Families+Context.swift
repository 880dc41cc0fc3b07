// Contexts: trees drawn by the seed, and the bug planted in them.
import StreamCore

extension Families {
    package static let contexts = [
        Family("contexts: trees drawn by the seed", share: 2000) { schedule(ContextRun(seed: $0)) }
    ]

    package static let plantedInContexts = [
        PlantedBug("a context that ends twice", symptom: "ended") {
            schedule(ContextRun(seed: $0, fault: .endsTwice))
        }
    ]

    private static func schedule(_ run: ContextRun) -> Schedule {
        run.run()
        return Schedule(trace: run.scheduler.trace, failures: run.problems)
    }
}

// Limiters: parties drawn by the seed, and the bug planted in them.
import StreamCore

extension Families {
    package static let limiters = [
        Family("limiters: parties drawn by the seed", share: 3000) { schedule(LimiterRun(seed: $0)) }
    ]

    package static let plantedInLimiters = [
        PlantedBug("a wait that keeps its tokens when it is cancelled", symptom: "are there, expected") {
            schedule(LimiterRun(seed: $0, fault: .tokensKept))
        }
    ]

    private static func schedule(_ run: LimiterRun) -> Schedule {
        run.finish()
        return Schedule(trace: run.scheduler.trace, failures: run.failures)
    }
}

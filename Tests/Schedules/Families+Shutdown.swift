// Shutdown: scripts drawn by the seed that are ended at any step, and the bugs planted in them.
import StreamCore

extension Families {
    package static let shutdowns = [
        Family("shutdown: scripts drawn by the seed, ended at any step", share: 600) { schedule(ShutdownRun(seed: $0)) }
    ]

    package static let stops = [
        Family("shutdown: what waits for ever is cancelled, then stopped, and named", share: 200) { seed in
            let run = StopRun(seed: seed)
            run.run()
            return Schedule(trace: run.trace, failures: run.failures)
        }
    ]

    package static let plantedInShutdowns = [
        PlantedBug("a teardown that runs twice", symptom: "teardown:") {
            schedule(ShutdownRun(seed: $0, fault: .teardownTwice))
        },
        PlantedBug("a permit that is not taken back", symptom: "permits:") {
            schedule(ShutdownRun(seed: $0, fault: .permitKept))
        },
        PlantedBug("a value delivered twice", symptom: "delivered") {
            schedule(ShutdownRun(seed: $0, fault: .deliveredTwice))
        },
    ]

    private static func schedule(_ run: ShutdownRun) -> Schedule {
        run.run()
        return Schedule(trace: run.trace, failures: run.failures)
    }
}

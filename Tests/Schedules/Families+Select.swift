// Selects: parties drawn by the seed, and the bugs planted in them.
import StreamCore

extension Families {
    package static let selects = [
        Family("selects: parties and channels drawn by the seed", share: 4000) { schedule(SelectRun(seed: $0)) }
    ]

    package static let plantedInSelects = [
        PlantedBug("a select that takes every ready case", symptom: "delivered") {
            schedule(SelectRun(seed: $0, selectFault: .allCases))
        },
        PlantedBug("a select that does not look again before it waits", symptom: "wait") {
            schedule(SelectRun(seed: $0, selectFault: .noSecondLook))
        },
        PlantedBug("a waiting select of which two cases are taken", symptom: "did not take place") {
            schedule(SelectRun(seed: $0, fault: .doubleSelect))
        },
        PlantedBug("a lost wake-up among selects", symptom: "waits") {
            schedule(SelectRun(seed: $0, fault: .lostWakeUp))
        },
    ]

    private static func schedule(_ run: SelectRun) -> Schedule {
        run.finish()
        return Schedule(trace: run.scheduler.trace, failures: run.failures)
    }
}

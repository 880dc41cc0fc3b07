// The queue in front of a stage, where it is more than one channel.

/// With `key`, a dealer stands between the link and the workers, and each worker has a lane of its own. The queue that
/// was configured is the sum: half of it stays in front of the dealer, the other half is split into equal parts, one for
/// each worker and one for the worker of a key's function. No part is less than 1. A queue that may drop
/// what comes stands whole in front of the dealer, and each part has one value besides: only in front values are dropped.
struct QueueSplit: Equatable {
    /// Capacity of the link itself.
    let front: Int
    /// Of each lane; 0: there is none.
    let lane: Int

    init(queue: Int, parts: Int, drops: Bool = false) {
        lane = parts == 0 ? 0 : drops ? 1 : max(1, queue / (2 * parts))
        front = drops ? queue : max(0, queue - parts * lane)
    }
}

extension PipelineSpec.StageSpec {
    /// Several workers, and each has its own keys.
    var isDealt: Bool { key != nil && workers > 1 }
    /// Several workers, and the order of the input is kept.
    var isSequenced: Bool { ordered && workers > 1 }
    var hasKeyFunction: Bool { if case .function = key { isDealt } else { false } }
    var split: QueueSplit {
        QueueSplit(
            queue: queue, parts: isDealt ? workers + (hasKeyFunction ? 1 : 0) : 0, drops: policy.overflow != .block)
    }
}

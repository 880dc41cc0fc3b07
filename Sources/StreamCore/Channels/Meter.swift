// Counts that others may read while they change.
import Synchronization

/// What one part of a pipeline has done so far. Those who do it publish once a batch; any thread reads.
public final class Meter: Sendable {
    /// Values by what became of them.
    public struct Counts: Sendable, Equatable {
        public var received = 0, emitted = 0, filtered = 0, failed = 0, dropped = 0
        public var deadLettered = 0
        /// Values that it makes of those that it consumes, and those given back to a script's channel.
        public var created = 0, consumed = 0, returned = 0

        public init(
            received: Int = 0, emitted: Int = 0, filtered: Int = 0, failed: Int = 0, dropped: Int = 0,
            deadLettered: Int = 0, created: Int = 0, consumed: Int = 0, returned: Int = 0
        ) {
            self.received = received
            self.emitted = emitted
            self.filtered = filtered
            self.failed = failed
            self.dropped = dropped
            self.deadLettered = deadLettered
            self.created = created
            self.consumed = consumed
            self.returned = returned
        }

        public static func - (a: Counts, b: Counts) -> Counts {
            Counts(
                received: a.received - b.received, emitted: a.emitted - b.emitted, filtered: a.filtered - b.filtered,
                failed: a.failed - b.failed, dropped: a.dropped - b.dropped,
                deadLettered: a.deadLettered - b.deadLettered, created: a.created - b.created,
                consumed: a.consumed - b.consumed, returned: a.returned - b.returned)
        }
    }

    private let received = Atomic<Int>(0), emitted = Atomic<Int>(0), filtered = Atomic<Int>(0)
    private let failed = Atomic<Int>(0), dropped = Atomic<Int>(0), deadLettered = Atomic<Int>(0)
    private let created = Atomic<Int>(0), consumed = Atomic<Int>(0), returned = Atomic<Int>(0)

    public init() {}

    /// Each count is current; together they may be of slightly different moments.
    public var counts: Counts {
        Counts(
            received: received.load(ordering: .relaxed), emitted: emitted.load(ordering: .relaxed),
            filtered: filtered.load(ordering: .relaxed), failed: failed.load(ordering: .relaxed),
            dropped: dropped.load(ordering: .relaxed),
            deadLettered: deadLettered.load(ordering: .relaxed), created: created.load(ordering: .relaxed),
            consumed: consumed.load(ordering: .relaxed), returned: returned.load(ordering: .relaxed))
    }

    /// Of one of several that do it.
    public func add(_ more: Counts) {
        if more.received != 0 { received.wrappingAdd(more.received, ordering: .relaxed) }
        if more.emitted != 0 { emitted.wrappingAdd(more.emitted, ordering: .relaxed) }
        if more.filtered != 0 { filtered.wrappingAdd(more.filtered, ordering: .relaxed) }
        if more.failed != 0 { failed.wrappingAdd(more.failed, ordering: .relaxed) }
        if more.dropped != 0 { dropped.wrappingAdd(more.dropped, ordering: .relaxed) }
        if more.deadLettered != 0 { deadLettered.wrappingAdd(more.deadLettered, ordering: .relaxed) }
        if more.created != 0 { created.wrappingAdd(more.created, ordering: .relaxed) }
        if more.consumed != 0 { consumed.wrappingAdd(more.consumed, ordering: .relaxed) }
        if more.returned != 0 { returned.wrappingAdd(more.returned, ordering: .relaxed) }
    }

    /// Of the only one that does it, or of all together at their end.
    public func set(_ counts: Counts) {
        received.store(counts.received, ordering: .relaxed)
        emitted.store(counts.emitted, ordering: .relaxed)
        filtered.store(counts.filtered, ordering: .relaxed)
        failed.store(counts.failed, ordering: .relaxed)
        dropped.store(counts.dropped, ordering: .relaxed)
        deadLettered.store(counts.deadLettered, ordering: .relaxed)
        created.store(counts.created, ordering: .relaxed)
        consumed.store(counts.consumed, ordering: .relaxed)
        returned.store(counts.returned, ordering: .relaxed)
    }
}

// What became of the values of a pipeline, and of a run.
import StreamCore

/// Why a value was dropped, where no queue's policy did it.
public enum DropReason {
    /// Its pipeline ended before it came to an end of its own.
    public static let ended = "ended"
    /// A limiter that drops let it not through.
    public static let limited = "limited"
}

/// Counts of values, each made where it happens and none computed from the others, so that they balance only if no value
/// was lost and none counted twice:
///
///     created = delivered + consumed + filtered + failed + dropped + dead-lettered + returned
public struct Account: Sendable, Equatable {
    /// Made by sources, taken from a channel that is a source, and what stages make: what `emit` emits, arrays of a batch,
    /// the state of a reduce, the copies of a tee beyond the first, what a `:stage` sends.
    public var created = 0
    /// Handed over at the ends of chains.
    public var delivered = 0
    /// Taken by stages that make values of their own of them: `flat_map`, `reduce`, `batch`, `:stage`.
    public var consumed = 0
    /// Not passed on, as a stage's result says.
    public var filtered = 0
    /// Those for which a stage failed, and which went nowhere else.
    public var failed = 0
    /// Those that failed and were handed over to a sink of dead letters.
    public var deadLettered = 0
    /// Values of a channel that went back to its front, as no stage took them.
    public var returned = 0
    /// Dropped, by reason: `ended`, `limited`, or the policy of a full queue. Reasons without any are left out.
    public private(set) var drops: [String: Int] = [:]

    public init() {}

    public var dropped: Int { drops.values.reduce(0, +) }

    public var isBalanced: Bool {
        created == delivered + consumed + filtered + failed + dropped + deadLettered + returned
    }

    public mutating func drop(_ count: Int, _ reason: String) { if count != 0 { drops[reason, default: 0] += count } }

    public mutating func add(_ other: Account) {
        created += other.created
        delivered += other.delivered
        consumed += other.consumed
        filtered += other.filtered
        failed += other.failed
        deadLettered += other.deadLettered
        returned += other.returned
        for (reason, count) in other.drops { drop(count, reason) }
    }
}

extension Account {
    /// Of a link that a stage's function has in hand: its channel knows what was put into it and taken from it, also by
    /// tasks and workers that the function handed it to.
    mutating func add(_ channel: Channel, _ exposure: ExposedLink) {
        let account = channel.account
        consumed += exposure.isInput ? Int(account.received) : exposure.count
        created += exposure.isInput ? exposure.count : Int(account.sent)
    }

    /// Of a generator, whose emitted values are counted already.
    mutating func add(generator counts: Meter.Counts) {
        created += counts.created - counts.emitted
        consumed += counts.consumed
        filtered += counts.filtered
        failed += counts.failed
        deadLettered += counts.deadLettered
        drop(counts.dropped, DropReason.ended)
    }
}

extension Account: CustomStringConvertible {
    /// What there is of it: `10 created, 8 delivered, 2 dropped (ended 2)`.
    public var description: String {
        var parts = ["\(created) created", "\(delivered) delivered"]
        for (count, name) in [
            (consumed, "consumed"), (filtered, "filtered"), (failed, "failed"), (deadLettered, "dead-lettered"),
            (returned, "returned"),
        ] where count != 0 { parts.append("\(count) \(name)") }
        if !drops.isEmpty {
            let reasons = drops.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            parts.append("\(dropped) dropped (\(reasons.joined(separator: ", ")))")
        }
        return parts.joined(separator: ", ")
    }
}

/// What the parts at both sides of a queue say of it, each at its end.
struct QueueAccount {
    let name: String
    /// Values put in, and taken out again to be worked on.
    var put = 0, taken = 0
    /// What was there when nobody wanted it any more, and what its policy dropped.
    var left = 0, shed = 0

    /// What is wrong with it; nil: nothing.
    var problem: String? {
        let lost = put - taken - left - shed
        if lost == 0 { return nil }
        let values = abs(lost) == 1 ? "1 value" : "\(abs(lost)) values"
        return lost > 0
            ? "\(values) put into \(name) \(lost == 1 ? "was" : "were") neither taken nor dropped"
            : "\(values) more came out of \(name) than \(put == 1 ? "was" : "were") put in"
    }
}

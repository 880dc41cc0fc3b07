// What a pipeline tells of itself while it runs: counts of each step, and what a display adds up.
import LuaVM
import StreamCore
import Synchronization

/// One step of a pipeline, or one branch, for `stats`. Under its pipeline's lock but for the meter.
final class PartRecord {
    let name: String
    var meter = Meter()
    /// Workers of the stage that were replaced.
    let restarts = Counter()
    /// Its queue.
    var input: Channel?
    /// What its queue drops is told here: of a branch it is told by the first step.
    var tellsDrops = false
    /// What was over its limit and dropped, as `dropped` there.
    var limited: Meter?
    /// Limits of the stage, and of those that run in its workers.
    var limits: (() -> [NamedLimits])?
    /// Where the counts are read while its function has links of the pipeline itself; nil: in the meter.
    var taps: (received: Tap?, emitted: Tap?)?

    init(_ name: String, input: Channel?) {
        self.name = name
        self.input = input
    }

    /// With what its queue dropped, and what was over its limit.
    var counts: Meter.Counts {
        var counts = meter.counts
        if let taps = taps?.received { counts.received = taps.count }
        if let taps = taps?.emitted { counts.emitted = taps.count }
        counts.dropped += shed + (limited?.counts.dropped ?? 0)
        return counts
    }

    /// What its queue dropped by its policy.
    var shed: Int { tellsDrops ? input?.shed ?? 0 : 0 }
}

/// Values dropped, by reason.
struct DropReasons {
    private(set) var counts: [(reason: String, count: Int)] = []

    mutating func add(_ reason: String, _ count: Int) {
        if let index = counts.firstIndex(where: { $0.reason == reason }) {
            counts[index].count += count
        } else {
            counts.append((reason, count))
        }
    }

    /// Of one step: what its queue dropped by its policy, and what found nobody at an early end.
    init(_ record: PartRecord) {
        let shed = record.shed
        if record.tellsDrops, let queue = record.input, queue.overflow != .block { add(queue.overflow.name, shed) }
        add(DropReason.limited, record.limited?.counts.dropped ?? 0)
        add(DropReason.ended, record.meter.counts.dropped)
    }

    /// Of a pipeline: those of its account, and the reasons that there may be.
    init(_ records: [PartRecord], _ account: Account) {
        for record in records {
            if record.tellsDrops, let queue = record.input, queue.overflow != .block { add(queue.overflow.name, 0) }
            if record.limited != nil { add(DropReason.limited, 0) }
        }
        add(DropReason.ended, 0)
        for (reason, count) in account.drops { add(reason, count) }
    }

    /// Sets the field `drops` of the table on top.
    func push(_ stack: LuaStack) {
        stack.pushTable()
        for (reason, count) in counts {
            stack.push(Int64(count))
            stack.setField(-2, reason)
        }
        stack.setField(-2, "drops")
    }
}

extension PipelineRun {
    /// A queue in front of a sink that may drop values is told as a step.
    func record(queueOfSink link: Link, _ name: String) {
        let record = PartRecord(name, input: link.channel)
        record.tellsDrops = true
        record.taps = (Tap(link.channel, .received), Tap(link.channel, .received))
        lock.withLock { records.append(record) }
    }

}

/// One of the counts that make up the progress of a pipeline.
final class Gauge: Sendable {
    private let live: @Sendable () -> Int
    private let fixed = Atomic<Int>(-1)

    init(_ live: @escaping @Sendable () -> Int) { self.live = live }

    /// At the end of what it counts.
    func fix(_ count: Int) { fixed.store(count, ordering: .relaxed) }

    var count: Int {
        let last = fixed.load(ordering: .relaxed)
        return last >= 0 ? last : live()
    }
}

extension PipelineRun {
    /// How far it has come. Any thread.
    var progress: RunProgress {
        let (entries, exits, links) = lock.withLock { (self.entries, self.exits, self.links) }
        var progress = RunProgress()
        progress.entered = entries.reduce(0) { $0 + $1.count }
        progress.delivered = exits.reduce(0) { $0 + $1.count }
        for link in links {
            guard case .inner = link.kind else { continue }
            let channel = link.channel
            progress.consider(.init(name: channel.name, count: channel.queued, capacity: channel.capacity))
        }
        return progress
    }

    /// Its account, or while it runs what its steps tell: the account is written by parts that have ended.
    func currentAccount(_ steps: [(counts: Meter.Counts, drops: DropReasons)]) -> Account {
        if outcome != nil { return account }
        var total = Account()
        let progress = progress
        total.created = progress.entered
        total.delivered = progress.delivered
        for (counts, drops) in steps {
            total.filtered += counts.filtered
            total.failed += counts.failed
            for (reason, count) in drops.counts { total.drop(count, reason) }
        }
        let (groups, links, meters, rejections) = lock.withLock {
            (self.groups, self.links, self.meters, self.rejections)
        }
        for counts in meters.map(\.counts) {
            total.created += counts.created
            total.consumed += counts.consumed
            total.deadLettered += counts.deadLettered
            total.returned += counts.returned
        }
        for count in rejections.map(\.count) {
            total.created += count
            total.deadLettered += count
        }
        for group in groups {
            let lanes = group.lanesInHand
            total.consumed += lanes.consumed
            total.created += lanes.created
            // A generator is no step; what it emits has entered.
            if group.isSource { total.add(generator: group.meter.counts) }
        }
        for link in links where link.isInner {
            if let exposure = link.channel.exposure { total.add(link.channel, exposure) }
        }
        return total
    }

    /// Pushes the table that `p:stats()` returns.
    func pushStats(_ stack: LuaStack) {
        let steps = lock.withLock { self.records.map { ($0, $0.counts, DropReasons($0)) } }
        let limits = lock.withLock { self.records.map(\.limits) }
        let isOver = outcome != nil
        let total = currentAccount(steps.map { ($0.1, $0.2) })
        stack.pushTable()
        push(
            stack,
            [
                ("created", total.created), ("delivered", total.delivered), ("consumed", total.consumed),
                ("filtered", total.filtered), ("failed", total.failed), ("dropped", total.dropped),
                ("dead_lettered", total.deadLettered), ("returned", total.returned),
            ])
        DropReasons(steps.map(\.0), total).push(stack)
        stack.pushTable()
        for (index, (record, counts, drops)) in steps.enumerated() {
            let input = record.input
            stack.pushTable()
            stack.push(record.name)
            stack.setField(-2, "name")
            push(
                stack,
                [
                    ("received", counts.received), ("emitted", counts.emitted), ("filtered", counts.filtered),
                    ("failed", counts.failed), ("dropped", counts.dropped), ("dead_lettered", counts.deadLettered),
                    ("queued", isOver ? 0 : input?.queued ?? 0), ("capacity", input?.capacity ?? 0),
                ])
            drops.push(stack)
            if let limits = limits[index] { push(limits(), stack) }
            stack.setIndex(-2, Int64(index + 1))
        }
        stack.markArray()
        stack.setField(-2, "stages")
    }

    private func push(_ stack: LuaStack, _ counts: [(String, Int)]) {
        for (name, count) in counts {
            stack.push(Int64(count))
            stack.setField(-2, name)
        }
    }
}

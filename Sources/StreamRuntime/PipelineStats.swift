// What a pipeline tells of itself while it runs: counts of each step, and what a display adds up.
import LuaVM
import StreamCore
import Synchronization

/// One step of a pipeline, or one branch, for `stats`. Under its pipeline's lock but for the meter.
final class PartRecord {
    let name: String
    var meter = Meter()
    /// Its queue.
    var input: Channel?
    /// Of what it dropped: what was over its limit, as `dropped` there.
    var limited: Meter?
    /// Where the counts are read while its function has the channels itself.
    var taps: (received: Tap, emitted: Tap)?

    init(_ name: String, input: Channel?) {
        self.name = name
        self.input = input
    }

    var counts: Meter.Counts {
        guard let taps else { return meter.counts }
        return Meter.Counts(received: taps.received.count, emitted: taps.emitted.count)
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

    /// Pushes the table that `p:stats()` returns.
    func pushStats(_ stack: LuaStack) {
        let records = lock.withLock {
            self.records.map { ($0.name, $0.counts, $0.input, limited: $0.limited?.counts.dropped ?? 0) }
        }
        let isOver = outcome != nil
        var total = account
        if !isOver {
            // The account is written by parts that have ended; meanwhile their meters tell.
            total = Account()
            let progress = progress
            total.created = progress.entered
            total.delivered = progress.delivered
            for (_, counts, _, _) in records {
                total.filtered += counts.filtered
                total.failed += counts.failed
                total.dropped += counts.dropped
            }
        }
        stack.pushTable()
        push(
            stack,
            [
                ("created", total.created), ("delivered", total.delivered), ("filtered", total.filtered),
                ("failed", total.failed), ("dropped", total.dropped),
            ])
        stack.pushTable()
        for (index, (name, counts, input, limited)) in records.enumerated() {
            stack.pushTable()
            stack.push(name)
            stack.setField(-2, "name")
            push(
                stack,
                [
                    ("received", counts.received), ("emitted", counts.emitted), ("filtered", counts.filtered),
                    ("failed", counts.failed), ("dropped", counts.dropped),
                    ("queued", isOver ? 0 : input?.queued ?? 0), ("capacity", input?.capacity ?? 0),
                ])
            stack.pushTable()  // what was dropped, by reason
            push(stack, [("limited", limited), ("ended", counts.dropped - limited)])
            stack.setField(-2, "drops")
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

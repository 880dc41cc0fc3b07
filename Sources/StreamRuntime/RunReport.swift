// What a run tells of itself when it is over: what became of the values, and what did not end in time.

/// How a run ended, pipeline by pipeline.
public struct RunReport: Sendable {
    /// How it came to its end.
    public enum Ending: String, Sendable {
        /// By itself.
        case natural = "end"
        /// Sources were ended, and all that was under way came to its end in time.
        case drained
        /// Draining took longer than it was given; what still went on was cancelled.
        case drainTimeout = "drain timeout"
        /// It was cancelled.
        case canceled
        /// It was cancelled, and something that still went on had to be stopped for good.
        case stopped
    }

    /// One step of a pipeline, as `p:stats()` names it.
    public struct Stage: Sendable {
        public var name: String
        public var received = 0, emitted = 0, filtered = 0, failed = 0, dropped = 0
        /// `dropped` by reason.
        public var drops: [String: Int] = [:]
        /// Workers that were stopped or failed and were replaced by fresh ones.
        public var restarts = 0
        /// Of the queue in front; with several workers by key, the part of it before these.
        public var capacity = 0
        /// Of the stage, and then of those that run in its workers; none of a step that is no stage.
        public var limits: [NamedLimits] = []
    }

    /// What became of a pipeline; pipelines of one place, as a loop makes them, are added up.
    public struct Pipeline: Sendable {
        /// Where it was declared: `script.lua:3`.
        public var place: String
        /// So many pipelines with these stages ran from that place.
        public var runs = 1
        /// Nil: it has not ended.
        public var isOver = true
        /// Why the last of them that did not come to its natural end ended: the failure, or the cause of its cancellation.
        public var reason: String?
        /// The reason is a failure.
        public var hasFailed = false
        public var account = Account()
        public var stages: [Stage] = []
    }

    /// A part of a pipeline, or a task, that went on when it should have ended.
    public struct Stuck: Sendable, Equatable {
        /// `stage "parse" (1 of 2)`, `the sink`.
        public var part: String
        /// The script's line where it computes or waits; where none is known, that of its declaration.
        public var place: String
        /// What it does: `computing`, `sending on the queue of "store"`.
        public var state: String
        /// The value that it has in hand, shortened.
        public var value: String?
        /// It waits for others of the pipeline, so it is not the cause.
        public var isPassive = false
    }

    public var ending = Ending.natural
    /// Nanoseconds.
    public var duration: Int64 = 0
    /// In the order in which the first of each place ended; those that run still are last.
    public var pipelines: [Pipeline] = []
    /// What went on when draining took too long, or at a second signal.
    public var stuck: [Stuck] = []
    /// What went on when everything had been cancelled, and was stopped.
    public var stopped: [Stuck] = []

    public init() {}
}

/// Reports of pipelines that have ended, without one for each of a million.
struct PipelineReports {
    /// Places with stages of their own that are told apart.
    private static let most = 1000
    private var byKey: [[String]: Int] = [:]
    private(set) var all: [RunReport.Pipeline] = []

    mutating func add(_ report: RunReport.Pipeline) {
        var report = report
        var key = [report.place] + report.stages.map(\.name)
        if byKey[key] == nil && all.count >= Self.most {
            report.place = "(other places)"
            report.stages = []
            key = [report.place]
        }
        guard let index = byKey[key] else {
            byKey[key] = all.count
            all.append(report)
            return
        }
        all[index].add(report)
    }
}

extension RunReport.Pipeline {
    fileprivate mutating func add(_ other: RunReport.Pipeline) {
        runs += other.runs
        reason = other.reason ?? reason
        hasFailed = hasFailed || other.hasFailed
        account.add(other.account)
        for index in stages.indices { stages[index].add(other.stages[index]) }
    }
}

extension RunReport.Stage {
    fileprivate mutating func add(_ other: RunReport.Stage) {
        received += other.received
        emitted += other.emitted
        filtered += other.filtered
        failed += other.failed
        dropped += other.dropped
        restarts += other.restarts
        for (reason, count) in other.drops { drops[reason, default: 0] += count }
        for index in 0..<min(limits.count, other.limits.count) { limits[index].limits.add(other.limits[index].limits) }
    }
}

extension PipelineRun {
    /// What is to be told of it, at its end or meanwhile.
    var report: RunReport.Pipeline {
        let steps = lock.withLock { records.map { ($0, $0.counts, DropReasons($0), $0.limits) } }
        var report = RunReport.Pipeline(place: spec.place)
        report.account = currentAccount(steps.map { ($0.1, $0.2) })
        switch outcome {
        case nil: report.isOver = false
        case .success?: break
        case .failure(let problem)?:
            report.reason = problem.description
            report.hasFailed = hasFailed
        }
        report.stages = steps.map { record, counts, drops, limits in
            var stage = RunReport.Stage(name: record.name)
            stage.received = counts.received
            stage.emitted = counts.emitted
            stage.filtered = counts.filtered
            stage.failed = counts.failed
            stage.dropped = counts.dropped
            for (reason, count) in drops.counts where count > 0 { stage.drops[reason] = count }
            stage.restarts = record.restarts.count
            stage.capacity = record.input?.capacity ?? 0
            stage.limits = limits?() ?? []
            return stage
        }
        return report
    }
}

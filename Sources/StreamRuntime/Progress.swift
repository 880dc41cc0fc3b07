// How far a run has come, for a display that looks at it now and then.
import StreamCore

/// A snapshot of a run in progress. Its counts are of slightly different moments; when the run is over they are exact.
public struct RunProgress: Sendable, Equatable {
    /// A queue between two parts of a pipeline.
    public struct Queue: Sendable, Equatable {
        /// For people: `the queue of "parse"`.
        public var name: String
        /// Values that wait in it, and how many fit.
        public var count: Int, capacity: Int
    }
    /// Values that sources have put into pipelines so far.
    public var entered = 0
    /// Values that have come to the ends of pipelines so far.
    public var delivered = 0
    /// The queue that is fullest for its capacity, of pipelines that run; nil: nothing waits anywhere.
    public var fullest: Queue?

    mutating func add(_ other: RunProgress) {
        entered += other.entered
        delivered += other.delivered
        if let queue = other.fullest { consider(queue) }
    }

    /// Keeps the fuller of two queues: a rendezvous is never one of them.
    mutating func consider(_ queue: Queue) {
        guard queue.count > 0, queue.capacity > 0 else { return }
        if let best = fullest, best.count * queue.capacity >= queue.count * best.capacity { return }
        fullest = queue
    }
}

/// Where a pipeline's progress is read: a channel's counter, from where it stood when the pipeline started.
struct Tap {
    enum Counter { case sent, received }
    let channel: Channel
    let counter: Counter
    private let start: UInt64

    init(_ channel: Channel, _ counter: Counter) {
        self.channel = channel
        self.counter = counter
        start = Self.read(channel, counter)
    }

    private static func read(_ channel: Channel, _ counter: Counter) -> UInt64 {
        let account = channel.account
        return counter == .sent ? account.sent : account.received
    }

    var count: Int { Int(Self.read(channel, counter) &- start) }
}

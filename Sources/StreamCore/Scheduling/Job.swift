// What the scheduler runs.
import Synchronization

/// Something that runs in slices on the scheduler's threads: a worker, a host stage. Never on two threads at once.
open class Job: @unchecked Sendable {  // `state` lets one thread at a time into `work`
    private enum State { static let idle: UInt8 = 0, queued: UInt8 = 1, running: UInt8 = 2, notified: UInt8 = 3 }

    public enum Outcome { case park, again }

    public let scheduler: Scheduler
    private let state = Atomic<UInt8>(State.idle)

    public init(scheduler: Scheduler) { self.scheduler = scheduler }

    /// Does what can be done now. `.park`: until the next `wake`. `.again`: to the back of the queue.
    open func work() -> Outcome { preconditionFailure("a job says what it does") }

    /// Sees to it that `work` is called once more after this call. Any thread.
    public final func wake() {
        var seen = state.load(ordering: .relaxed)
        while true {
            let next: UInt8
            switch seen {
            case State.idle: next = State.queued
            case State.running: next = State.notified
            default:
                // Queued or notified already. The fence of the exchange below is needed here too: what the caller wrote
                // must be seen by the run to come.
                next = seen
            }
            let (exchanged, original) = state.compareExchange(
                expected: seen, desired: next, ordering: .acquiringAndReleasing)
            if exchanged {
                if seen == State.idle {
                    scheduler.beginActivity()
                    scheduler.enqueue(self, back: false)
                }
                return
            }
            seen = original
        }
    }

    /// Called by the scheduler on a job that it took from its queue.
    final func runSlice() {
        // An exchange, not a store: it acquires what those wrote who woke a job that was queued already.
        _ = state.exchange(State.running, ordering: .sequentiallyConsistent)
        switch work() {
        case .again:
            // Exchanges here too: a store would hide from the next run what was written before a wake that it overwrites.
            _ = state.exchange(State.queued, ordering: .sequentiallyConsistent)
            scheduler.enqueue(self, back: true)
        case .park:
            let (parked, _) = state.compareExchange(
                expected: State.running, desired: State.idle, ordering: .acquiringAndReleasing)
            if parked {
                scheduler.endActivity()
            } else {
                _ = state.exchange(State.queued, ordering: .sequentiallyConsistent)
                scheduler.enqueue(self, back: false)
            }
        }
    }
}

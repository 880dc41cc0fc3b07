// The seam between the runtime and time, chance and threads.
import Synchronization

/// Runs jobs, keeps timers, tells the time and draws random numbers. Nothing in the runtime does any of these except
/// through it, so a test can put a seeded, single-threaded one with a virtual clock in its place.
open class Scheduler: @unchecked Sendable {  // `activity` is atomic; subclasses state their locks
    /// Jobs queued or running, and threads at work outside: while the lower half is above 0, something can still move. The
    /// upper half counts how often something began.
    private let activity = Atomic<UInt64>(0)
    private static let oneMore: UInt64 = 1 << 32 | 1
    /// Called, on any thread, each time nothing can move any more. Set before the first job.
    public var onQuiescent: (@Sendable () -> Void)?
    /// Held for a moment while a context comes, goes or ends: one for all, since an end may concern any of them.
    let contextLock = Lock()

    public init() {}

    /// Nanoseconds on the monotonic clock, or the virtual one.
    open var now: Int64 { preconditionFailure("a scheduler has a clock") }
    /// `now` is the system's monotonic clock, which code in C may then read itself.
    open var isSystemTime: Bool { false }
    open func random() -> UInt64 { preconditionFailure("a scheduler draws numbers") }
    /// Puts a job in the queue; `back`: behind all others.
    open func enqueue(_ job: Job, back: Bool) { preconditionFailure("a scheduler has a queue") }
    /// Arms `timer`, which must not be armed.
    open func arm(_ timer: Timer) { preconditionFailure("a scheduler has timers") }
    /// Disarms it, if it has not fired. A timer that fires at this moment is told apart by its waiter's generation.
    open func disarm(_ timer: Timer) { preconditionFailure("a scheduler has timers") }
    /// Timers armed now by whose firing something moves.
    open var armedTimers: Int { preconditionFailure("a scheduler has timers") }
    /// A thread for code that may block.
    open func makeSeat() -> ThreadSeat { ThreadSeat(scheduler: self) }
    /// On how many threads jobs run.
    open var threads: Int { 1 }
    /// How many messages a batch may gather before it is flushed: tests vary it by seed.
    open func batchLimit(_ most: Int) -> Int { most }

    /// Counts one more thing that can move: a thread of a source or sink that is about to work.
    public final func beginActivity() { activity.wrappingAdd(Self.oneMore, ordering: .acquiringAndReleasing) }

    /// The opposite. At the last one, with no timer armed, the program is quiescent.
    public final func endActivity() {
        let left = activity.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue
        if UInt32(truncatingIfNeeded: left) == 0 { noticeQuiescence() }
    }

    /// One that fires while the timers are asked is counted as activity before it is no longer armed; what it set going may
    /// have come to rest again, with a timer that was not asked.
    public final var isQuiescent: Bool {
        let before = activity.load(ordering: .acquiring)
        return UInt32(truncatingIfNeeded: before) == 0 && armedTimers == 0
            && activity.load(ordering: .acquiring) == before
    }

    final func noticeQuiescence() { if isQuiescent { onQuiescent?() } }
}

/// A moment at which `fire` is called, with no lock held, unless it is disarmed before.
public final class Timer: @unchecked Sendable {  // what changes is the scheduler's, under its lock
    public let deadline: Int64
    let order: UInt64
    /// Whether someone waits for it now; nil: always.
    let isAwaited: (@Sendable () -> Bool)?
    let fire: @Sendable () -> Void
    var state = State.idle
    // Its neighbours in the scheduler's queue, where it has a question.
    unowned(unsafe) var before: Timer?
    unowned(unsafe) var after: Timer?
    enum State { case idle, armed, over }

    private static let orders = Atomic<UInt64>(0)

    /// - Parameters:
    ///   - deadline: nanoseconds on the scheduler's clock.
    ///   - isAwaited: whether something can move by it, asked with no lock held; nil: always.
    public init(
        deadline: Int64, isAwaited: (@Sendable () -> Bool)? = nil, fire: @escaping @Sendable () -> Void
    ) {
        self.deadline = deadline
        self.isAwaited = isAwaited
        self.fire = fire
        order = Self.orders.wrappingAdd(1, ordering: .relaxed).newValue
    }
}

extension Timer: Comparable {
    public static func == (a: Timer, b: Timer) -> Bool { a === b }
    /// Those of the same moment fire in the order in which they were made.
    public static func < (a: Timer, b: Timer) -> Bool {
        a.deadline == b.deadline ? a.order < b.order : a.deadline < b.deadline
    }
}

// One waiting party: a Lua task, a thread of a source, a Swift continuation.
import Synchronization

/// Whoever waits and is told when the wait is over.
public protocol WaiterOwner: AnyObject {
    /// The wait has ended; called by whoever ended it, with no lock held.
    func ready(_ waiter: Waiter)
}

/// How a wait ended. `index` is the case of a select that won, from 1; 0 otherwise.
public enum WaitOutcome: Sendable, Equatable {
    case pending
    /// A receive got the message in `inbox`.
    case received(index: Int)
    /// A batch reader got `batch`.
    case batch
    /// A send was taken.
    case sent(index: Int)
    /// A batch writer may put `n` messages.
    case granted(Int)
    /// The channel was closed.
    case closed(index: Int)
    /// A timer, a context's end, or what a host operation reports.
    case ended(Reason)
    /// A sleep or another host operation is done.
    case done
}

/// The seat of one wait at a time. Whoever claims it first decides how the wait ends; all others pass on.
///
/// A wait is registered in any number of places under its generation; what is found there later with an older
/// generation is stale and skipped, so a place need not be told that a wait has ended.
public final class Waiter: @unchecked Sendable {  // written by the owner, or by the one who has claimed it
    /// generation << 1 | claimed
    private let seat = Atomic<UInt64>(1)
    public unowned let owner: any WaiterOwner
    // One side at a time touches these, by the rule above: exclusivity checks would cost more than the accesses.
    /// By way of accessors of this module: in others the attribute below does not reach a stored property.
    public var outcome: WaitOutcome {
        get { ended }
        set { ended = newValue }
    }
    @exclusivity(unchecked) private var ended = WaitOutcome.pending
    @exclusivity(unchecked) public var batch: Batch?
    /// The next of those that whoever claimed this one has to tell.
    @exclusivity(unchecked) var nextServed: Unmanaged<Waiter>?
    /// The cases of the select that waits here, which its task holds until `finish`: not counted for each wait.
    @exclusivity(unchecked) var select: Unmanaged<Select>?
    // Made when first used: of a million that wait most never send, and none has received yet. Held from then on, and
    // not counted again at each look: that would cost a hand-over more than the copy of its message.
    @exclusivity(unchecked) private var madeInbox: Unmanaged<MessageBuffer>?
    @exclusivity(unchecked) private var madeOutbox: Unmanaged<MessageBuffer>?

    public var inbox: MessageBuffer { heldInbox.takeUnretainedValue() }
    public var outbox: MessageBuffer { heldOutbox.takeUnretainedValue() }

    private var heldInbox: Unmanaged<MessageBuffer> {
        if let madeInbox { return madeInbox }
        let inbox = Unmanaged.passRetained(MessageBuffer())
        madeInbox = inbox
        return inbox
    }
    private var heldOutbox: Unmanaged<MessageBuffer> {
        if let madeOutbox { return madeOutbox }
        let outbox = Unmanaged.passRetained(MessageBuffer())
        madeOutbox = outbox
        return outbox
    }

    /// Drops the message that was not sent, if any.
    public func dropOutbox() { madeOutbox?._withUnsafeGuaranteedRef { $0.drop() } }
    /// Moves what was received to `buffer`.
    public func moveInbox(to buffer: MessageBuffer) { heldInbox._withUnsafeGuaranteedRef { buffer.take(from: $0) } }

    /// Moves `message` to the outbox.
    func keep(_ message: MessagePointer) { heldOutbox._withUnsafeGuaranteedRef { $0.fill(message) } }

    /// Whoever has claimed this wait, a receive, ends it with `message`, which moves here.
    func receive(_ message: MessagePointer, _ index: Int) {
        heldInbox._withUnsafeGuaranteedRef { $0.fill(message) }
        ended = .received(index: index)
    }

    public init(owner: any WaiterOwner) { self.owner = owner }

    deinit {
        madeInbox?.release()
        madeOutbox?.release()
    }

    /// Of the wait that is open, or was last.
    public var generation: UInt64 { seat.load(ordering: .relaxed) >> 1 }

    /// Opens a wait and returns its generation. Only the owner calls it, and never while a wait is open.
    public func begin() -> UInt64 {
        ended = .pending
        let generation = (seat.load(ordering: .relaxed) >> 1) &+ 1
        seat.store(generation << 1, ordering: .sequentiallyConsistent)
        return generation
    }

    /// True for exactly one caller a generation.
    public func claim(_ generation: UInt64) -> Bool {
        seat.compareExchange(
            expected: generation << 1, desired: generation << 1 | 1, ordering: .sequentiallyConsistent
        ).exchanged
    }

    /// Claims whatever wait is open now: for a context that ends all waits of a task. False: none was open.
    public func claimCurrent() -> Bool {
        let now = seat.load(ordering: .sequentiallyConsistent)
        return now & 1 == 0 && claim(now >> 1)
    }

    /// The same for a wait of which `holds` is true: it is asked once the wait was seen and before it is claimed, so it
    /// is true of that wait.
    public func claimCurrent(where holds: () -> Bool) -> Bool {
        let now = seat.load(ordering: .sequentiallyConsistent)
        return now & 1 == 0 && holds() && claim(now >> 1)
    }

    public func isOpen(_ generation: UInt64) -> Bool { seat.load(ordering: .relaxed) == generation << 1 }

    /// What the case sends with which whoever has claimed this wait ends it.
    func message(of index: Int) -> MessagePointer {
        if let select { return select._withUnsafeGuaranteedRef { $0.message(of: index) } }
        return heldOutbox._withUnsafeGuaranteedRef { $0.message! }
    }

    /// That message has moved to whoever has claimed this wait.
    func sent(_ index: Int) {
        if select == nil { heldOutbox._withUnsafeGuaranteedRef { $0.moved() } }
        ended = .sent(index: index)
    }

    /// Claims and ends the wait of this generation; false: someone else was first.
    @discardableResult
    public func end(_ generation: UInt64, _ outcome: WaitOutcome) -> Bool {
        guard claim(generation) else { return false }
        self.outcome = outcome
        owner.ready(self)
        return true
    }
}

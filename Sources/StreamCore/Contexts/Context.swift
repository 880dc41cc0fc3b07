// Contexts: the tree by which cancellation and deadlines reach everything below.

/// Told once when a context ends.
public protocol ContextListener: AnyObject {
    func contextEnded(_ reason: Reason)
    /// The same to a listener that moves between contexts by a seat: `epoch` was the seat's when the context ended.
    func contextEnded(_ reason: Reason, epoch: UInt32)
}

extension ContextListener {
    public func contextEnded(_ reason: Reason, epoch: UInt32) { contextEnded(reason) }
}

/// The place of one listener in one context at a time: it costs no more memory wherever it is. Its owner destroys it.
public struct ContextSeat: @unchecked Sendable {  // the node is the contexts', under their lock
    let node: ContextNode.Pointer

    public init() { node = ContextNode.make(.listener) }
    /// It must stand in no context.
    public func destroy() { ContextNode.destroy(node) }
}

/// Where it is seen whether a context has ended, for whoever holds the context and asks often: it counts no reference.
public struct ContextMark: @unchecked Sendable {  // what it reads is atomic
    let node: ContextNode.Pointer
    public var reason: Reason? { ContextTree.reason(node) }
}

/// A node of the tree of cancellation. It ends once: cancelled, or at its deadline, or when its parent ends; whatever
/// ends it ends all below it, in time proportional to what is there.
///
/// A child keeps its parents, never the other way round. So a context that nobody holds is gone, with its timer; what
/// shall hear of its end keeps it: its `doneChannel` does, a listener must.
public final class Context: SharedObject, @unchecked Sendable {  // the scheduler's `contextLock` guards what changes
    /// Lives as long as the context. Set once, before others see it.
    public var attachment: (any Sendable & AnyObject)?
    private let scheduler: Scheduler
    let node: ContextNode.Pointer
    /// Strong: an end of a grandparent must find its way down.
    private var parent: Context?
    /// The other parents of `any_context`.
    private var others: [Context] = []
    /// Where values come from that it has not itself, if it does not end with that one.
    private var origin: Context?
    private let entry: (key: ContextKey, value: MessageBuffer)?
    /// Nanoseconds on the scheduler's clock; `.max`: none.
    private var ownDeadline: Int64
    private var done: DoneSeat?
    /// Places of listeners that have no seat of their own.
    private var seats: [ObjectIdentifier: ContextNode.Pointer] = [:]

    private var lock: Lock { scheduler.contextLock }

    public convenience init(scheduler: Scheduler, parent: Context? = nil) {
        self.init(scheduler: scheduler, parents: parent.map { [$0] } ?? [])
    }

    /// - Parameters:
    ///   - parents: it ends with the first of them that does.
    ///   - origin: a context whose values it has, and with which it does not end.
    ///   - entry: one value of its own; `value` is not changed from then on.
    ///   - deadline: it ends at that time at the latest, if given.
    public init(
        scheduler: Scheduler, parents: [Context], origin: Context? = nil,
        entry: (key: ContextKey, value: MessageBuffer)? = nil, deadline: Int64? = nil
    ) {
        self.scheduler = scheduler
        node = ContextNode.make(.context)
        parent = parents.first
        self.origin = origin
        self.entry = entry
        let inherited = parents.reduce(Int64.max) { min($0, $1.deadline ?? .max) }
        ownDeadline = min(inherited, deadline ?? .max)
        super.init()
        if parents.count > 1 { others = Array(parents.dropFirst()) }
        lock.withLock { adopt(parents) }
        // What the parents' deadline ends needs no timer of its own.
        if let deadline, deadline < inherited { arm(deadline) }
    }

    /// With a planted bug: it exists so that the tests can be tested.
    package convenience init(
        scheduler: Scheduler, parent: Context? = nil, deadline: Int64? = nil, fault: ContextFault?
    ) {
        self.init(scheduler: scheduler, parents: parent.map { [$0] } ?? [], deadline: deadline)
        node.pointee.fault = fault
    }

    /// Under the lock.
    private func adopt(_ parents: [Context]) {
        for parent in parents {
            if let end = parent.node.pointee.end {
                _ = ContextTree.end(node, end)  // there is nothing below yet
                return
            }
        }
        for (index, parent) in parents.enumerated() {
            if index == 0 {
                _ = ContextTree.link(node, to: parent.node)
            } else {
                let feeder = ContextNode.make(.feeder)
                feeder.pointee.first = node
                _ = ContextTree.link(feeder, to: parent.node)
                node.pointee.feeders.append(feeder)
            }
        }
    }

    deinit {
        let timer = lock.withLock { () -> Timer? in
            ContextTree.unlink(node)
            for feeder in node.pointee.feeders { ContextTree.unlink(feeder) }
            for seat in seats.values { ContextTree.unlink(seat) }
            if let done {
                ContextTree.unlink(done.seat.node)
                done.seat.node.pointee.listener = nil
            }
            return node.pointee.timer
        }
        if let timer { scheduler.disarm(timer) }
        for feeder in node.pointee.feeders { ContextNode.destroy(feeder) }
        for seat in seats.values { ContextNode.destroy(seat) }
        ContextNode.destroy(node)
        releaseAncestors()
    }

    /// One after the other: in a chain of a hundred thousand each would release the next inside its own release.
    private func releaseAncestors() {
        var waiting: [Context] = []
        giveUpAncestors(to: &waiting)
        while var last = waiting.popLast() {
            // Where nobody else can reach it any more, it goes at the end of this turn; it takes itself out of the lists
            // of its parents then, and these are held until later.
            if isKnownUniquelyReferenced(&last) { last.giveUpAncestors(to: &waiting) }
        }
    }

    private func giveUpAncestors(to waiting: inout [Context]) {
        if let parent { waiting.append(parent) }
        if let origin { waiting.append(origin) }
        waiting.append(contentsOf: others)
        parent = nil
        origin = nil
        others = []
    }

    /// Why it ended, or nil.
    public var reason: Reason? { ContextTree.reason(node) }
    public var mark: ContextMark { ContextMark(node: node) }
    /// What `cancel` was given, or the reason's name.
    public var cause: String? { lock.withLock { node.pointee.end?.cause } }
    /// When it ends at the latest, nanoseconds on the scheduler's clock; nil: nobody knows.
    public var deadline: Int64? {
        let time = lock.withLock { ownDeadline }
        return time == .max ? nil : time
    }

    /// Ends it and all below, if it has not ended. False: it had.
    @discardableResult
    public func cancel(_ reason: Reason = .canceled, cause: String? = nil) -> Bool {
        let end = ContextEnd(reason: reason, cause: cause ?? reason.description)
        guard let consequences = lock.withLock({ ContextTree.end(node, end) }) else { return false }
        for timer in consequences.timers { scheduler.disarm(timer) }
        for (listener, epoch, reason) in consequences.told { listener.contextEnded(reason, epoch: epoch) }
        return true
    }

    /// Ends it with `.deadlineExceeded` at `deadline`, nanoseconds on the scheduler's clock.
    public func end(at deadline: Int64) {
        lock.withLock { ownDeadline = min(ownDeadline, deadline) }
        arm(deadline)
    }

    private func arm(_ deadline: Int64) {
        if deadline <= scheduler.now {
            cancel(.deadlineExceeded)
            return
        }
        let timer = Timer(deadline: deadline) { [weak self] in self?.cancel(.deadlineExceeded) }
        let isFirst = lock.withLock {
            guard node.pointee.end == nil, node.pointee.timer == nil else { return false }
            node.pointee.timer = timer
            return true
        }
        guard isFirst else { return }
        scheduler.arm(timer)
        // Whoever ended it in between found the timer not armed yet.
        if reason != nil { scheduler.disarm(timer) }
    }

    // MARK: Who is told

    /// Tells `listener` when it ends, until it is removed. False: it has ended, and nobody is told.
    public func add(_ listener: any ContextListener) -> Bool {
        lock.withLock {
            guard node.pointee.end == nil else { return false }
            let id = ObjectIdentifier(listener)
            let seat = seats[id] ?? ContextNode.make(.listener)
            seats[id] = seat
            ContextTree.unlink(seat)
            seat.pointee.listener = listener
            return ContextTree.link(seat, to: node)
        }
    }

    public func remove(_ listener: any ContextListener) {
        lock.withLock {
            guard let seat = seats.removeValue(forKey: ObjectIdentifier(listener)) else { return }
            ContextTree.unlink(seat)
            ContextNode.destroy(seat)
        }
    }

    /// The same for a listener with a seat, which leaves the context where it was. `epoch` is the seat's from then on,
    /// also if it has ended.
    public func add(_ listener: any ContextListener, _ seat: ContextSeat) -> (isLive: Bool, epoch: UInt32) {
        lock.withLock {
            ContextTree.unlink(seat.node)
            let isLive = ContextTree.link(seat.node, to: node)
            seat.node.pointee.listener = isLive ? listener : nil
            return (isLive, seat.node.pointee.epoch)
        }
    }

    /// Takes the listener out, and the seat into its next epoch.
    public func remove(_ seat: ContextSeat) {
        let listener = lock.withLock { () -> (any ContextListener)? in
            ContextTree.unlink(seat.node)
            seat.node.pointee.epoch &+= 1
            defer { seat.node.pointee.listener = nil }
            return seat.node.pointee.listener
        }
        _ = listener  // released with no lock held
    }

    /// A channel that is closed when it ends; made when first asked for. Whoever holds the channel keeps the context.
    public var doneChannel: Channel {
        if let channel = lock.withLock({ done?.channel }) { return channel }
        let fresh = Channel(capacity: 0, name: "the done channel of a context")
        fresh.keeper = self
        let (channel, isOver) = lock.withLock { () -> (Channel, Bool) in
            if let channel = done?.channel { return (channel, false) }
            if let done {
                done.channel = fresh
                return (fresh, node.pointee.end != nil)
            }
            let seat = DoneSeat(lock)
            seat.channel = fresh
            done = seat
            // Before all others: who is told that the context has ended finds the channel closed.
            let isLive = ContextTree.link(seat.seat.node, to: node, first: true)
            seat.seat.node.pointee.listener = isLive ? seat : nil
            return (fresh, !isLive)
        }
        if isOver { channel.close() }
        return channel
    }

    /// The same, if someone has asked for it and holds it.
    public var doneChannelInUse: Channel? { lock.withLock { done?.channel } }

    // MARK: Values

    /// The value of `key`, its own or the nearest above: a message that does not change, and lives as long as this.
    public func value(_ key: ContextKey) -> MessagePointer? {
        var waiting = [self]
        while let context = waiting.popLast() {
            if let entry = context.entry, entry.key == key { return entry.value.message }
            if let origin = context.origin { waiting.append(origin) }
            waiting.append(contentsOf: context.others.reversed())
            if let parent = context.parent { waiting.append(parent) }
        }
        return nil
    }
}

/// What a value of a context is found under, as in Lua's tables: 1 and 1.0 are the same.
public enum ContextKey: Hashable, Sendable {
    case string([UInt8])
    case integer(Int64)
    case float(Double)
    case boolean(Bool)
}

/// Closes a context's channel.
private final class DoneSeat: ContextListener {
    let seat = ContextSeat()
    private let lock: Lock
    /// Under the lock, and released without it: its end may be the context's.
    weak var channel: Channel?

    init(_ lock: Lock) { self.lock = lock }
    deinit { seat.destroy() }

    func contextEnded(_ reason: Reason) {
        let channel = lock.withLock { self.channel }
        channel?.close()
    }
}

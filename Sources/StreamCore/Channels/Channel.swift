// Channels: bounded queues of messages, the links of pipelines and what scripts send on.
import CMessage

/// A bounded first-in first-out queue between any number of senders and receivers; capacity 0 is a rendezvous.
///
/// Two ways to use it, which may be mixed. One message at a time (`send`, `receive`): as in Go. In batches
/// (`reserve`, `commit`, `takeBatch`, `credit`): a writer first reserves room, fills a batch of its own, and commits it
/// whole; a reader takes a batch, and credits what it has handed on. Reserved, stored and taken messages together never
/// exceed the capacity.
///
/// A link of a pipeline is bounded in bytes too: while those stored and taken are at its bound or above, nobody is let in.
/// So the bound is passed by less than what one writer commits at once, and one message larger than it passes alone.
///
/// Those who wait are served in the order in which they came. Close: senders are refused, what is stored is still
/// received. `closeReading`: nobody will receive any more; senders are refused and what is stored is dropped.
///
/// - Complexity: each operation O(1) amortised, `takeBatch` O(messages copied).
public final class Channel: SharedObject, @unchecked Sendable {  // `lock` guards all that changes
    let lock = Lock()
    // The lock lets one access at a time in, which is what exclusivity checks would find out at a fifth of a send's cost.
    @exclusivity(unchecked) var state: ChannelState<Party>
    @exclusivity(unchecked) var stored = MessageQueue()
    private let fault: ChannelFault?
    /// Of a channel whose policy is not `block`.
    let shedding: Shedding?
    public let name: String
    /// What lives as long as this channel: who will close it. Set before others see the channel.
    public var keeper: AnyObject?
    /// Of a link of a pipeline that a script's function has in hand. Set before others see the channel.
    public var exposure: ExposedLink? {
        get { exposed }
        set { exposed = newValue }
    }
    /// Asked for each value: other modules would check for exclusive access at each look at a stored property.
    public var isExposed: Bool { exposed != nil }
    @exclusivity(unchecked) private var exposed: ExposedLink?

    /// Who waits on a channel, under which generation of its waiter. Plain memory, which is copied without counting:
    /// it holds the waiter and the seat from the enqueueing on, and whoever takes it out of its queue lets go of them.
    struct Party {
        private let held: Unmanaged<Waiter>
        private let heldLog: Unmanaged<TicketLog>?
        let generation: UInt64
        private let number: Int32, most: Int32, reader: Int32
        private let isReader: Bool

        /// - Parameters:
        ///   - wanted: a batch writer wants room for so many; 0 for a single message.
        ///   - batch: a batch reader takes so many; 0 for a single message.
        ///   - seat: where it is noted that this reader got the next share.
        init(
            waiter: Waiter, generation: UInt64, index: Int, wanted: Int = 0, batch: Int = 0, seat: ReaderSeat? = nil
        ) {
            held = .passRetained(waiter)
            heldLog = seat.map { .passRetained($0.log) }
            reader = Int32(seat?.reader ?? 0)
            self.generation = generation
            number = Int32(index)
            most = Int32(clamping: max(wanted, batch))
            isReader = batch > 0
        }

        var waiter: Waiter { held.takeUnretainedValue() }
        /// The waiter without counting.
        @inline(__always) func with<R>(_ body: (Waiter) -> R) -> R { held._withUnsafeGuaranteedRef(body) }
        var seat: ReaderSeat? { heldLog.map { ReaderSeat(log: $0.takeUnretainedValue(), reader: Int(reader)) } }
        var index: Int { Int(number) }
        var wanted: Int { isReader ? 0 : Int(most) }
        var batch: Int { isReader ? Int(most) : 0 }
        var isOpen: Bool { held._withUnsafeGuaranteedRef { $0.isOpen(generation) } }
        func claim() -> Bool { held._withUnsafeGuaranteedRef { $0.claim(generation) } }
        func isOf(_ waiter: Waiter, _ generation: UInt64) -> Bool {
            self.generation == generation && held.toOpaque() == Unmanaged.passUnretained(waiter).toOpaque()
        }

        /// It is out of its queue.
        func release() {
            held.release()
            heldLog?.release()
        }

        /// The same, but the waiter is kept until it is told.
        func releaseSeat() -> Unmanaged<Waiter> {
            heldLog?.release()
            return held
        }
    }

    /// Who made it, where that is of interest; set once, before others see it.
    public var maker: ObjectIdentifier? {
        get { made }
        set { made = newValue }
    }
    @exclusivity(unchecked) private var made: ObjectIdentifier?

    /// The bound in bytes of a link of a pipeline that has no other.
    public static let linkBytes = 64 << 20

    public convenience init(capacity: Int, bytes: Int = .max, name: String = "channel") {
        self.init(capacity: capacity, bytes: bytes, name: name, fault: nil)
    }

    /// A link of a pipeline with a policy of its own.
    public convenience init(
        capacity: Int, bytes: Int, name: String, policy: OverflowPolicy, scheduler: Scheduler
    ) {
        self.init(capacity: capacity, bytes: bytes, name: name, policy: policy, scheduler: scheduler, fault: nil)
    }

    /// The same with a planted bug.
    package convenience init(
        capacity: Int, bytes: Int, name: String, policy: OverflowPolicy, scheduler: Scheduler, fault: ChannelFault?
    ) {
        let shedding = policy.overflow == .block ? nil : Shedding(policy, scheduler)
        self.init(capacity: capacity, bytes: bytes, name: name, fault: fault, shedding: shedding)
    }

    /// With a planted bug: it exists so that the tests can be tested.
    package convenience init(capacity: Int, bytes: Int = .max, name: String = "channel", fault: ChannelFault?) {
        self.init(capacity: capacity, bytes: bytes, name: name, fault: fault, shedding: nil)
    }

    private init(capacity: Int, bytes: Int, name: String, fault: ChannelFault?, shedding: Shedding?) {
        precondition(capacity >= 0, "a capacity is not negative")
        self.name = name
        self.capacity = capacity
        self.fault = fault
        self.shedding = shedding
        isOneByOne = capacity == 0 || shedding != nil
        state = ChannelState(
            capacity: capacity, byteBound: bytes, overflow: shedding?.policy.overflow ?? .block, fault: fault)
    }

    deinit {
        for party in state.removeSenders() { party.release() }
        for party in state.removeReceivers() { party.release() }
    }

    public let capacity: Int
    /// Values go in by `send` and come out one at a time: a rendezvous, or a queue that may drop what comes.
    public let isOneByOne: Bool
    /// Messages that can be received.
    public var count: Int { lock.withLock { stored.count } }
    /// Messages stored, and those that batch readers have taken and not handed on.
    public var queued: Int { lock.withLock { stored.count + state.outstanding } }
    /// Bytes of the messages that `queued` counts.
    public var queuedBytes: Int { lock.withLock { state.bytes } }
    /// Someone waits to receive from it.
    public var hasWaitingReceiver: Bool {
        lock.withLock { state.hasReceiver { $0.isOpen } }
    }
    /// Places in the queues of those who wait, with those whose wait has ended elsewhere.
    package var registrations: Int { lock.withLock { state.waitingSenders + state.waitingReceivers } }
    public var isClosed: Bool { lock.withLock { state.isClosed } }
    /// Messages that were put in, taken out, and dropped at `closeReading`, since the beginning.
    public var account: (sent: UInt64, received: UInt64, dropped: UInt64) {
        lock.withLock { (sent, received, dropped) }
    }
    @exclusivity(unchecked) var sent: UInt64 = 0
    @exclusivity(unchecked) private var received: UInt64 = 0
    @exclusivity(unchecked) private var dropped: UInt64 = 0

    /// `overflow`: the queue's policy is to fail; the message counts as sent and was dropped.
    public enum SendResult: Equatable { case sent, full, closed, waiting, overflow }
    public enum ReceiveResult: Equatable { case received, empty, closed, waiting }

    // MARK: One message at a time

    /// Sends `message` if that needs no wait. Its objects change owner only if the result is `.sent`.
    /// - Parameter refuses: where the queue's policy would drop `message`, or fail, the result is `.full`.
    public func trySend(_ message: MessagePointer, refuses: Bool = false) -> SendResult {
        send(message, nil, refuses: refuses)
    }

    /// Sends; where that needs a wait, leaves `message` in the waiter's outbox and queues up: `.waiting`. Without a
    /// waiter: `.full`.
    public func send(
        _ message: MessagePointer, _ waiter: Waiter?, index: Int = 0, refuses: Bool = false
    ) -> SendResult {
        lock.lock()
        var (result, served) = offer(message, refuses: refuses)
        var timer: Timer?
        if result == .full, let waiter {
            waiter.keep(message)
            let party = Party(waiter: waiter, generation: waiter.begin(), index: index)
            state.enqueueSender(party)
            if shedding != nil { timer = limitWait(of: party) }
            result = .waiting
        }
        lock.unlock()
        if let timer { shedding!.scheduler.arm(timer) }
        notify(served)
        return result
    }

    /// Receives into `buffer` if that needs no wait.
    public func tryReceive(into buffer: MessageBuffer) -> ReceiveResult {
        lock.lock()
        let (result, served) = take(into: buffer)
        lock.unlock()
        notify(served)
        return result
    }

    /// Receives into the waiter's inbox, or queues up: `.waiting`.
    public func receive(_ waiter: Waiter, index: Int = 0) -> ReceiveResult {
        receive(into: waiter.inbox, waiter, index: index)
    }

    /// Receives into `buffer`, or queues up to get it into the waiter's inbox: `.waiting`. Without a waiter: `.empty`.
    public func receive(into buffer: MessageBuffer, _ waiter: Waiter?, index: Int = 0) -> ReceiveResult {
        lock.lock()
        var (result, served) = take(into: buffer)
        if result == .empty, let waiter {
            state.enqueueReceiver(Party(waiter: waiter, generation: waiter.begin(), index: index))
            result = .waiting
        }
        lock.unlock()
        notify(served)
        return result
    }

    /// Under the lock: any result but `.waiting`, and who is to be told after it.
    /// - Parameter refuses: where the queue's policy would drop `message`, or fail, the result is `.full`.
    func offer(_ message: MessagePointer, refuses: Bool = false) -> (SendResult, Served) {
        let decision = state.send(size: message.size, counts: { $0.batch > 0 }, { claim($0) })
        switch decision {
        case .deliver(let party):
            sent += 1
            received += 1
            hand(message, to: party)
            return (.sent, Served(party))
        case .store:
            sent += 1
            stored.append(message)
            return (.sent, Served())
        case .full: return (.full, Served())
        case .closed: return (.closed, Served())
        case .evict, .drop, .fail: return shed(message, decision, refuses: refuses)
        }
    }

    /// Under the lock: `.received`, `.empty` or `.closed`, and who is to be told after it.
    func take(into buffer: MessageBuffer) -> (ReceiveResult, Served) {
        switch state.receive(hasStored: !stored.isEmpty, wanted: \.wanted, { claim($0) }) {
        case .stored:
            stored.removeFirst(into: buffer)
            state.receivedStored(size: buffer.message!.size)
            received += 1
            return (.received, serveSenders())
        case .from(let party):
            party.with {
                buffer.fill($0.message(of: party.index))
                $0.sent(party.index)
            }
            sent += 1
            received += 1
            return (.received, Served(party))
        case .empty:
            return (.empty, Served())
        case .closed:
            return (.closed, Served())
        }
    }

    // MARK: For a select, which holds the locks of all its channels

    func lockForSelect() { lock.lock() }
    func unlockForSelect() { lock.unlock() }

    /// Under the lock: `waiter`, whose wait of this generation is open, waits here too.
    func enqueue(_ waiter: Waiter, _ generation: UInt64, index: Int, sends: Bool) {
        let party = Party(waiter: waiter, generation: generation, index: index)
        guard sends else { return state.enqueueReceiver(party) }
        state.enqueueSender(party)
        if shedding != nil, let timer = limitWait(of: party) { shedding!.scheduler.arm(timer) }
    }

    /// Takes out what a wait that has ended left here.
    func withdraw(_ waiter: Waiter, _ generation: UInt64, sends: Bool) {
        lock.withLock {
            state.withdraw(
                sends: sends,
                isOwn: { party in
                    guard party.isOf(waiter, generation) else { return false }
                    party.release()
                    return true
                }, isStale: Self.isStale)
        }
    }

    /// Puts a received message back at the front: of a source that ended early.
    public func giveBack(_ batch: Batch) {
        lock.lock()
        received -= UInt64(batch.count)
        state.returned(batch.count, bytes: batch.byteCount)
        stored.prepend(batch)
        let served = serveReceivers()
        lock.unlock()
        notify(served)
    }

    // MARK: Batches

    public enum Reservation: Equatable { case granted(Int), closed, waiting }

    /// Room for up to `wanted` messages, at least one. Not for a rendezvous.
    public func reserve(_ wanted: Int, _ waiter: Waiter?) -> Reservation {
        lock.lock()
        defer { lock.unlock() }
        if state.isClosed { return .closed }
        let granted = state.reserve(wanted)
        if granted > 0 { return .granted(granted) }
        guard let waiter else { return .granted(0) }
        state.enqueueSender(Party(waiter: waiter, generation: waiter.begin(), index: 0, wanted: wanted))
        return .waiting
    }

    /// Stores what a writer gathered in room that it had reserved, and gives `unused` room back. False: nobody will
    /// receive it any more, and it is still the caller's, who accounts for it.
    public func commit(_ batch: Batch?, unused: Int) -> Bool {
        lock.lock()
        if let batch, !batch.isEmpty {
            if state.isReadClosed {
                lock.unlock()
                return false
            }
            sent += UInt64(batch.count)
            // A planted bug: a batch is lost. It exists so that the tests can be tested.
            if state.fault == .batchLost && sent > 3 {
                state.release(batch.drop())
            } else {
                state.commit(bytes: batch.byteCount)
                stored.append(batch)
            }
        }
        state.release(unused)
        var served = serveReceivers()
        if unused > 0 { served.append(serveSenders(force: true)) }
        lock.unlock()
        notify(served)
        return true
    }

    public enum Taking { case batch(Batch), closed, waiting, empty }

    /// Up to `most` messages. They count as the channel's until they are credited. A `seat` gets a ticket for them, also
    /// when they come later to the waiter.
    public func takeBatch(_ most: Int, _ waiter: Waiter?, seat: ReaderSeat? = nil) -> Taking {
        lock.lock()
        if !stored.isEmpty {
            seat?.took()
            let batch = stored.take(isOneByOne ? 1 : most)
            state.taken(batch.count, bytes: batch.byteCount)
            received += UInt64(batch.count)
            let served = isOneByOne ? serveSenders() : Served()
            lock.unlock()
            notify(served)
            return .batch(batch)
        }
        if state.capacity == 0 {  // a rendezvous: straight from a sender, who is in no queue
            let buffer = MessageBuffer()
            let (result, served) = take(into: buffer)
            if result == .received {
                seat?.took()
                state.takenUncounted()
                lock.unlock()
                notify(served)
                let batch = Batch()
                batch.append(buffer.message!)
                buffer.moved()
                return .batch(batch)
            }
        }
        defer { lock.unlock() }
        if state.isClosed { return .closed }
        guard let waiter else { return .empty }
        state.enqueueReceiver(
            Party(waiter: waiter, generation: waiter.begin(), index: 0, batch: most, seat: seat))
        return .waiting
    }

    /// A reader has handed on `n` messages of its batches, and with them all of batches of `bytes`. `all`: it is about to wait, so even little room is worth
    /// waking a writer for; otherwise writers are woken when half of the capacity is free.
    public func credit(_ n: Int, bytes: Int, all: Bool) {
        lock.lock()
        state.credit(n, bytes: bytes)
        let served = serveSenders(force: all)
        lock.unlock()
        notify(served)
    }

    // MARK: Ends

    /// No more messages. False: it was closed already.
    @discardableResult
    public func close() -> Bool {
        lock.lock()
        guard state.close() else {
            lock.unlock()
            return false
        }
        // A planted bug: a stored value is lost. It exists so that the tests can be tested.
        if state.fault == .valueLostAtClose && !stored.isEmpty { stored.removeFirst(into: MessageBuffer()) }
        var ended = Served()
        for party in state.removeSenders() where claim(party) {
            party.waiter.outcome = .closed(index: party.index)
            ended.append(party)
        }
        // What is stored goes to those who wait first; they wait only when nothing is stored.
        for party in state.removeReceivers() where claim(party) {
            party.waiter.outcome = .closed(index: party.index)
            ended.append(party)
        }
        shedding?.settle()
        lock.unlock()
        notify(ended)
        return true
    }

    /// Nobody will receive any more. What is stored is returned to the caller, who accounts for it.
    public func closeReading() -> Batch {
        lock.lock()
        state.closeReading()
        let left = stored.takeAll()
        state.droppedStored(bytes: left.byteCount)
        dropped += UInt64(left.count)
        var ended = Served()
        for party in state.removeSenders() + state.removeReceivers() where claim(party) {
            party.waiter.outcome = .closed(index: party.index)
            ended.append(party)
        }
        shedding?.settle()
        lock.unlock()
        notify(ended)
        return left
    }

    /// A wait on this channel ended otherwise: what it left here is stale.
    public func forget() {
        lock.withLock {
            state.noteStale(Self.isStale)
            shedding?.settle()
        }
    }

    // MARK: Serving those who wait; under the lock. The waiters returned are told after it.

    /// Of a party that was taken out of its queue. True: its wait is the caller's to end, and to be told.
    @inline(__always)
    private func claim(_ party: Party) -> Bool {
        if party.claim() { return true }
        // A planted bug: a send of a select is taken though another was. It exists so that the tests can be tested.
        if fault == .doubleSelect, let select = party.waiter.select?.takeUnretainedValue(),
            case .sent = party.waiter.outcome,
            select.isWaiting(party.generation, toSend: party.index)
        {
            return true
        }
        party.release()
        return false
    }

    /// For the purge of a queue: what is stale is let go of, since it is taken out.
    static func isStale(_ party: Party) -> Bool {
        if party.isOpen { return false }
        party.release()
        return true
    }

    private func hand(_ message: MessagePointer, to party: Party) {
        if party.batch > 0 {
            party.seat?.took()
            let batch = Batch()
            batch.append(message)
            party.waiter.batch = batch
            party.waiter.outcome = .batch
        } else {
            party.with { $0.receive(message, party.index) }
        }
    }

    /// Room has become free: lets waiting senders in, in order.
    func serveSenders(force: Bool = true) -> Served {
        var served = Served()
        while let party = state.nextSender(force: force, wanted: \.wanted, { claim($0) }) {
            if party.wanted > 0 {
                party.waiter.outcome = .granted(state.grant(party.wanted))
            } else {
                party.with {
                    let message = $0.message(of: party.index)
                    state.store(size: message.size)
                    stored.append(message)
                    $0.sent(party.index)
                }
                sent += 1
                served.append(serveReceivers())
            }
            served.append(party)
        }
        shedding?.settle()
        return served
    }

    /// Messages were stored: gives them to waiting receivers, in order.
    private func serveReceivers() -> Served {
        var served = Served()
        while !stored.isEmpty, let party = state.nextReceiver({ claim($0) }) {
            if party.batch > 0 {
                party.seat?.took()
                let batch = stored.take(isOneByOne ? 1 : party.batch)
                state.taken(batch.count, bytes: batch.byteCount)
                received += UInt64(batch.count)
                party.waiter.batch = batch
                party.waiter.outcome = .batch
                if isOneByOne { served.append(serveSenders()) }
            } else {
                stored.removeFirst(into: party.waiter.inbox)
                state.received(size: party.waiter.inbox.message!.size)
                received += 1
                party.waiter.outcome = .received(index: party.index)
                served.append(serveSenders())
            }
            served.append(party)
        }
        return served
    }

    /// Waiters whose waits have ended under the lock, to be told after it: a list through the waiters themselves, which
    /// are the claimer's until they are told.
    struct Served {
        private var first: Unmanaged<Waiter>?
        private var last: Unmanaged<Waiter>?
        /// What a queue has dropped, to be offered to whoever wants it: held until then.
        private var shed: Unmanaged<ShedMessages>?

        @inline(__always) init() {}
        @inline(__always) init(_ party: Party) { append(party) }
        init(shed: ShedMessages) { self.shed = .passRetained(shed) }

        @inline(__always) mutating func append(_ party: Party) {
            let waiter = party.releaseSeat()
            if let last {
                last._withUnsafeGuaranteedRef { $0.nextServed = waiter }
            } else {
                first = waiter
            }
            last = waiter
        }

        mutating func append(_ more: Served) {
            guard let head = more.first else { return }
            if let last {
                last._withUnsafeGuaranteedRef { $0.nextServed = head }
            } else {
                first = head
            }
            last = more.last
        }

        @inline(__always) func notify() {
            if let shed { shed.takeRetainedValue().offer() }
            var left = first
            while let waiter = left {
                waiter._withUnsafeGuaranteedRef {
                    left = $0.nextServed
                    $0.nextServed = nil
                    $0.owner.ready($0)
                }
                waiter.release()
            }
        }
    }

    @inline(__always)
    func notify(_ served: Served) { served.notify() }
}

// The decisions of a channel, without messages, locks or waiters: what tests drive as a table.
import DequeModule

/// Bugs that the tests plant in a channel to see that their checks find them.
package enum ChannelFault: CaseIterable { case lostWakeUp, valueLostAtClose, capacityExceeded, doubleSelect, batchLost }

/// Counts, bytes and queues of one channel. `Party` is whoever waits; `claim` asks whether that wait is still open, and takes
/// it if it is.
struct ChannelState<Party> {
    let capacity: Int
    /// At so many bytes stored and taken nobody is let in, however few messages they are: the one that crosses the
    /// bound passes, so one message larger than it passes alone.
    let byteBound: Int
    /// What becomes of a message for which there is no room. With any but `block` what a reader has taken is not counted.
    let overflow: Overflow
    /// A planted bug, so that the tests can be tested; nil everywhere else.
    let fault: ChannelFault?
    /// Messages stored, reserved by writers and taken by readers but not credited.
    private(set) var occupied = 0
    /// Of these, taken by batch readers and not credited.
    private(set) var outstanding = 0
    /// Bytes of the messages stored, and of those taken and not credited. Of a rendezvous none are counted.
    private(set) var bytes = 0
    private(set) var isClosed = false
    private(set) var isReadClosed = false
    private var senders = Deque<Party>(), receivers = Deque<Party>()
    private var stale = 0
    /// Messages that batch readers took and that are not counted: to be skipped when credited.
    private var uncounted = 0
    /// Messages taken by batch readers count until they are credited. Not of a rendezvous.
    private let countsTaken: Bool
    /// Messages that may still be let in, until the reader requests more; `.max`: it does not bound its intake.
    private(set) var demand = Int.max
    /// Nothing is let in yet: the reader may still say how much it wants.
    private(set) var isHeld = false
    /// It was held once: its reader may request.
    private(set) var takesRequests = false
    private var hasRequests = false

    init(capacity: Int, byteBound: Int = .max, overflow: Overflow = .block, fault: ChannelFault? = nil) {
        self.capacity = capacity
        self.byteBound = byteBound
        self.overflow = overflow
        self.fault = fault
        countsTaken = capacity > 0 && overflow == .block
    }

    /// Places that can be given away now.
    var free: Int { bytes >= byteBound ? 0 : max(0, min(capacity - occupied, demand)) }
    var waitingSenders: Int { senders.count }
    var waitingReceivers: Int { receivers.count }

    /// `drop`, `fail`: there is no room, and this message is lost, or its sender fails too. `evict`: the first stored one
    /// makes room (`evicted`); then ask again.
    enum Send { case deliver(Party), store, full, closed, evict, drop, fail }

    /// One message wants in. `.store` counts it, and so does `.deliver` to a reader who credits what it takes (`counts`):
    /// for that there must be room. From a rendezvous, or where the policy is not `block`, nothing taken is counted.
    mutating func send(size: Int, counts: (Party) -> Bool, _ claim: (Party) -> Bool) -> Send {
        if isClosed { return .closed }
        if demand <= 0 { return .full }
        while let receiver = receivers.first {
            let counted = counts(receiver)
            if counted && countsTaken && free == 0 { return .full }
            receivers.removeFirst()
            guard claim(receiver) else { continue }
            admit(1)
            if counted {
                if countsTaken {
                    occupied += 1
                    outstanding += 1
                    bytes += size
                } else {
                    uncounted += 1
                }
            }
            return .deliver(receiver)
        }
        // Those who wait already come first. (While there is room they wait only to be let in many at a time.)
        guard free > 0 && senders.isEmpty else { return refusal }
        admit(1)
        occupied += 1
        bytes += size
        return .store
    }

    /// What becomes of a message for which there is no room.
    private var refusal: Send {
        switch overflow {
        case .block, .timeout: .full
        case .dropNewest: .drop
        case .dropOldest, .latest: occupied > 0 ? .evict : .drop
        case .fail: .fail
        }
    }

    /// The first stored message was dropped to make room.
    mutating func evicted(size: Int) {
        occupied -= 1
        bytes -= size
    }

    // MARK: What the reader requests

    private mutating func admit(_ n: Int) { if demand != .max { demand -= n } }

    /// Nothing is let in before `open` or `request`.
    mutating func hold() {
        isHeld = true
        takesRequests = true
        demand = 0
    }

    /// The reader takes what comes, unless it has requested.
    mutating func open() {
        guard isHeld else { return }
        isHeld = false
        demand = .max
    }

    /// So many more may be let in. The first request begins to count; what is there by then is a part of it.
    mutating func request(_ n: Int) {
        let before = hasRequests ? demand : -occupied
        hasRequests = true
        isHeld = false
        let (sum, isMore) = before.addingReportingOverflow(n)
        demand = isMore || sum > Int.max / 2 ? .max : sum
    }

    enum Receive { case stored, from(Party), empty, closed }

    /// One message is wanted. `.stored`: the first stored one, which is uncounted; room has become free. `.from`: nothing
    /// is stored, and the first sender waits because of a rendezvous or because all room is reserved or taken; else a
    /// later sender would find the receiver waiting and overtake it.
    mutating func receive(hasStored: Bool, wanted: (Party) -> Int, _ claim: (Party) -> Bool) -> Receive {
        if hasStored {
            occupied -= 1
            return .stored
        }
        while demand > 0, let sender = senders.first, wanted(sender) == 0 {
            senders.removeFirst()
            guard claim(sender) else { continue }
            admit(1)
            return .from(sender)
        }
        return isClosed ? .closed : .empty
    }

    func hasReceiver(_ isOpen: (Party) -> Bool) -> Bool { receivers.contains(where: isOpen) }

    mutating func enqueueSender(_ party: Party) { senders.append(party) }
    mutating func enqueueReceiver(_ party: Party) { receivers.append(party) }

    /// The next live receiver.
    mutating func nextReceiver(_ claim: (Party) -> Bool) -> Party? {
        while let party = receivers.popFirst() {
            if claim(party) { return party }
        }
        return nil
    }

    /// The next live sender for whom there is room. A batch writer (`wanted` > 0) waits, unless forced, until half of
    /// the capacity is free: else the two sides merely alternate.
    mutating func nextSender(force: Bool, wanted: (Party) -> Int, _ claim: (Party) -> Bool) -> Party? {
        // A planted bug: the last of those who wait is forgotten. It exists so that the tests can be tested.
        if fault == .lostWakeUp && senders.count == 1 { return nil }
        while free > 0, let party = senders.first {
            if !force && wanted(party) > 0 && free < min(wanted(party), (capacity + 1) / 2) { return nil }
            senders.removeFirst()
            if claim(party) { return party }
        }
        return nil
    }

    /// Up to `wanted` places, counted from now on.
    mutating func reserve(_ wanted: Int) -> Int {
        guard !isClosed && senders.isEmpty else { return 0 }
        // A planted bug: one place too many. It exists so that the tests can be tested.
        if fault == .capacityExceeded && free < wanted { occupied -= 1 }
        return grant(wanted)
    }

    /// The same for a writer whose turn it is.
    mutating func grant(_ wanted: Int) -> Int {
        let granted = min(wanted, free)
        admit(granted)
        occupied += granted
        return granted
    }

    /// Reserved places that were filled stay counted as stored ones.
    mutating func commit(bytes n: Int) { bytes += n }
    mutating func release(_ n: Int) {
        occupied -= n
        if demand != .max { demand += n }
    }
    /// A waiting sender's message was stored.
    mutating func store(size: Int) {
        admit(1)
        occupied += 1
        bytes += size
    }
    /// A waiting receiver got a stored message.
    mutating func received(size: Int) {
        occupied -= 1
        bytes -= size
    }
    /// A stored message went to one who receives one at a time.
    mutating func receivedStored(size: Int) { if capacity > 0 { bytes -= size } }
    /// Stored messages were dropped.
    mutating func droppedStored(bytes n: Int) { if capacity > 0 { bytes -= n } }
    /// Stored messages went to a batch reader: counted until credited, or not at all.
    mutating func taken(_ n: Int, bytes size: Int) {
        if countsTaken {
            outstanding += n
        } else {
            occupied -= n
            bytes -= size
            uncounted += n
        }
    }
    mutating func takenUncounted() { uncounted += 1 }
    /// Messages go back to the front, whatever the capacity: they were received before.
    mutating func returned(_ n: Int, bytes size: Int) {
        occupied += n
        if capacity > 0 { bytes += size }
    }

    /// `bytes` of whole batches: they count until the last of a batch's messages is handed on, as its memory does.
    mutating func credit(_ n: Int, bytes size: Int) {
        if countsTaken { bytes -= size }
        let free = min(n, uncounted)
        uncounted -= free
        occupied -= n - free
        outstanding -= n - free
    }

    /// False: closed before.
    mutating func close() -> Bool {
        if isClosed { return false }
        isClosed = true
        return true
    }

    mutating func closeReading() {
        isClosed = true
        isReadClosed = true
    }

    mutating func removeSenders() -> Deque<Party> {
        defer { senders.removeAll() }
        return senders
    }

    mutating func removeReceivers() -> Deque<Party> {
        defer { receivers.removeAll() }
        return receivers
    }

    /// A wait has ended elsewhere: takes its party out where that is cheap. In a loop of selects over a quiet channel it
    /// is the last one each time.
    mutating func withdraw(sends: Bool, isOwn: (Party) -> Bool, isStale: (Party) -> Bool) {
        if sends {
            if let last = senders.last, isOwn(last) {
                senders.removeLast()
                return
            }
        } else if let last = receivers.last, isOwn(last) {
            receivers.removeLast()
            return
        }
        noteStale(isStale)
    }

    /// Asks once for each.
    private static func purge(_ queue: inout Deque<Party>, _ isStale: (Party) -> Bool) {
        var kept = Deque<Party>()
        for party in queue where !isStale(party) { kept.append(party) }
        queue = kept
    }

    /// One more wait has ended elsewhere. When half of those queued may be such, they are taken out.
    mutating func noteStale(_ isStale: (Party) -> Bool) {
        stale += 1
        if stale > 16 && 2 * stale > senders.count + receivers.count {
            Self.purge(&senders, isStale)
            Self.purge(&receivers, isStale)
            stale = 0
        }
    }
}

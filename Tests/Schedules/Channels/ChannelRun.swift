// One seeded run of senders, receivers and those who disturb them on a channel, with books kept outside of the channel.
import CMessage
import StreamCore

/// What a run found; its counts are taken where values are made, used and dropped, never from the channel.
package final class ChannelRun {
    package let scheduler: SeededScheduler
    let channel: Channel
    private let byteBound: Int
    package private(set) var failures: [String] = []
    private var parties: [ChannelParty] = []
    private var disturbers: [Job] = []
    /// Whether the last sender closes, and the last receiver closes the reading side.
    private let closes: Bool
    private let receivers: Int
    private var sendersLeft: Int, receiversLeft: Int
    private let text = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)

    var created = 0, returned = 0, dropped = 0
    private var delivered = 0
    private var seen: Set<Int64> = []
    private var lastOfSender: [Int64: Int64] = [:]
    /// Places taken now: reserved, stored, and taken but not credited.
    var inFlight = 0

    package init(seed: UInt64, fault: ChannelFault? = nil) {
        scheduler = SeededScheduler(seed: seed)
        var draw = SplitMix64(seed: ~seed)
        func below(_ n: UInt64) -> Int { Int(draw.next() % n) }
        let capacity = below(9)
        // Messages of 16 bytes: three times in four the bound in bytes is the one that matters now and then.
        byteBound = below(4) == 0 ? .max : 16 * (1 + below(UInt64(capacity + 2)))
        channel = Channel(capacity: capacity, bytes: byteBound, fault: fault)
        closes = below(4) != 0
        let senders = 1 + below(4)
        receivers = 1 + below(3)
        sendersLeft = senders
        receiversLeft = receivers
        for id in 0..<senders {
            let count = below(9)
            let sender: ChannelParty =
                capacity > 0 && below(2) == 0
                ? BatchWriter(self, id: id, count: count)
                : SingleSender(self, id: id, count: count, selects: below(3) == 0)
            parties.append(sender)
        }
        for _ in 0..<receivers {
            let appetite = below(3) == 0 ? below(6) : .max
            parties.append(
                below(2) == 0
                    ? BatchReader(self, appetite: appetite)
                    : SingleReceiver(self, appetite: appetite, selects: below(3) == 0))
        }
        if below(2) == 0 { disturbers.append(Canceller(self, delay: below(40), times: 1 + below(4))) }
        if below(4) == 0 { disturbers.append(ReadCloser(self, delay: below(60))) }
    }

    deinit { text.deallocate() }

    /// Runs until nothing moves, then checks the books.
    package func finish() {
        for party in parties { party.wake() }
        for disturber in disturbers { disturber.wake() }
        rest()
        for party in parties where !party.isDone {
            if closes { fail("\(party.name) waits for ever") } else { checkMayWait(party) }
        }
        let senderWaits = parties.contains { !$0.isDone && $0.sends }
        if !closes && senderWaits && parties.contains(where: { !$0.isDone && !$0.sends }) {
            fail("a sender and a receiver wait for each other")
        }
        closeReading()
        rest()
        if parties.contains(where: { !$0.isDone }) { fail("a party waits though reading is closed") }
        dropped += channel.closeReading().drop()
        if channel.capacity > 0 && channel.queuedBytes != 0 { fail("\(channel.queuedBytes) bytes left of nothing") }
        if created != delivered + dropped + returned {
            fail("created \(created), delivered \(delivered), dropped \(dropped), returned \(returned)")
        }
    }

    private func rest() {
        scheduler.run(limit: 20_000)
        if scheduler.steps >= 20_000 { fail("it does not come to rest") }
    }

    private func checkMayWait(_ party: ChannelParty) {
        if party.sends && channel.capacity > inFlight && channel.queuedBytes < byteBound {
            fail("\(party.name) waits though there is room")
        }
        if !party.sends && channel.count > 0 { fail("\(party.name) waits though values are stored") }
    }

    func fail(_ what: String) { failures.append(what) }

    func checkCapacity() {
        if inFlight > channel.capacity { fail("\(inFlight) in flight, capacity \(channel.capacity)") }
        // At the bound nobody is let in: only those let in before may pass it, with all their room at most.
        let most = byteBound == .max ? .max : byteBound + 16 * channel.capacity
        if channel.queuedBytes > most { fail("\(channel.queuedBytes) bytes, bound \(byteBound)") }
    }

    // MARK: What parties do

    func below(_ n: Int) -> Int { Int(scheduler.random() % UInt64(n)) }
    var anyParty: ChannelParty { parties[below(parties.count)] }

    /// A new value, valid until the next one.
    func create(sender: Int, number: Int) -> MessagePointer {
        created += 1
        return integerMessage(Int64(sender) << 32 | Int64(number), at: text)
    }

    func deliver(_ message: MessagePointer) {
        let value = integerValue(message)
        delivered += 1
        if !seen.insert(value).inserted { fail("value \(value) came twice") }
        let sender = value >> 32
        if receivers == 1, let last = lastOfSender[sender], last > value { fail("\(value) came after \(last)") }
        lastOfSender[sender] = value
    }

    func ended(_ party: ChannelParty) {
        if party.sends { sendersLeft -= 1 } else { receiversLeft -= 1 }
        if closes && party.sends && sendersLeft == 0 { channel.close() }
        if closes && !party.sends && receiversLeft == 0 { closeReading() }
    }

    func closeReading() {
        let left = channel.closeReading().drop()
        dropped += left
        inFlight -= left
    }

    /// A wait has ended; called in the very step in which the channel ended it.
    func observe(_ waiter: Waiter) {
        switch waiter.outcome {
        case .sent: inFlight += 1
        case .granted(let n): inFlight += n
        case .received: inFlight -= 1
        case .batch: if channel.capacity == 0 { inFlight -= waiter.batch!.count }
        default: break
        }
    }
}

/// An integer message written to 16 bytes at `place`.
package func integerMessage(_ value: Int64, at place: UnsafeMutableRawPointer) -> MessagePointer {
    place.storeBytes(of: msg_header(size: 16, kind: UInt8(MSG_INTEGER), flags: 0, shape: 0), as: msg_header.self)
    place.storeBytes(of: value, toByteOffset: 8, as: Int64.self)
    return MessagePointer(place.assumingMemoryBound(to: msg_header.self))
}

package func integerValue(_ message: MessagePointer) -> Int64 {
    UnsafeRawPointer(message).load(fromByteOffset: 8, as: Int64.self)
}

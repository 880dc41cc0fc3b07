// One seeded run of parties that send, receive and select on several channels, with books kept outside of them.
import CMessage
import StreamCore

/// What a run found. Its values are numbers that say who made them and for which channel.
package final class SelectRun {
    package let scheduler: SeededScheduler
    private(set) var channels: [Channel] = []
    package private(set) var failures: [String] = []
    private var parties: [SelectParty] = []
    private var disturbers: [Job] = []

    /// Values made; of these, given to a receiver; still their sender's after a send that did not take place.
    private var created = 0
    private var delivered: Set<Int64> = [], returned: Set<Int64> = []
    private var lastOfSender: [Int64: Int64] = [:]
    private let hasOneReceiver: Bool

    package init(seed: UInt64, fault: ChannelFault? = nil, selectFault: SelectFault? = nil) {
        scheduler = SeededScheduler(seed: seed)
        var draw = SplitMix64(seed: ~seed)
        func below(_ n: UInt64) -> Int { Int(draw.next() % n) }
        let count = 1 + below(4)
        // Few operations, so that many runs end with some that wait.
        let partners = 2 + below(4), receivers = below(3) == 0 ? 1 : partners
        hasOneReceiver = receivers == 1
        channels = (0..<count).map { _ in Channel(capacity: [0, 0, 1, 2][below(4)], fault: fault) }
        for id in 0..<partners {
            parties.append(
                SelectParty(
                    self, id: id, operations: 1 + below(8), receives: id < receivers, sends: !hasOneReceiver || id > 0,
                    fault: selectFault))
        }
        if below(2) == 0 { disturbers.append(Disturber(self, delay: below(30), times: 1 + below(3), closes: false)) }
        if below(3) == 0 { disturbers.append(Disturber(self, delay: below(60), times: 1, closes: true)) }
    }

    func below(_ n: Int) -> Int { Int(scheduler.random() % UInt64(n)) }
    func fail(_ what: String) { failures.append(what) }
    var anyParty: SelectParty { parties[below(parties.count)] }

    /// Runs until nothing moves, then checks who waits, ends all waits by closing, and checks the books.
    package func finish() {
        for party in parties { party.wake() }
        for disturber in disturbers { disturber.wake() }
        rest()
        checkWaits()
        for channel in channels { channel.close() }
        rest()
        for party in parties where !party.isDone { fail("party \(party.id) waits though all channels are closed") }
        let buffer = MessageBuffer()
        for (number, channel) in channels.enumerated() {
            while channel.tryReceive(into: buffer) == .received {
                deliver(integerValue(buffer.message!), from: number, checkOrder: false)
                buffer.drop()
            }
            if channel.registrations > 0 { fail("\(channel.registrations) left in the queues of a closed channel") }
        }
        if created != delivered.count + returned.count {
            fail("created \(created), delivered \(delivered.count), returned \(returned.count)")
        }
    }

    private func rest() {
        scheduler.run(limit: 20_000)
        if scheduler.steps >= 20_000 { fail("it does not come to rest") }
    }

    /// Of what waits nothing could go on: no sender and receiver of different parties on one channel, no receiver where
    /// something is stored, no sender where there is room, nobody on a closed channel.
    private func checkWaits() {
        let waits = parties.flatMap(\.openCases)
        for (number, channel) in channels.enumerated() {
            let here = waits.filter { $0.channel == number }
            for receiver in here where !receiver.sends {
                if channel.count > 0 { fail("party \(receiver.party) waits though a value is stored") }
                if here.contains(where: { $0.sends && $0.party != receiver.party }) {
                    fail("party \(receiver.party) and a sender wait for each other")
                }
            }
            if here.contains(where: \.sends) && channel.queued < channel.capacity { fail("a sender waits beside room") }
            if !here.isEmpty && channel.isClosed { fail("someone waits on a closed channel") }
        }
    }

    // MARK: What parties do

    func create(sender: Int, channel: Int) -> Int64 {
        created += 1
        return Int64(sender) << 40 | Int64(channel) << 32 | Int64(created)
    }

    func giveBack(_ value: Int64) {
        if !returned.insert(value).inserted { fail("value \(value) was given back twice") }
        if delivered.contains(value) { fail("value \(value) was delivered, and its send did not take place") }
    }

    func deliver(_ value: Int64, from channel: Int, checkOrder: Bool = true) {
        if Int(value >> 32 & 0xFF) != channel { fail("value \(value) came from channel \(channel)") }
        if !delivered.insert(value).inserted { fail("value \(value) came twice") }
        if returned.contains(value) { fail("value \(value) was delivered, and its send did not take place") }
        guard checkOrder && hasOneReceiver else { return }
        let sender = value >> 32  // and its channel
        if let last = lastOfSender[sender], last > value { fail("\(value) came after \(last)") }
        lastOfSender[sender] = value
    }
}

/// Does one step of one operation at a time: a send, a receive, or a select of both over any of the channels.
final class SelectParty: Job, WaiterOwner, @unchecked Sendable {  // one thread, by the seeded scheduler
    private unowned let run: SelectRun
    let id: Int
    private let receives: Bool, sends: Bool
    private var left: Int
    private(set) var waiter: Waiter!
    private let select: Select
    private(set) var isDone = false
    private enum State { case idle, attempted, waiting }
    private var state = State.idle
    private var isReady = false
    /// The operation in hand: a case's place is its number less 1. A single operation has one, and number 0.
    private var cases: [(channel: Int, value: Int64?)] = []
    private var isSelect = false
    private let text = UnsafeMutableRawPointer.allocate(byteCount: 16 * 8, alignment: 8)
    private let inbox = MessageBuffer()

    init(_ run: SelectRun, id: Int, operations: Int, receives: Bool, sends: Bool, fault: SelectFault?) {
        self.run = run
        self.id = id
        self.receives = receives
        self.sends = sends
        left = operations
        select = Select(fault: fault)
        super.init(scheduler: run.scheduler)
        waiter = Waiter(owner: self)
    }

    deinit { text.deallocate() }

    /// What it waits for now.
    var openCases: [(party: Int, channel: Int, sends: Bool)] {
        state == .waiting && !isReady ? cases.map { (id, $0.channel, $0.value != nil) } : []
    }

    package func ready(_ waiter: Waiter) {
        isReady = true
        wake()
    }

    package override func work() -> Outcome {
        switch state {
        case _ where isDone: return .park
        case .idle: begin()
        case .attempted:
            // Others have had their turn since the attempt.
            settle(select.wait(waiter, into: inbox))
        case .waiting:
            guard isReady else { return .park }
            isReady = false
            if case .received = waiter.outcome, let message = waiter.inbox.message {
                inbox.fill(message)
                waiter.inbox.moved()
            }
            settle(waiter.outcome)
        }
        return isDone || state == .waiting && !isReady ? .park : .again
    }

    private func begin() {
        guard left > 0 else {
            isDone = true
            return
        }
        left -= 1
        let isEither = receives && sends
        isSelect = run.below(4) > 0
        // Up to 6, so that a channel comes in several cases, to send and to receive.
        cases = (0..<(isSelect ? 1 + run.below(6) : 1)).map { position in
            let channel = run.below(run.channels.count)
            guard isEither ? run.below(2) == 0 : sends else { return (channel, nil) }
            let value = run.create(sender: id, channel: channel)
            _ = integerMessage(value, at: text + 16 * position)
            return (channel, value)
        }
        if isSelect {
            select.begin(messages: text, used: 16 * cases.count, holdsObjects: false)
            for (position, item) in cases.enumerated() {
                let channel = run.channels[item.channel]
                if item.value == nil {
                    select.addReceive(channel, index: position + 1)
                } else {
                    select.addSend(channel, index: position + 1, offset: 16 * position)
                }
            }
            settle(select.attempt(random: run.scheduler.random(), into: inbox))
            return
        }
        let channel = run.channels[cases[0].channel]
        if let value = cases[0].value {
            switch channel.send(integerMessage(value, at: text), waiter) {
            case .sent: settle(.sent(index: 0))
            case .closed: settle(.closed(index: 0))
            case .waiting: state = .waiting
            case .full, .overflow: run.fail("a send with a waiter was refused as full")
            }
        } else {
            switch channel.receive(into: inbox, waiter) {
            case .received: settle(.received(index: 0))
            case .closed: settle(.closed(index: 0))
            case .waiting: state = .waiting
            case .empty: run.fail("a receive with a waiter was refused as empty")
            }
        }
    }

    private func settle(_ outcome: WaitOutcome) {
        let index: Int
        var isSent = false
        switch outcome {
        case .pending:
            state = state == .idle ? .attempted : .waiting
            return
        case .received(let taken):
            index = taken
            let place = max(0, index - 1)
            if cases[place].value != nil { run.fail("a send ended as a receive") }
            run.deliver(integerValue(inbox.message!), from: cases[place].channel)
            inbox.drop()
        case .sent(let taken):
            index = taken
            isSent = true
            if cases[max(0, index - 1)].value == nil { run.fail("a receive ended as a send") }
        case .closed(let taken):
            index = taken
            if !run.channels[cases[max(0, index - 1)].channel].isClosed { run.fail("an open channel is called closed") }
        case .ended: index = -1
        case .batch, .granted, .done:
            index = -1
            run.fail("an operation on single messages ended with \(outcome)")
        }
        if isSelect != (index > 0), index >= 0 { run.fail("case \(index) of \(isSelect ? "a select" : "no select")") }
        for (position, item) in cases.enumerated() {
            if let value = item.value, !(isSent && position == max(0, index - 1)) { run.giveBack(value) }
        }
        if isSelect {
            select.finish(waiter, outcome)
        } else {
            waiter.outbox.drop()
            if case .ended = outcome { run.channels[cases[0].channel].forget() }
        }
        state = .idle
    }
}

/// Ends waits of others as a cancelled context does, or closes a channel.
private final class Disturber: Job, @unchecked Sendable {  // one thread, by the seeded scheduler
    private unowned let run: SelectRun
    private var delay: Int, times: Int
    private let closes: Bool

    init(_ run: SelectRun, delay: Int, times: Int, closes: Bool) {
        self.run = run
        self.delay = delay
        self.times = times
        self.closes = closes
        super.init(scheduler: run.scheduler)
    }

    package override func work() -> Outcome {
        delay -= 1
        guard delay < 0 else { return .again }
        if closes {
            run.channels[run.below(run.channels.count)].close()
        } else {
            let party = run.anyParty
            if party.waiter.claimCurrent() {
                party.waiter.outcome = .ended(.canceled)
                party.ready(party.waiter)
            }
        }
        times -= 1
        return times > 0 ? .again : .park
    }
}

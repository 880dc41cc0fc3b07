// One link to several consumers: tee and route.
import CMessage
import StreamCore

/// Passes values on to several channels: each value to all of them (tee), or to the one whose number is written behind
/// it (route).
///
/// It waits for one channel at a time, so a slow consumer holds the others back by no more than its queue holds. A
/// channel that nobody reads any more is left out; at the last one the pump ends.
final class FanPump: Pump, @unchecked Sendable {  // as Pump
    enum Mode { case tee, route }

    private struct Outlet {
        let channel: Channel
        let meter: Meter
        var grant = 0
        var gathered = Batch()
        var isClosed = false
        /// Values that were for it, those put into it, and those that found nobody in the end.
        var handed = 0, sent = 0, dropped = 0
    }

    private let mode: Mode
    private var input: PumpInput
    private var outlets: [Outlet]
    /// Of the value in hand: the outlet whose turn it is, and how many have it.
    private var turn = 0, served = 0
    /// The outlet that a wait for room is about.
    private var waiting: Int?
    /// Where values go one by one: the value without what is written behind it.
    private let scratch = Batch()
    private let onInputEnd: (Channel) -> Int

    /// - Parameter outlets: the channels, with what others read of them meanwhile.
    init(
        _ mode: Mode, from input: Channel, to outlets: [(channel: Channel, meter: Meter)], givesBack: Bool,
        scheduler: Scheduler, context: Context, onInputEnd: @escaping (Channel) -> Int,
        done: @escaping (FanPump) -> Void
    ) {
        self.mode = mode
        self.input = PumpInput(input, givesBack: givesBack)
        self.outlets = outlets.map { Outlet(channel: $0.channel, meter: $0.meter) }
        self.onInputEnd = onInputEnd
        super.init(scheduler: scheduler, output: nil, context: context) { done(unsafeDowncast($0, to: FanPump.self)) }
    }

    override var received: Int { input.total }
    override var taken: Int { input.taken }
    override var returned: Int { input.returned }
    /// Of a tee: copies made beyond the first of each value.
    private(set) var copies = 0
    /// Values put into the outlets, copies counted.
    var handed: Int { outlets.reduce(0) { $0 + $1.handed } }
    func sent(to index: Int) -> Int { outlets[index].sent }
    /// Values that found nobody.
    var allDropped: Int { dropped + outlets.reduce(0) { $0 + $1.dropped } }

    override var waitsFor: String {
        waiting.map { "sending on \(outlets[$0].channel.name)" } ?? "receiving from \(input.channel.name)"
    }

    override func publishCounts() {
        meter.set(
            Meter.Counts(
                received: input.total, emitted: handed, dropped: dropped, created: copies, returned: returned))
        for outlet in outlets {
            outlet.meter.set(
                Meter.Counts(
                    received: outlet.handed, emitted: outlet.sent, dropped: outlet.dropped))
        }
    }

    override func step() -> Step {
        if input.first == nil {
            switch input.fill(scheduler, waiter, beforeWait: flush) {
            case .ready: break
            case .ended: return .over
            case .waits: return .waits
            }
        }
        while let message = input.first {
            if isClosed { return .over }
            if let halt = mode == .tee ? copy(message) : move(message) {
                if case .waits = halt { input.credit(all: true) }
                return halt
            }
        }
        return .more
    }

    // MARK: One value; nil: it is done with

    private func copy(_ message: MessagePointer) -> Step? {
        while turn < outlets.count {
            // A copy of its own holds the objects too, before anyone can have it.
            message.retainObjects()
            switch put(message, turn) {
            case .sent: serve()
            case .sentWaiting:
                serve()
                return .waits
            case .waits:
                message.releaseObjects()
                return .waits
            case .closed:
                message.releaseObjects()
                turn += 1
            }
        }
        turn = 0
        guard served > 0 else { return .over }
        served = 0
        message.releaseObjects()
        input.advance()
        return nil
    }

    private func serve() {
        if served > 0 { copies += 1 }
        served += 1
        turn += 1
    }

    private func move(_ message: MessagePointer) -> Step? {
        let end = UnsafeRawPointer(message) + message.size
        let index = Int((end - Batch.trailerSize).load(as: Int64.self))
        switch put(message, index) {
        case .sent: break
        case .sentWaiting:
            input.advance()
            return .waits
        case .waits: return .waits
        case .closed:
            if outlets.allSatisfy(\.isClosed) { return .over }
            message.releaseObjects()
            outlets[index].handed += 1
            outlets[index].dropped += 1
        }
        input.advance()
        return nil
    }

    // MARK: Outlets

    private enum Put { case sent, sentWaiting, waits, closed }

    /// Puts one value, whose objects the outlet takes over if the result is `.sent` or `.sentWaiting`; with `.waits` it
    /// is to be put again.
    private func put(_ message: MessagePointer, _ index: Int) -> Put {
        if outlets[index].isClosed { return .closed }
        let channel = outlets[index].channel
        if channel.isOneByOne { return meet(message, index, channel) }
        if outlets[index].gathered.count >= outlets[index].grant
            || outlets[index].gathered.byteCount >= Self.batchBytes
        {
            send(index)
            if outlets[index].isClosed { return .closed }
            let most = scheduler.batchLimit(min(256, max(1, channel.capacity / 2)))
            var reservation = channel.reserve(most, nil)
            if reservation == .granted(0) {
                flush()
                reservation = channel.reserve(most, waiter)
            }
            switch reservation {
            case .granted(let n): outlets[index].grant = n
            case .closed:
                outlets[index].isClosed = true
                return .closed
            case .waiting:
                waiting = index
                return .waits
            }
        }
        outlets[index].gathered.append(message, trimming: mode == .route ? Batch.trailerSize : 0)
        outlets[index].handed += 1
        return .sent
    }

    private func meet(_ message: MessagePointer, _ index: Int, _ channel: Channel) -> Put {
        var message = message
        if mode == .route {
            scratch.append(message, trimming: Batch.trailerSize)
            message = scratch.first!
        }
        defer { if mode == .route { scratch.removeFirst() } }
        var result = channel.trySend(message)
        if result == .full {
            flush()
            result = channel.send(message, waiter)
        }
        switch result {
        case .sent:
            outlets[index].handed += 1
            outlets[index].sent += 1
            return .sent
        case .overflow:
            outlets[index].handed += 1
            outlets[index].sent += 1
            overflowed(channel)
            return .sent
        case .waiting:
            waiting = index
            outlets[index].handed += 1
            return .sentWaiting
        case .closed, .full:
            outlets[index].isClosed = true
            return .closed
        }
    }

    /// Sends what is gathered for an outlet and gives unused room back.
    private func send(_ index: Int) {
        let grant = outlets[index].grant, batch = outlets[index].gathered
        guard grant > 0 else { return }
        outlets[index].grant = 0
        outlets[index].gathered = Batch()
        let count = batch.count
        if outlets[index].channel.commit(batch, unused: grant - count) {
            outlets[index].sent += count
        } else {
            outlets[index].dropped += batch.drop()
            outlets[index].isClosed = true
        }
    }

    override func flush() { for index in outlets.indices { send(index) } }

    override func resumed(_ outcome: WaitOutcome) {
        let index = waiting
        waiting = nil
        switch (outcome, index) {
        case (.granted(let n), let index?): outlets[index].grant = n
        case (.sent, let index?): outlets[index].sent += 1
        case (.closed, let index?):
            outlets[index].isClosed = true
            if waiter.outbox.message != nil {
                waiter.outbox.drop()
                outlets[index].dropped += 1
            }
        default: input.resumed(waiter)
        }
    }

    override func refused() { if let waiting { outlets[waiting].dropped += 1 } }

    override func release() -> Int {
        for outlet in outlets { outlet.channel.forget() }
        if served > 0, let message = input.first {  // some have it: it was handed on
            message.releaseObjects()
            input.advance()
        }
        return input.release(waiter) + onInputEnd(input.channel)
    }
}

// Deals the values of an input among workers by a key.
import CMessage
import StreamCore

/// What a keyed stage deals by.
enum DealKey: Sendable {
    /// The field of this name.
    case field([UInt8])
    /// The worker of a function has written on each message which lane it is for.
    case marked

    /// The hash of a message's key, or what its function's worker has written on it; nil: it has none.
    func hash(of message: MessagePointer) -> UInt64? {
        switch self {
        case .field(let name):
            let found = name.withUnsafeBytes {
                msg_key_of_field(message, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
            }
            return found.kind == Int32(MSG_KEY_HASHED.rawValue) ? found.hash : nil
        case .marked:
            let end = UnsafeRawPointer(message) + message.size
            return UInt64(bitPattern: (end - Batch.trailerSize).load(as: Int64.self))
        }
    }

    /// Why a message has none.
    func problem(with message: MessagePointer) -> String {
        guard case .field(let name) = self else { return "the value has no key" }
        let found = name.withUnsafeBytes {
            msg_key_of_field(message, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        let quoted = "key \"\(String(decoding: name, as: UTF8.self))\""
        switch msg_key_kind(rawValue: UInt32(found.kind)) {
        case MSG_KEY_NO_RECORD: return "\(quoted): the value is no record, it has no fields"
        case MSG_KEY_NIL: return "\(quoted) of the value is nil"
        case MSG_KEY_NULL: return "\(quoted) of the value is null"
        case MSG_KEY_NAN: return "\(quoted) of the value is nan"
        case MSG_KEY_OBJECT:
            return "\(quoted) of the value is a host object; expected a string, a number or a boolean"
        default: return "\(quoted) of the value is a table; expected a string, a number or a boolean"
        }
    }
}

/// Moves each value of a channel to one of several lanes: the same key always to the same lane. No Lua runs.
///
/// With a log it also notes the order, a ticket for each run of values to one lane, and ends each run with a mark.
final class Dealer: Pump, @unchecked Sendable {  // as Pump
    private struct Lane {
        let channel: Channel
        var grant = 0
        var gathered = Batch()
        /// Messages put into it, marks counted.
        var sent = 0
    }

    private let input: Channel
    private var lanes: [Lane]
    private let key: DealKey
    private let givesBack: Bool
    private let log: TicketLog?
    /// Told of each ticket.
    private let sequencer: Sequencer?
    /// Decides what follows a value without a key: true, it goes on.
    private let judge: (_ problem: String, _ value: MessagePointer, _ count: Int) -> KeyJudgement
    private var letters = LetterBox()
    var lettered: Int { letters.sent }
    private var batch: Batch?
    private var consumed = 0, consumedBytes = 0
    /// Where the first value of the batch goes, once that is known.
    private var decided: Int?
    /// The lane whose ticket is the last one.
    private var open: Int?
    /// Tickets not yet in the log: a lock and a wake each batch, not each value.
    private var tickets: [Int] = []
    /// The lane that a wait for room is about.
    private var waiting: Int?
    private var isLaneClosed = false
    private(set) var failed = 0
    /// Where its stage publishes what its parts count, and what of it stands there.
    private let stageMeter: Meter
    private var published = Meter.Counts()
    private var takenTotal = 0, returnedTotal = 0

    override var taken: Int { takenTotal }
    override var returned: Int { returnedTotal }
    func sent(to lane: Int) -> Int { lanes[lane].sent }

    init(
        from input: Channel, to lanes: [Channel], by key: DealKey, givesBack: Bool, sequencer: Sequencer?,
        scheduler: Scheduler, context: Context, meter: Meter,
        judge: @escaping (String, MessagePointer, Int) -> KeyJudgement,
        done: @escaping (Pump) -> Void
    ) {
        self.input = input
        self.lanes = lanes.map { Lane(channel: $0) }
        self.key = key
        self.givesBack = givesBack
        self.sequencer = sequencer
        self.judge = judge
        stageMeter = meter
        log = sequencer?.log
        super.init(scheduler: scheduler, output: nil, context: context, done: done)
    }

    /// What it deals is received by the workers.
    override func publishCounts() {
        let counts = Meter.Counts(
            received: failed + lettered, failed: failed, dropped: dropped, deadLettered: lettered, returned: returned)
        stageMeter.add(counts - published)
        published = counts
    }

    override func step() -> Step {
        if isLaneClosed || letters.isOver { return .over }
        if batch == nil {
            let most = scheduler.batchLimit(givesBack ? 1 : 256)
            switch input.takeBatch(most, nil) {
            case .batch(let taken): install(taken)
            case .closed: return inputEnded()
            case .empty, .waiting:
                flush()
                switch input.takeBatch(most, waiter) {
                case .batch(let taken): install(taken)
                case .closed: return inputEnded()
                case .empty, .waiting: return .waits
                }
            }
        }
        while let message = batch?.first {
            guard let lane = decided ?? lane(for: message) else {
                failed += 1
                let judgement = judge(key.problem(with: message), message, failed)
                message.releaseObjects()
                advance()
                switch judgement {
                case .goOn: continue
                case .stop: return .over
                case .letter(let letter):
                    if case .waits = letters.post(letter, waiter, &failed) {
                        flush()
                        return .waits
                    }
                    if letters.isOver { return .over }
                    continue
                }
            }
            decided = lane
            if lane != open {
                if open != nil {
                    if let halt = endTicket() { return halt }
                }
                beginTicket(lane)
            }
            guard hasRoom(lane) else { return halted }
            lanes[lane].gathered.append(message, trimming: trailer)
            advance()
        }
        batch = nil
        publish()
        credit(all: false)
        return .more
    }

    private func install(_ batch: Batch) {
        takenTotal += batch.count
        self.batch = batch
    }

    private func inputEnded() -> Step {
        if open != nil, let halt = endTicket() { return halt }
        return .over
    }

    // MARK: Keys

    /// Bytes that are written behind each message.
    private var trailer: Int { if case .marked = key { Batch.trailerSize } else { 0 } }

    private func lane(for message: MessagePointer) -> Int? {
        guard let hash = key.hash(of: message) else { return nil }
        // the key's function left the lane itself behind the value: see driver.c
        if case .marked = key { return Int(hash) }
        return Int(hash % UInt64(lanes.count))
    }

    // MARK: Tickets

    private func beginTicket(_ lane: Int) {
        open = lane
        if log != nil { tickets.append(lane) }
    }

    /// Puts the tickets of what was dealt into the log: before any wait.
    private func publish() {
        guard let log, !tickets.isEmpty else { return }
        log.append(all: &tickets)
        sequencer?.wake()
    }

    /// Nil: done. Otherwise what the step comes to.
    private func endTicket() -> Step? {
        guard log != nil, let lane = open else { return nil }
        guard hasRoom(lane) else { return halted }
        lanes[lane].gathered.appendMark()
        open = nil
        return nil
    }

    // MARK: Lanes

    /// What a step without room comes to.
    private var halted: Step { isLaneClosed ? .over : .waits }

    private func hasRoom(_ lane: Int) -> Bool {
        if lanes[lane].gathered.count < lanes[lane].grant { return true }
        send(lane)
        guard !isLaneClosed else { return false }
        let channel = lanes[lane].channel
        switch channel.reserve(scheduler.batchLimit(min(256, max(1, channel.capacity / 2))), waiter) {
        case .granted(let n):
            lanes[lane].grant = n
            return true
        case .closed: isLaneClosed = true
        case .waiting:
            waiting = lane
            flush()
        }
        return false
    }

    /// Sends what is gathered for a lane and gives unused room back.
    private func send(_ lane: Int) {
        let grant = lanes[lane].grant, batch = lanes[lane].gathered
        guard grant > 0 else { return }
        lanes[lane].grant = 0
        lanes[lane].gathered = Batch()
        let count = batch.count
        if lanes[lane].channel.commit(batch, unused: grant - count) {
            lanes[lane].sent += count
        } else {
            dropDealt(batch.dropValues())
            isLaneClosed = true
        }
    }

    override func flush() {
        for lane in lanes.indices { send(lane) }
        publish()
        credit(all: true)
    }

    private func advance() {
        decided = nil
        consumedBytes += batch!.first!.size
        batch!.removeFirst()
        consumed += 1
    }

    private func credit(all: Bool) {
        guard consumed > 0 else { return }
        input.credit(consumed, bytes: consumedBytes, all: all)
        consumed = 0
        consumedBytes = 0
    }

    private var droppedDealt = 0
    private func dropDealt(_ n: Int) { droppedDealt += n }

    override func refused() { if letters.abandon() { dropDealt(1) } else { super.refused() } }

    override func resumed(_ outcome: WaitOutcome) {
        if letters.resumed(waiter, &failed) { return }
        switch outcome {
        case .batch:
            install(waiter.batch!)
            waiter.batch = nil
        case .granted(let n):
            lanes[waiting!].grant = n
            waiting = nil
        case .closed where waiting != nil:
            isLaneClosed = true
            waiting = nil
        default: break
        }
    }

    /// The lanes end, and nothing more is dealt.
    override func release() -> Int {
        if let taken = waiter.batch {
            install(taken)
            waiter.batch = nil
        }
        if case .granted(let n) = waiter.outcome, let lane = waiting { _ = lanes[lane].channel.commit(nil, unused: n) }
        credit(all: true)
        input.forget()
        for lane in lanes { lane.channel.close() }
        log?.finish()
        sequencer?.wake()
        var left = droppedDealt
        if let rest = batch, !rest.isEmpty {
            batch = nil
            let count = rest.count, bytes = rest.byteCount
            if givesBack {
                returnedTotal += count
                input.giveBack(rest)  // before the credit: nobody may slip in between
            } else {
                left += rest.drop()
            }
            input.credit(count, bytes: bytes, all: false)
        }
        return left
    }
}

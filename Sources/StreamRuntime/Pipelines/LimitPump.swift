// Values that pass at a limiter's rate.
import CMessage
import StreamCore

/// Asks a limiter for each value: waits until it may pass, drops it, or marks it as one for somewhere else.
///
/// What may pass goes out before the pump waits for the next, so no value waits for another's time. A value gets its token
/// when there is room for it behind the pump: what passes late because of a slow stage has not saved up for itself.
final class LimitPump: Pump, @unchecked Sendable {  // as Pump
    enum Mode {
        case wait, drop
        /// Writes behind each value which way it goes: 0, it may pass; 1, it is over the limit.
        case mark
    }

    private let limiter: Limiter
    private let mode: Mode
    private let key: DealKey?
    private var input: PumpInput
    /// For the value with something else behind it.
    private let scratch = Batch()
    /// The limiter that it waits for, and the wait; or that wait has ended otherwise.
    private var pending: (limiter: Limiter, ticket: UInt64)?
    /// The first value may pass.
    private var isGranted = false
    /// Decides what follows a value without a key: true, it goes on.
    private let judge: (_ problem: String, _ value: MessagePointer, _ count: Int) -> KeyJudgement
    private var letters = LetterBox()
    var lettered: Int { letters.sent }
    private let onInputEnd: (Channel) -> Int
    /// Values over the limit, for others to read meanwhile: with `drop` they are dropped here.
    let limitedMeter = Meter()
    private(set) var limited = 0
    private(set) var failed = 0

    init(
        _ limiter: Limiter, _ mode: Mode, key: DealKey?, from input: Channel, to output: Channel, givesBack: Bool,
        scheduler: Scheduler, context: Context, judge: @escaping (String, MessagePointer, Int) -> KeyJudgement,
        onInputEnd: @escaping (Channel) -> Int, done: @escaping (LimitPump) -> Void
    ) {
        self.limiter = limiter
        self.mode = mode
        self.key = key
        self.input = PumpInput(input, givesBack: givesBack)
        self.judge = judge
        self.onInputEnd = onInputEnd
        super.init(scheduler: scheduler, output: output, context: context) {
            done(unsafeDowncast($0, to: LimitPump.self))
        }
    }

    override var received: Int { input.total }
    override var taken: Int { input.taken }
    override var returned: Int { input.returned }
    override var waitsFor: String {
        if waitsForRoom { return super.waitsFor }
        return pending.map { "waiting for \($0.limiter.name)" } ?? "receiving from \(input.channel.name)"
    }

    override var isPassive: Bool { super.isPassive && pending == nil }

    override func publishCounts() {
        limitedMeter.set(Meter.Counts(dropped: limited))
        meter.set(
            Meter.Counts(
                received: input.total, emitted: sent, filtered: filtered, failed: failed, dropped: dropped,
                deadLettered: lettered, returned: returned))
    }

    override func step() -> Step {
        giveBack()  // a wait that ended otherwise
        if letters.isOver { return .over }
        if input.first == nil {
            switch input.fill(scheduler, waiter, beforeWait: flush) {
            case .ready: break
            case .ended: return .over
            case .waits: return .waits
            }
        }
        while let message = input.first {
            if let halt = pass(message) {
                if case .waits = halt { input.credit(all: true) }
                return halt
            }
        }
        return .more
    }

    // MARK: One value; nil: it is done with

    private func pass(_ message: MessagePointer) -> Step? {
        if !isGranted && !hasRoom() { return isClosed ? .over : .waits }
        var way: Int64 = 0
        if !isGranted {
            guard let limiter = limiter(for: message) else { return fail(message) }
            switch mode {
            case .wait:
                switch limiter.wait(1, waiter, scheduler.now, limit: nil, mayBeMore: true) {
                case .granted: isGranted = true
                case .refused: preconditionFailure("one value fits into every limiter")
                case .waiting(let ticket):
                    pending = (limiter, ticket)
                    flush()
                    return .waits
                }
            case .drop, .mark:
                if limiter.allow(1, scheduler.now) {
                    isGranted = true
                } else {
                    limited += 1
                    if mode == .drop {
                        input.advance(dropping: message)
                        return nil
                    }
                    isGranted = true
                    way = 1
                }
            }
        }
        let trailer = isMarked ? Batch.trailerSize : 0
        guard trailer > 0 || mode == .mark else { return moved(emit(message)) }
        scratch.append(message, trimming: trailer)
        if mode == .mark { scratch.putBehindLast(way) }
        let emission = emit(scratch.first!)
        scratch.removeFirst()
        return moved(emission)
    }

    private func moved(_ emission: Emission) -> Step? {
        switch emission {
        case .sent: break
        case .waits:
            guard output?.isOneByOne ?? false else { return .waits }
            isGranted = false
            input.advance()
            return .waits
        case .closed: return .over
        }
        isGranted = false
        input.advance()
        return nil
    }

    private func fail(_ message: MessagePointer) -> Step? {
        failed += 1
        let judgement = judge(key!.problem(with: message), message, failed)
        input.advance(dropping: message)
        switch judgement {
        case .goOn: return nil
        case .stop: return .over
        case .letter(let letter):
            if case .waits = letters.post(letter, waiter, &failed) {
                flush()
                return .waits
            }
            return letters.isOver ? .over : nil
        }
    }

    // MARK: Keys

    private var isMarked: Bool { if case .marked? = key { true } else { false } }

    private func limiter(for message: MessagePointer) -> Limiter? {
        guard let key else { return limiter }
        return key.hash(of: message).map { limiter.of($0, "a key of :limit") }
    }

    // MARK: Waits

    override func refused() { if letters.abandon() { drop(1) } else { super.refused() } }

    override func resumed(_ outcome: WaitOutcome) {
        if letters.resumed(waiter, &failed) { return }
        guard let (limiter, ticket) = pending else { return input.resumed(waiter) }
        guard case .done = outcome else { return }
        if hasRoomNow {
            pending = nil
            limiter.resumed(ticket, scheduler.now)
            isGranted = true
        }  // else the step gives it back, and asks again when there is room
    }

    /// What a wait that ended otherwise would have got is for others.
    private func giveBack() {
        guard let (limiter, ticket) = pending else { return }
        pending = nil
        limiter.giveBack(ticket, scheduler.now)
    }

    override func release() -> Int {
        giveBack()
        return input.release(waiter) + onInputEnd(input.channel)
    }
}

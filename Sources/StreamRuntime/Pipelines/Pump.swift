// Stages and sources of the host: jobs that move messages from a channel, or from nowhere, to a channel.
import CMessage
import StreamCore
import Synchronization

/// Moves messages without a worker. Its subclasses say where they come from and what becomes of them.
class Pump: Job, WaiterOwner, ContextListener, @unchecked Sendable {  // its running thread's, but for the waiter
    let output: Channel?
    let context: Context
    private(set) var waiter: Waiter!
    private var grant = 0
    private var gathered = Batch()
    private(set) var isWaiting = false
    /// What it is, for the report of a deadlock.
    var label = ""
    /// What others may read meanwhile.
    let meter = Meter()
    /// The wait has ended, and its outcome is written: a wake alone does not say so, it may come from elsewhere while the
    /// one who ended the wait is still about to write.
    private let isTold = Atomic<Bool>(false)
    private let done: (Pump) -> Void
    private(set) var isOver = false
    /// A planted bug, so that the tests can be tested; nil everywhere else.
    var fault: RunFault?
    /// Values taken in and done with, where it takes any.
    var received: Int { 0 }
    /// Messages taken from its input, and those given back to it.
    var taken: Int { 0 }
    var returned: Int { 0 }
    /// Values that it made of those that it consumed.
    var made: Int { 0 }
    var combined: Int { 0 }
    /// Put into its output or delivered to nowhere; dropped as nobody wanted them any more; dropped as was asked for.
    private(set) var sent = 0, dropped = 0, filtered = 0
    /// Nobody wants the output any more.
    private(set) var isClosed = false
    /// The queue that was full, where that is a failure; the pump ends then.
    private(set) var fullQueue: Channel?
    /// Set before the wait that is open is ended, and read after a wait was begun: with the seat of the waiter, also in
    /// one total order, so whoever stops the pump finds its wait open, or the pump finds this set.
    private let stopRequested = Atomic<Bool>(false)
    /// Someone asks what it does; under `askLock` who.
    private let isAsked = Atomic<Bool>(false)
    private let askLock = Lock()
    private var askers: [(Pump) -> Void] = []

    init(scheduler: Scheduler, output: Channel?, context: Context, done: @escaping (Pump) -> Void) {
        self.output = output
        self.context = context
        self.done = done
        super.init(scheduler: scheduler)
        waiter = Waiter(owner: self)
    }

    func start() {
        if !context.add(self) { contextEnded(context.reason ?? .canceled) }
        wake()
    }

    func ready(_ waiter: Waiter) {
        isTold.store(true, ordering: .releasing)
        wake()
    }

    func contextEnded(_ reason: Reason) {
        stopRequested.store(true, ordering: .sequentiallyConsistent)
        endWait(reason)
        wake()
    }

    /// Ends it as at its natural end. Any thread.
    func stop() {
        stopRequested.store(true, ordering: .sequentiallyConsistent)
        endWait(.canceled)
        wake()
    }

    /// If nobody else has ended it.
    private func endWait(_ reason: Reason) {
        guard waiter.claimCurrent() else { return }
        waiter.outcome = .ended(reason)
        isTold.store(true, ordering: .releasing)
    }

    /// What a step came to.
    enum Step {
        /// `idle`: until the next `wake`, with no wait open.
        case more, waits, idle, over
    }

    /// Moves some messages.
    func step() -> Step { .over }
    /// The wait that a step began is over.
    func resumed(_ outcome: WaitOutcome) {}
    /// What is left is given back or dropped; returns how many were dropped.
    func release() -> Int { 0 }

    /// Calls `body` on its thread, between two steps. Any thread.
    func ask(_ body: @escaping (Pump) -> Void) {
        askLock.withLock { askers.append(body) }
        isAsked.store(true, ordering: .releasing)
        wake()
    }

    private func answer() {
        isAsked.store(false, ordering: .relaxed)
        let bodies = askLock.withLock {
            defer { askers = [] }
            return askers
        }
        for body in bodies { body(self) }
    }

    override func work() -> Outcome {
        if isAsked.load(ordering: .acquiring) { answer() }
        guard !isOver else { return .park }
        if isWaiting {
            guard isTold.exchange(false, ordering: .acquiringAndReleasing) else { return .park }
            isWaiting = false
            let outcome = waiter.outcome
            switch outcome {
            case .granted(let n) where waitsForRoom: grant = n
            case .sent where waitsForRoom: sent += 1
            case .closed where waitsForRoom:
                isClosed = true
                dropOutbox()
            case .ended:
                output?.forget()
                dropOutbox()
            default: resumed(outcome)
            }
            waitsForRoom = false
        }
        for _ in 0..<64 {
            if isClosed || stopRequested.load(ordering: .sequentiallyConsistent) { return finish() }
            switch step() {
            case .more: continue
            case .waits:
                isWaiting = true
                publishCounts()
                if stopRequested.load(ordering: .sequentiallyConsistent) { endWait(.canceled) }
                return isTold.load(ordering: .acquiring) ? .again : .park
            case .idle: return .park
            case .over: return finish()
            }
        }
        flush()
        publishCounts()
        return .again
    }

    func overflowed(_ queue: Channel) {
        fullQueue = queue
        isClosed = true
    }

    private func dropOutbox() {
        guard waiter.outbox.message != nil else { return }
        waiter.outbox.drop()
        refused()
    }

    /// A value was left in the waiter's outbox by those who did not take it.
    func refused() { dropped += 1 }

    private(set) var waitsForRoom = false
    /// It waits for its neighbours.
    var isPassive: Bool { isWaiting }
    /// What it waits for, for the report of a deadlock.
    var waitsFor: String { waitsForRoom ? "sending on \(output?.name ?? "nothing")" : "receiving" }

    func publishCounts() {
        meter.set(
            Meter.Counts(
                received: received, emitted: sent, filtered: filtered, dropped: dropped, created: made,
                consumed: combined, returned: returned))
    }

    /// Whether there is room for one message; if not, it waits, or nobody reads the output any more (`isClosed`).
    func hasRoom() -> Bool { makeRoom() != nil }

    /// The same without a wait.
    var hasRoomNow: Bool {
        guard let output, !output.isOneByOne else { return true }  // there a place would be reserved that nobody fills
        if gathered.count < grant && gathered.byteCount < Self.batchBytes { return true }
        flush()
        guard case .granted(let n) = output.reserve(1, nil), n > 0 else { return false }
        grant = n
        return true
    }

    /// Counts values that are dropped here.
    func drop(_ n: Int) { dropped += n }

    /// Room for one message, or nil: waits, or closed (`isClosed`).
    private func makeRoom() -> Bool? {
        guard let output else { return true }
        if output.isOneByOne { return true }
        if gathered.count < grant && gathered.byteCount < Self.batchBytes { return true }
        flush()
        switch output.reserve(scheduler.batchLimit(min(256, max(1, output.capacity / 2))), waiter) {
        case .granted(let n):
            grant = n
            return true
        case .closed:
            isClosed = true
            return nil
        case .waiting:
            waitsForRoom = true
            return nil
        }
    }

    /// A private batch that has grown to so many bytes goes out.
    static let batchBytes = 256 << 10

    enum Emission { case sent, waits, closed }

    /// Passes on one message, whose objects it takes over unless the result is `.waits`; then it is to be offered again
    /// (not where values go one by one: there it is on its way).
    func emit(_ message: MessagePointer) -> Emission {
        guard let output else {
            message.releaseObjects()
            sent += 1
            return .sent
        }
        if output.isOneByOne {
            if isClosed { return .closed }
            switch output.send(message, waiter) {
            case .sent:
                sent += 1
                return .sent
            case .overflow:
                sent += 1
                overflowed(output)
                return .sent
            case .waiting:
                waitsForRoom = true
                return .waits
            case .closed, .full:
                isClosed = true
                return .closed
            }
        }
        guard makeRoom() != nil else { return isClosed ? .closed : .waits }
        gathered.append(message)
        return .sent
    }

    /// Delivers a whole batch to nowhere.
    func discard(_ batch: Batch) { sent += batch.drop() }

    func filter(_ message: MessagePointer) {
        message.releaseObjects()
        filtered += 1
    }

    /// Sends what is gathered and gives unused room back.
    func flush() {
        guard let output, grant > 0 else { return }
        let batch = gathered
        gathered = Batch()
        let count = batch.count
        if output.commit(batch, unused: grant - count) {
            sent += count
        } else {
            dropped += batch.drop()
            isClosed = true
        }
        grant = 0
    }

    private func finish() -> Outcome {
        flush()
        isOver = true
        context.remove(self)
        let left = release()
        if fault != .dropNotCounted { dropped += left }
        publishCounts()
        done(self)
        return .park
    }
}

/// A source whose values are known: a range of integers, a list.
final class ValuePump: Pump, @unchecked Sendable {
    private var next: () -> Bool
    private let message: UnsafeMutablePointer<msg_header>
    private var values: Batch?
    private(set) var created = 0
    private var pending = false

    /// - Parameters: integers from `first` to `last`.
    init(
        first: Int64, last: Int64, by step: Int64, scheduler: Scheduler, output: Channel, context: Context,
        done: @escaping (Pump) -> Void
    ) {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
        raw.storeBytes(
            of: msg_header(size: 16, kind: UInt8(MSG_INTEGER), flags: 0, shape: 0), as: msg_header.self)
        message = raw.assumingMemoryBound(to: msg_header.self)
        var value: Int64? = first
        next = {
            guard let now = value, step > 0 ? now <= last : now >= last else { return false }
            raw.storeBytes(of: now, toByteOffset: 8, as: Int64.self)
            let (following, overflow) = now.addingReportingOverflow(step)
            value = overflow ? nil : following
            return true
        }
        super.init(scheduler: scheduler, output: output, context: context, done: done)
    }

    init(
        values: Batch, scheduler: Scheduler, output: Channel, context: Context, done: @escaping (Pump) -> Void
    ) {
        self.values = values
        next = { false }
        message = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
            .assumingMemoryBound(to: msg_header.self)
        super.init(scheduler: scheduler, output: output, context: context, done: done)
    }

    deinit { UnsafeMutableRawPointer(message).deallocate() }

    override func step() -> Step {
        for _ in 0..<256 {
            let now: MessagePointer
            if let values {
                guard let first = values.first else { return .over }
                now = first
            } else {
                if !pending {
                    guard next() else { return .over }
                }
                pending = true
                now = MessagePointer(message)
            }
            let isOneByOne = output?.isOneByOne ?? false
            switch emit(now) {
            case .sent:
                created += 1
                pending = false
                values?.removeFirst()
            case .waits:
                if isOneByOne {
                    created += 1
                    pending = false
                    values?.removeFirst()
                }
                return .waits
            case .closed: return .over
            }
        }
        return .more
    }
}

/// Passes on from a channel: all, the first n, all but the first n; or nowhere, as the null sink.
final class ChannelPump: Pump, @unchecked Sendable {
    private let input: Channel
    private let limit: Int
    private var toSkip: Int
    private var toTake: Int
    private var batch: Batch?
    private var consumed = 0, consumedBytes = 0
    private var total = 0, takenTotal = 0, returnedTotal = 0
    /// The input is a script's channel, which outlives the pipeline: what was not passed on goes back to it.
    private let givesBack: Bool
    private let onInputEnd: (Channel) -> Int

    init(
        from input: Channel, to output: Channel?, skip: Int = 0, take: Int = .max, givesBack: Bool,
        scheduler: Scheduler, context: Context, onInputEnd: @escaping (Channel) -> Int,
        done: @escaping (Pump) -> Void
    ) {
        self.input = input
        self.givesBack = givesBack
        self.onInputEnd = onInputEnd
        toSkip = skip
        toTake = take
        limit = givesBack ? 1 : 256
        super.init(scheduler: scheduler, output: output, context: context, done: done)
    }

    override var received: Int { total }
    override var taken: Int { takenTotal }
    override var returned: Int { returnedTotal }
    override var waitsFor: String { waitsForRoom ? super.waitsFor : "receiving from \(input.name)" }

    private func install(_ batch: Batch) {
        takenTotal += batch.count
        self.batch = batch
    }

    override func step() -> Step {
        if toTake == 0 { return .over }
        if batch == nil {
            switch input.takeBatch(scheduler.batchLimit(limit), nil) {
            case .batch(let taken): install(taken)
            case .closed: return .over
            case .empty, .waiting:
                flush()
                switch input.takeBatch(scheduler.batchLimit(limit), waiter) {
                case .batch(let taken): install(taken)
                case .closed: return .over
                case .empty, .waiting: return .waits
                }
            }
        }
        if output == nil && toSkip == 0 && toTake == .max, let whole = batch {
            consumed += whole.count
            consumedBytes += whole.byteCount
            total += whole.count
            discard(whole)
        }
        while let message = batch?.first {
            if toSkip > 0 {
                toSkip -= 1
                filter(message)
                advance()
                continue
            }
            if toTake == 0 { return .over }
            let isOneByOne = output?.isOneByOne ?? false
            switch emit(message) {
            case .sent:
                toTake -= 1
                advance()
            case .waits:
                if isOneByOne {
                    toTake -= 1
                    advance()
                }
                credit(all: true)
                return .waits
            case .closed: return .over
            }
        }
        batch = nil
        credit(all: false)
        return toTake == 0 ? .over : .more
    }

    private func advance() {
        consumedBytes += batch!.first!.size
        batch!.removeFirst()
        consumed += 1
        total += 1
    }

    private func credit(all: Bool) {
        input.credit(consumed, bytes: consumedBytes, all: all)
        consumed = 0
        consumedBytes = 0
    }

    override func resumed(_ outcome: WaitOutcome) {
        if case .batch = outcome, let taken = waiter.batch {
            install(taken)
            waiter.batch = nil
        }
    }

    override func release() -> Int {
        credit(all: true)
        if let taken = waiter.batch {
            install(taken)
            waiter.batch = nil
        }
        input.forget()
        guard let rest = batch, !rest.isEmpty else { return onInputEnd(input) }
        batch = nil
        let count = rest.count, bytes = rest.byteCount
        if givesBack {
            returnedTotal += count
            input.giveBack(rest)  // before the credit: nobody may slip in between
            input.credit(count, bytes: bytes, all: false)
            return onInputEnd(input)
        }
        input.credit(count, bytes: bytes, all: false)
        return rest.drop() + onInputEnd(input)
    }
}

// What links a stage's driver to the channels before and behind it.
import CMessage
import Glibc
import LuaVM
import StreamCore

/// Moves batches between a driver and its channels. Used by its worker's thread alone.
///
/// Credit and flush rules: a batch goes out when it is full, when the worker is about to wait, and when its slice
/// ends; values that the stage has taken in hand are credited at the same moments, so a waiting neighbour always sees
/// the exact capacity.
final class StagePorts {
    /// `judges`: it waits, and what follows a failure depends on that; `over`: the task is to end.
    enum Progress { case ready, waits, judges, over }

    let driver: StageDriver
    let input: Channel?
    let output: Channel?
    private let scheduler: Scheduler
    /// Values taken at a time from the input; of one that is shared, `adaptive` says how many.
    private let inputLimit: Int
    private var adaptive: AdaptiveBatch?
    /// Set where the results of several workers are put in order: the share of the input that is taken gets a ticket
    /// here, and a mark behind it.
    private let seat: ReaderSeat?
    /// The marks came with the input, from the dealer, and took room there.
    private let marksAreDealt: Bool
    /// Told of each ticket, and that no more will come.
    private let sequencer: Sequencer?
    private let outputLimit: Int
    /// Values of a source channel that were not touched go back to it.
    private let givesBack: Bool
    private var batch: Batch?
    private var creditedUpTo: UInt64 = 0
    /// Which of the two the driver's last wait was for.
    private var waitsForOutput = false
    /// Messages taken from the input and put into the output, marks counted, and those given back to the input.
    private(set) var taken = 0, sent = 0, returned = 0
    /// Values that found nobody, by reason `ended`: those not read, and those that were to go on.
    private(set) var droppedIn = 0
    private var droppedBehind = 0
    var droppedOut: Int { droppedBehind + Int(driver.dropped) }
    /// Of those, results that its driver was handing over when it was stopped.
    var unsent = 0
    /// Decides what follows a failure; where that takes a wait of the task's, `onJudged` goes on.
    var onFailure: ((ScriptFailure, LuaTask) -> Judgement)?
    var onJudged: ((LuaTask) -> Judgement)?
    /// What that wait is for.
    var judgesFor: String?
    /// Values handed to whoever gets the dead letters.
    var lettered = 0
    /// Told that the queue behind is full and its policy is to fail; the stage ends.
    var onOverflow: ((Channel) -> Void)?
    /// Why the input or the output ended early, if a context ended.
    private(set) var endReason: Reason?
    /// What others may read meanwhile, and what of it stands there.
    var meter: Meter?
    /// It runs the key's function: what it passes on is received by the stage's workers.
    var isKey = false
    private var published = Meter.Counts()
    /// The pipeline's context, where the stage's function may wait in others.
    var home: Context?
    /// Where the stage has a timeout.
    var deadlines: ValueDeadlines?
    /// Bytes that the channel counts for the batch in hand.
    private var batchBytes = 0

    init(
        driver: StageDriver, input: Channel?, output: Channel?, scheduler: Scheduler, inputLimit: Int, givesBack: Bool,
        adaptive: AdaptiveBatch? = nil, seat: ReaderSeat? = nil, marksAreDealt: Bool = false,
        sequencer: Sequencer? = nil
    ) {
        self.driver = driver
        self.input = input
        self.output = output
        self.scheduler = scheduler
        self.inputLimit = inputLimit
        self.givesBack = givesBack
        self.adaptive = adaptive
        self.seat = seat
        self.marksAreDealt = marksAreDealt
        self.sequencer = sequencer
        outputLimit = output.map { max(1, min(256, $0.capacity / 2)) } ?? 0
        if let output {
            driver.isRendezvous = output.isOneByOne
            driver.grant = output.isOneByOne ? 1 : 0
        }
    }

    /// What its driver's wait is for.
    var description: String {
        judgesFor
            ?? (waitsForOutput
                ? "sending on \(output?.name ?? "nothing")" : "receiving from \(input?.name ?? "nothing")")
    }

    // MARK: What the driver asks for

    /// Gets the driver something to read.
    func refill(_ waiter: Waiter) -> Progress {
        guard let input else {
            driver.isEnded = true
            return .ready
        }
        waitsForOutput = false
        retire()
        adaptive?.end(scheduler.now)
        let most = scheduler.batchLimit(adaptive?.size ?? inputLimit)
        switch input.takeBatch(most, nil, seat: seat) {
        case .batch(let batch): install(batch)
        case .closed: inputEnded()
        case .empty, .waiting:
            settle()
            switch input.takeBatch(most, waiter, seat: seat) {
            case .batch(let batch): install(batch)
            case .closed: inputEnded()
            case .empty, .waiting: return .waits
            }
        }
        return .ready
    }

    /// Sends what the driver has written and gets it room for more.
    func send(_ waiter: Waiter) -> Progress {
        guard let output else { return .ready }
        waitsForOutput = true
        if driver.isRendezvous {
            let written = takeWritten()
            guard let message = written.first else { return .ready }
            switch output.send(message, waiter) {
            case .sent:
                written.removeFirst()
                sent += 1
            case .waiting:
                written.removeFirst()
                return .waits
            case .closed, .full:
                droppedBehind += written.dropValues()
                driver.isClosed = true
            case .overflow:
                written.removeFirst()
                sent += 1
                driver.isClosed = true
                onOverflow?(output)
            }
            return .ready
        }
        // A batch may be full in bytes before its room is used up: what is left of the room goes back.
        commit(unused: max(0, driver.grant - driver.pending))
        guard !driver.isClosed else { return .ready }
        switch output.reserve(scheduler.batchLimit(outputLimit), waiter) {
        case .granted(let n): driver.grant = n
        case .closed: driver.isClosed = true
        case .waiting:
            creditAll()
            return .waits
        }
        return .ready
    }

    /// The wait that `refill` or `send` began is over.
    func resumed(_ waiter: Waiter) {
        switch waiter.outcome {
        case .batch:
            install(waiter.batch!)
            waiter.batch = nil
        case .granted(let n): driver.grant = n
        case .sent: sent += 1
        case .closed:
            if waiter.outbox.message != nil {
                waiter.outbox.drop()
                droppedBehind += 1
            }
            if waitsForOutput { driver.isClosed = true } else { inputEnded() }
        case .ended(let reason):
            if waiter.outbox.message != nil {
                waiter.outbox.drop()
                droppedBehind += 1
                unsent += 1
            }
            input?.forget()
            output?.forget()
            if let home, home.reason == nil {
                // The end of what its function does, and not of the stage.
                driver.setLate(isDeadline: reason == .deadlineExceeded)
            } else {
                abandon(reason)
            }
        default: preconditionFailure("a stage's wait ends with a batch, with room, or not at all")
        }
    }

    /// The script's function has the channels itself.
    var isProcess: Bool { input == nil && output == nil }

    /// Ends a generator as at its natural end: what it has emitted goes out.
    func endEarly() { driver.isDrained = true }

    /// A wait of the stage's function was ended by a context: where that was the pipeline's, the function gets no more
    /// values. Those that are in the batch in hand already would else all be tried in vain.
    func waitWasEnded(of task: LuaTask) {
        guard input != nil, endReason == nil, let reason = (home ?? task.outermost).reason else { return }
        abandon(reason)
    }

    /// The context has ended: the driver shall return.
    func abandon(_ reason: Reason) {
        endReason = reason
        driver.isEnded = true
        driver.isClosed = true
    }

    // MARK: Flushing

    /// Before the worker waits, and at the end of its slice: nothing stays private that a neighbour could use.
    func settle() {
        if output != nil && !driver.isRendezvous { commit(unused: max(0, driver.grant - driver.pending)) }
        creditAll()
        publishCounts()
    }

    /// Its driver was stopped: what it has written and not handed over goes no further.
    func dropUnsent() {
        guard driver.isRendezvous && driver.pending > 0 else { return }
        let count = takeWritten().dropValues()
        droppedBehind += count
        unsent += count
    }

    /// The value whose result that was has failed: its result was not made.
    func takeBackUnsent() {
        driver.takeBack(unsent)
        droppedBehind -= unsent
        unsent = 0
    }

    private func takeWritten() -> Batch {
        let out = driver.takeOutput()
        return Batch(
            adopting: out.bytes, used: out.used, capacity: out.capacity, count: out.count,
            mayHoldObjects: out.mayHoldObjects)
    }

    private func commit(unused: Int) {
        let spare = unused
        driver.grant = 0
        guard driver.pending > 0 || spare > 0 else { return }
        let written = driver.pending > 0 ? takeWritten() : nil
        let count = written?.count ?? 0
        if output!.commit(written, unused: spare) {
            sent += count
        } else {
            droppedBehind += written?.dropValues() ?? 0
            driver.isClosed = true
        }
    }

    /// Messages read that took room in the input.
    private var read: UInt64 { marksAreDealt ? driver.received + driver.marks : driver.received }

    private func publishCounts() {
        guard let meter else { return }
        var counts = Meter.Counts(
            failed: Int(driver.failed), dropped: droppedIn + droppedOut, deadLettered: lettered, returned: returned)
        if isKey {
            counts.received = counts.failed + lettered
        } else {
            counts.received = Int(driver.received)
            counts.emitted = Int(driver.emitted)
            counts.filtered = Int(driver.filtered)
            counts.created = Int(driver.created)
            counts.consumed = Int(driver.consumed)
        }
        meter.add(counts - published)
        published = counts
    }

    private func creditAll() {
        guard let input else { return }
        let taken = Int(read - creditedUpTo)
        if taken > 0 {
            creditedUpTo = read
            input.credit(taken, bytes: 0, all: true)  // the batch's bytes: when it is retired
        }
    }

    private func inputEnded() {
        driver.isEnded = true
        if let seat {
            seat.log.finish()
            sequencer?.wake()
        }
    }

    private func install(_ batch: Batch) {
        batchBytes = batch.byteCount  // without the mark, as is what follows
        taken += batch.count
        if seat != nil {
            batch.appendMark()
            sequencer?.wake()
        }
        adaptive?.begin(scheduler.now)
        self.batch = batch
        driver.setInput(batch.start, count: batch.byteCount)
    }

    /// The batch has been read to its end.
    private func retire() {
        guard let input, let batch else { return }
        self.batch = nil
        driver.setInput(nil, count: 0)
        batch.drop()
        let memory = batch.surrender()
        if output != nil && driver.pending == 0 && memory.capacity <= 1 << 18 {
            driver.lend(memory.bytes, capacity: memory.capacity)
        } else {
            free(memory.bytes)
        }
        let taken = Int(read - creditedUpTo)
        creditedUpTo = read
        input.credit(taken, bytes: batchBytes, all: false)
        publishCounts()
    }

    /// The stage has ended: what it wrote goes out, what it did not read goes back or is dropped.
    func finish() {
        settle()
        if output != nil && driver.isRendezvous && driver.pending > 0 { droppedBehind += takeWritten().dropValues() }
        guard let input, let batch else { return }
        self.batch = nil
        if let unread = driver.unread {
            // what was read still holds its objects: they are released with the batch's front part
            let rest = Batch()
            var marks = 0
            while let message = batch.first {
                if UnsafeRawPointer(message) >= unread {
                    if message.isMark { marks += 1 } else { rest.append(message) }
                } else {
                    message.releaseObjects()
                }
                batch.removeFirst()
            }
            driver.setInput(nil, count: 0)
            if marksAreDealt && marks > 0 { input.credit(marks, bytes: 0, all: true) }
            if givesBack {
                let count = rest.count
                returned += count
                input.giveBack(rest)  // before the credit: nobody may slip in between
                input.credit(count, bytes: batchBytes, all: false)
            } else {
                let left = rest.drop()
                droppedIn += left
                input.credit(left, bytes: batchBytes, all: true)
            }
        }
    }
}

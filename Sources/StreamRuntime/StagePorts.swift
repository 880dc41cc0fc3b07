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
    enum Progress { case ready, waits }

    let driver: StageDriver
    let input: Channel?
    let output: Channel?
    private let scheduler: Scheduler
    /// Values taken at a time from the input.
    private let inputLimit: Int
    private let outputLimit: Int
    /// Values of a source channel that were not touched go back to it.
    private let givesBack: Bool
    private var batch: Batch?
    private var creditedUpTo: UInt64 = 0
    /// Which of the two the driver's last wait was for.
    private var waitsForOutput = false
    /// Values that found nobody, by reason `ended`.
    private(set) var droppedOut = 0, droppedIn = 0
    /// Decides what follows a failure: true, the stage goes on without the value; false, it ends.
    var onFailure: ((ScriptFailure) -> Bool)?
    /// Why the input or the output ended early, if a context ended.
    private(set) var endReason: Reason?
    /// What others may read meanwhile, and what of it stands there.
    var meter: Meter?
    private var published = Meter.Counts()

    init(
        driver: StageDriver, input: Channel?, output: Channel?, scheduler: Scheduler, inputLimit: Int, givesBack: Bool
    ) {
        self.driver = driver
        self.input = input
        self.output = output
        self.scheduler = scheduler
        self.inputLimit = inputLimit
        self.givesBack = givesBack
        outputLimit = output.map { max(1, min(256, $0.capacity / 2)) } ?? 0
        if let output {
            driver.isRendezvous = output.capacity == 0
            driver.grant = output.capacity == 0 ? 1 : 0
        }
    }

    /// What its driver's wait is for.
    var description: String {
        waitsForOutput ? "sending on \(output?.name ?? "nothing")" : "receiving from \(input?.name ?? "nothing")"
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
        let most = scheduler.batchLimit(inputLimit)
        switch input.takeBatch(most, nil) {
        case .batch(let batch): install(batch)
        case .closed: driver.isEnded = true
        case .empty, .waiting:
            settle()
            switch input.takeBatch(most, waiter) {
            case .batch(let batch): install(batch)
            case .closed: driver.isEnded = true
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
            case .sent: written.removeFirst()
            case .waiting:
                written.removeFirst()
                return .waits
            case .closed, .full:
                droppedOut += written.drop()
                driver.isClosed = true
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
        case .sent: break
        case .closed:
            if waiter.outbox.message != nil {
                waiter.outbox.drop()
                droppedOut += 1
            }
            if waitsForOutput { driver.isClosed = true } else { driver.isEnded = true }
        case .ended(let reason):
            if waiter.outbox.message != nil {
                waiter.outbox.drop()
                droppedOut += 1
            }
            input?.forget()
            output?.forget()
            abandon(reason)
        default: preconditionFailure("a stage's wait ends with a batch, with room, or not at all")
        }
    }

    /// The script's function has the channels itself.
    var isProcess: Bool { input == nil && output == nil }

    /// Ends a generator as at its natural end: what it has emitted goes out.
    func endEarly() { driver.isClosed = true }

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
        publish()
    }

    private func publish() {
        guard let meter else { return }
        let counts = Meter.Counts(
            received: Int(driver.received), emitted: Int(driver.emitted), filtered: Int(driver.filtered),
            failed: Int(driver.failed), dropped: droppedIn + droppedOut)
        meter.add(counts - published)
        published = counts
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
        if !output!.commit(written, unused: spare) {
            droppedOut += written?.drop() ?? 0
            driver.isClosed = true
        }
    }

    private func creditAll() {
        guard let input else { return }
        let taken = Int(driver.received - creditedUpTo)
        if taken > 0 {
            creditedUpTo = driver.received
            input.credit(taken, bytes: 0, all: true)  // the batch's bytes: when it is retired
        }
    }

    private func install(_ batch: Batch) {
        self.batch = batch
        driver.setInput(batch.start, count: batch.byteCount)
    }

    /// The batch has been read to its end.
    private func retire() {
        guard let input, let batch else { return }
        self.batch = nil
        driver.setInput(nil, count: 0)
        let bytes = batch.byteCount
        batch.drop()
        let memory = batch.surrender()
        if output != nil && driver.pending == 0 && memory.capacity <= 1 << 18 {
            driver.lend(memory.bytes, capacity: memory.capacity)
        } else {
            free(memory.bytes)
        }
        let taken = Int(driver.received - creditedUpTo)
        creditedUpTo = driver.received
        input.credit(taken, bytes: bytes, all: false)
        publish()
    }

    /// The stage has ended: what it wrote goes out, what it did not read goes back or is dropped.
    func finish() {
        settle()
        if output != nil && driver.isRendezvous && driver.pending > 0 { droppedOut += takeWritten().drop() }
        guard let input, let batch else { return }
        self.batch = nil
        if let unread = driver.unread {
            // what was read still holds its objects: they are released with the batch's front part
            let rest = Batch(), bytes = batch.byteCount
            while let message = batch.first {
                if UnsafeRawPointer(message) >= unread {
                    rest.append(message)
                } else {
                    message.releaseObjects()
                }
                batch.removeFirst()
            }
            driver.setInput(nil, count: 0)
            if givesBack {
                let count = rest.count
                input.giveBack(rest)  // before the credit: nobody may slip in between
                input.credit(count, bytes: bytes, all: false)
            } else {
                let left = rest.drop()
                droppedIn += left
                input.credit(left, bytes: bytes, all: true)
            }
        }
    }
}

// Where a pump takes messages.
import CMessage
import StreamCore

/// The reading side of a pump: batches of a channel, credited as their messages are handed on. Its pump's thread alone.
struct PumpInput {
    enum Progress { case ready, waits, ended }

    let channel: Channel
    /// The channel is a script's, which outlives the pipeline: what was not passed on goes back to it.
    let givesBack: Bool
    private var batch: Batch?
    private var consumed = 0, consumedBytes = 0
    /// Messages handed on so far, taken from the channel, and given back to it.
    private(set) var total = 0, taken = 0, returned = 0

    init(_ channel: Channel, givesBack: Bool) {
        self.channel = channel
        self.givesBack = givesBack
    }

    /// The first message that was not handed on.
    var first: MessagePointer? { batch?.first }

    /// Gets messages. Where it must wait for them, `beforeWait` comes first: nothing stays private that a neighbour
    /// could use.
    mutating func fill(_ scheduler: Scheduler, _ waiter: Waiter, beforeWait: () -> Void) -> Progress {
        if let batch, !batch.isEmpty { return .ready }
        batch = nil
        credit(all: false)
        let most = scheduler.batchLimit(givesBack ? 1 : 256)
        switch channel.takeBatch(most, nil) {
        case .batch(let taken): install(taken)
        case .closed: return .ended
        case .empty, .waiting:
            beforeWait()
            switch channel.takeBatch(most, waiter) {
            case .batch(let taken): install(taken)
            case .closed: return .ended
            case .empty, .waiting: return .waits
            }
        }
        return .ready
    }

    /// The wait that `fill` began is over.
    mutating func resumed(_ waiter: Waiter) {
        guard let taken = waiter.batch else { return }
        install(taken)
        waiter.batch = nil
    }

    private mutating func install(_ batch: Batch) {
        taken += batch.count
        self.batch = batch
    }

    /// The first message has been handed on, or dropped; its objects are the caller's.
    mutating func advance() {
        consumedBytes += batch!.first!.size
        batch!.removeFirst()
        consumed += 1
        total += 1
    }

    /// The first message, `message`, is dropped with its objects.
    mutating func advance(dropping message: MessagePointer) {
        message.releaseObjects()
        advance()
    }

    mutating func credit(all: Bool) {
        guard consumed > 0 else { return }
        channel.credit(consumed, bytes: consumedBytes, all: all)
        consumed = 0
        consumedBytes = 0
    }

    /// The pump has ended: what it did not hand on goes back, or is dropped. Returns how many were dropped.
    mutating func release(_ waiter: Waiter) -> Int {
        resumed(waiter)
        credit(all: true)
        channel.forget()
        guard let rest = batch, !rest.isEmpty else { return 0 }
        batch = nil
        let count = rest.count, bytes = rest.byteCount
        var dropped = 0
        if givesBack {
            returned += count
            channel.giveBack(rest)  // before the credit: nobody may slip in between
        } else {
            dropped = rest.drop()
        }
        channel.credit(count, bytes: bytes, all: false)
        return dropped
    }
}

// The senders, receivers and disturbers of a seeded channel run: jobs that do one operation a step.
import CMessage
import StreamCore

class ChannelParty: Job, WaiterOwner, @unchecked Sendable {  // one thread, by the seeded scheduler
    unowned let run: ChannelRun
    let sends: Bool
    private(set) var waiter: Waiter!
    private(set) var isDone = false
    private var isWaiting = false, isReady = false

    init(_ run: ChannelRun, sends: Bool) {
        self.run = run
        self.sends = sends
        super.init(scheduler: run.scheduler)
        waiter = Waiter(owner: self)
    }

    var channel: Channel { run.channel }
    var name: String { "\(type(of: self))" }

    func ready(_ waiter: Waiter) {
        run.observe(waiter)
        isReady = true
        wake()
    }

    final override func work() -> Outcome {
        if isDone || isWaiting && !isReady { return .park }
        if isWaiting {
            isWaiting = false
            isReady = false
            if case .ended = waiter.outcome { channel.forget() }
            resumed(waiter.outcome)
        } else {
            step()
        }
        run.checkCapacity()
        return isDone || isWaiting ? .park : .again
    }

    func wait() { isWaiting = true }

    func finish() {
        isDone = true
        run.ended(self)
    }

    func step() {}
    func resumed(_ outcome: WaitOutcome) {}
}

final class SingleSender: ChannelParty, @unchecked Sendable {  // as its parent
    private let id: Int
    private var left: Int
    /// It sends by a select of two values on the same channel.
    private let select: Select?
    private let text = UnsafeMutableRawPointer.allocate(byteCount: 32, alignment: 8)

    init(_ run: ChannelRun, id: Int, count: Int, selects: Bool) {
        self.id = id
        left = count
        select = selects ? Select() : nil
        super.init(run, sends: true)
    }

    deinit { text.deallocate() }

    private func step(_ select: Select) {
        for place in [text, text + 16] {
            _ = integerMessage(integerValue(run.create(sender: id, number: 1000 - left)), at: place)
        }
        select.begin(messages: text, used: 32, holdsObjects: false)
        select.addSend(channel, index: 1, offset: 0)
        select.addSend(channel, index: 2, offset: 16)
        var outcome = select.attempt(random: run.scheduler.random(), into: waiter.inbox)
        if outcome == .pending { outcome = select.wait(waiter, into: waiter.inbox) }
        if outcome == .pending { return wait() }
        if case .sent = outcome { run.inFlight += 1 }
        resumed(outcome)
    }

    override func step() {
        guard left > 0 else { return finish() }
        left -= 1
        if let select { return step(select) }
        switch channel.send(run.create(sender: id, number: 1000 - left), waiter) {
        case .sent: run.inFlight += 1
        case .waiting: wait()
        case .closed:
            run.returned += 1
            finish()
        case .full, .overflow: run.fail("a send with a waiter was refused as full")
        }
    }

    override func resumed(_ outcome: WaitOutcome) {
        if let select {
            run.returned += 1
            select.finish(waiter, outcome)
        }
        if case .sent = outcome { return }
        waiter.outbox.drop()
        run.returned += 1
        if case .closed = outcome { return finish() }
        if run.below(2) == 0 { finish() }
    }
}

final class BatchWriter: ChannelParty, @unchecked Sendable {  // as its parent
    private let id: Int
    private var left: Int
    private var granted = 0

    init(_ run: ChannelRun, id: Int, count: Int) {
        self.id = id
        left = count
        super.init(run, sends: true)
    }

    override func step() {
        if left == 0 { return finish() }
        if granted == 0 {
            switch channel.reserve(1 + run.below(5), waiter) {
            case .granted(let n):
                granted = n
                run.inFlight += n
            case .waiting: wait()
            case .closed: finish()
            }
            return
        }
        let batch = Batch()
        let count = 1 + run.below(min(granted, left))
        for _ in 0..<count {
            left -= 1
            batch.append(run.create(sender: id, number: 1000 - left))
        }
        let unused = left == 0 || run.below(3) == 0 ? granted - count : 0
        if channel.commit(batch, unused: unused) {
            granted -= count + unused
            run.inFlight -= unused
        } else {
            run.inFlight -= granted
            run.returned += batch.drop()
            finish()
        }
    }

    override func resumed(_ outcome: WaitOutcome) {
        if case .granted(let n) = outcome {
            granted = n
        } else if outcome == .closed(index: 0) || run.below(2) == 0 {
            finish()
        }
    }
}

final class SingleReceiver: ChannelParty, @unchecked Sendable {  // as its parent
    private var appetite: Int
    /// It receives by a select that has the same channel twice.
    private let select: Select?

    init(_ run: ChannelRun, appetite: Int, selects: Bool) {
        self.appetite = appetite
        select = selects ? Select() : nil
        super.init(run, sends: false)
    }

    private func step(_ select: Select) {
        select.begin(messages: nil, used: 0, holdsObjects: false)
        select.addReceive(channel, index: 1)
        select.addReceive(channel, index: 2)
        var outcome = select.attempt(random: run.scheduler.random(), into: waiter.inbox)
        if outcome == .pending { outcome = select.wait(waiter, into: waiter.inbox) }
        if outcome == .pending { return wait() }
        if case .received = outcome { run.inFlight -= 1 }
        resumed(outcome)
    }

    override func step() {
        guard appetite > 0 else { return finish() }
        appetite -= 1
        if let select { return step(select) }
        switch channel.receive(waiter) {
        case .received:
            run.inFlight -= 1
            use()
        case .waiting: wait()
        case .closed: finish()
        case .empty: run.fail("a receive with a waiter was refused as empty")
        }
    }

    override func resumed(_ outcome: WaitOutcome) {
        select?.finish(waiter, outcome)
        if case .received = outcome { return use() }
        if case .closed = outcome { return finish() }
        if run.below(2) == 0 { finish() }
    }

    private func use() {
        run.deliver(waiter.inbox.message!)
        waiter.inbox.drop()
    }
}

final class BatchReader: ChannelParty, @unchecked Sendable {  // as its parent
    private var appetite: Int
    private var batch = Batch()
    private var uncredited = 0

    init(_ run: ChannelRun, appetite: Int) {
        self.appetite = appetite
        super.init(run, sends: false)
    }

    override func step() {
        if appetite == 0 { return leave() }
        if let message = batch.first {
            run.deliver(message)
            batch.removeFirst()
            appetite -= 1
            uncredited += 1
            if run.below(3) == 0 { credit(all: false) }
            return
        }
        let most = 1 + run.below(5)
        switch channel.takeBatch(most, nil) {
        case .batch(let taken): take(taken)
        case .closed: leave()
        case .waiting: run.fail("a reader without a waiter was told to wait")
        case .empty:
            credit(all: true)
            switch channel.takeBatch(most, waiter) {
            case .batch(let taken): take(taken)
            case .closed: leave()
            case .waiting: wait()
            case .empty: run.fail("a reader with a waiter was not told to wait")
            }
        }
    }

    override func resumed(_ outcome: WaitOutcome) {
        if outcome == .batch {
            batch = waiter.batch!
            waiter.batch = nil
        } else if outcome == .closed(index: 0) || run.below(2) == 0 {
            leave()
        }
    }

    private func take(_ taken: Batch) {
        batch = taken
        if channel.capacity == 0 { run.inFlight -= taken.count }
    }

    private func credit(all: Bool) {
        if channel.capacity > 0 { run.inFlight -= uncredited }
        channel.credit(uncredited, bytes: 16 * uncredited, all: all)
        uncredited = 0
    }

    /// What it has not read goes back or is dropped.
    private func leave() {
        uncredited += batch.count
        if channel.capacity > 0 && run.below(2) == 0 {
            run.inFlight += batch.count
            channel.giveBack(batch)
        } else {
            run.dropped += batch.drop()
        }
        credit(all: true)
        finish()
    }
}

/// Ends waits of others as a cancelled context does.
final class Canceller: Job, @unchecked Sendable {  // one thread, by the seeded scheduler
    private unowned let run: ChannelRun
    private var delay: Int, times: Int

    init(_ run: ChannelRun, delay: Int, times: Int) {
        self.run = run
        self.delay = delay
        self.times = times
        super.init(scheduler: run.scheduler)
    }

    override func work() -> Outcome {
        delay -= 1
        guard delay < 0 else { return .again }
        let party = run.anyParty
        if party.waiter.claimCurrent() {
            party.waiter.outcome = .ended(.canceled)
            party.ready(party.waiter)
        }
        times -= 1
        return times > 0 ? .again : .park
    }
}

/// Closes the reading side at some moment.
final class ReadCloser: Job, @unchecked Sendable {  // one thread, by the seeded scheduler
    private unowned let run: ChannelRun
    private var delay: Int

    init(_ run: ChannelRun, delay: Int) {
        self.run = run
        self.delay = delay
        super.init(scheduler: run.scheduler)
    }

    override func work() -> Outcome {
        delay -= 1
        guard delay < 0 else { return .again }
        run.closeReading()
        return .park
    }
}

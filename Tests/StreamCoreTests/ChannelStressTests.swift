// Channels between jobs on real threads.
import Glibc
import Schedules
import Synchronization
import Testing

@testable import StreamCore

/// What the jobs of one run share.
private final class Books: Sendable {
    let delivered = Atomic<Int>(0), sum = Atomic<Int>(0), producers: Atomic<Int>, running: Atomic<Int>
    init(producers: Int, consumers: Int) {
        self.producers = Atomic(producers)
        running = Atomic(producers + consumers)
    }
}

private class StressJob: Job, WaiterOwner, @unchecked Sendable {  // its job lets one thread at a time in
    let channel: Channel, books: Books
    private(set) var waiter: Waiter!
    private let isReady = Atomic<Bool>(false)
    private var isWaiting = false, isDone = false

    init(_ scheduler: Scheduler, _ channel: Channel, _ books: Books) {
        self.channel = channel
        self.books = books
        super.init(scheduler: scheduler)
        waiter = Waiter(owner: self)
    }

    func ready(_ waiter: Waiter) {
        isReady.store(true, ordering: .releasing)
        wake()
    }

    enum Step { case on, wait, end }
    func step() -> Step { .end }
    func resumed(_ outcome: WaitOutcome) -> Step { .end }

    final override func work() -> Outcome {
        if isDone { return .park }  // a wake that came late
        for _ in 0..<100 {
            let step: Step
            if isWaiting {
                guard isReady.exchange(false, ordering: .acquiring) else { return .park }
                isWaiting = false
                step = resumed(waiter.outcome)
            } else {
                step = self.step()
            }
            switch step {
            case .on: continue
            case .wait: isWaiting = true
            case .end:
                isDone = true
                books.running.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                return .park
            }
        }
        return .again
    }
}

private final class Producer: StressJob, @unchecked Sendable {  // as its parent
    var left = 0, granted = 0
    var batches = false
    private let text = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
    deinit { text.deallocate() }

    override func step() -> Step {
        guard left > 0 else {
            if granted > 0 { _ = channel.commit(nil, unused: granted) }
            if books.producers.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 { channel.close() }
            return .end
        }
        if !batches {
            left -= 1
            return channel.send(integerMessage(Int64(left), at: text), waiter) == .waiting ? .wait : .on
        }
        if granted == 0 {
            guard case .granted(let n) = channel.reserve(16, waiter) else { return .wait }
            granted = n
        }
        let batch = Batch()
        for _ in 0..<min(left, granted) {
            left -= 1
            granted -= 1
            batch.append(integerMessage(Int64(left), at: text))
        }
        _ = channel.commit(batch, unused: 0)
        return .on
    }

    override func resumed(_ outcome: WaitOutcome) -> Step {
        if case .granted(let n) = outcome { granted = n }
        return .on
    }
}

private final class Consumer: StressJob, @unchecked Sendable {  // as its parent
    var batches = false

    override func step() -> Step {
        guard batches else {
            switch channel.receive(waiter) {
            case .received: return use()
            case .waiting: return .wait
            case .closed, .empty: return .end
            }
        }
        switch channel.takeBatch(16, waiter) {
        case .batch(let batch): return use(batch)
        case .waiting: return .wait
        case .closed, .empty: return .end
        }
    }

    override func resumed(_ outcome: WaitOutcome) -> Step {
        switch outcome {
        case .received: return use()
        case .batch:
            defer { waiter.batch = nil }
            return use(waiter.batch!)
        default: return .end
        }
    }

    private func use() -> Step {
        count(waiter.inbox.message!)
        waiter.inbox.drop()
        return .on
    }

    private func use(_ batch: Batch) -> Step {
        let n = batch.count
        while let message = batch.first {
            count(message)
            batch.removeFirst()
        }
        channel.credit(n, bytes: 0, all: true)
        return .on
    }

    private func count(_ message: MessagePointer) {
        books.delivered.wrappingAdd(1, ordering: .relaxed)
        books.sum.wrappingAdd(Int(integerValue(message)), ordering: .relaxed)
    }
}

@Suite(.serialized)
struct ChannelStressTests {
    @Test(arguments: [0, 1, 7, 256])
    func producersAndConsumersOnFourThreads_accountsBalance(capacity: Int) {
        let scheduler = ThreadScheduler(.init(threads: 4))
        scheduler.start()
        let each = 12_500, producers = 4, consumers = 3
        let channel = Channel(capacity: capacity), books = Books(producers: producers, consumers: consumers)
        var jobs: [Job] = []
        for index in 0..<producers {
            let producer = Producer(scheduler, channel, books)
            producer.left = each
            producer.batches = capacity > 0 && index % 2 == 1
            jobs.append(producer)
        }
        for index in 0..<consumers {
            let consumer = Consumer(scheduler, channel, books)
            consumer.batches = index % 2 == 1
            jobs.append(consumer)
        }
        for job in jobs { job.wake() }
        for _ in 0..<60_000 where books.running.load(ordering: .acquiring) > 0 { usleep(1000) }
        #expect(books.running.load(ordering: .acquiring) == 0, "someone waits for ever")
        scheduler.stop()
        let total = producers * each
        #expect(books.delivered.load(ordering: .relaxed) == total)
        #expect(books.sum.load(ordering: .relaxed) == producers * (each * (each - 1) / 2))
        let account = channel.account
        #expect(account.sent == UInt64(total) && account.received == UInt64(total) && account.dropped == 0)
        #expect(channel.count == 0)
    }
}

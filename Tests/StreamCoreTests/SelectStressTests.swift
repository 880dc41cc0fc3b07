// Selects between jobs on real threads.
import Glibc
import Schedules
import Synchronization
import Testing

@testable import StreamCore

/// What the jobs of one run share.
private final class Books: Sendable {
    let total: Int
    let created = Atomic<Int>(0), sentSum = Atomic<Int>(0), delivered = Atomic<Int>(0), sum = Atomic<Int>(0)
    let running: Atomic<Int>
    init(total: Int, jobs: Int) {
        self.total = total
        running = Atomic(jobs)
    }
}

/// Selects between sending what it has left and receiving, over all channels, until `done` is closed. Whoever receives
/// the last value of all closes it.
private final class Trader: Job, WaiterOwner, @unchecked Sendable {  // its job lets one thread at a time in
    private let channels: [Channel], done: Channel, books: Books
    private(set) var waiter: Waiter!
    private let select: Select
    private var left: Int
    private let receives: Bool
    private var generator: SplitMix64
    private let isReady = Atomic<Bool>(false)
    private var isWaiting = false, isDone = false
    private var value = 0
    private let text = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
    private let inbox = MessageBuffer()

    init(
        _ scheduler: Scheduler, _ channels: [Channel], _ done: Channel, _ books: Books, sends: Int, receives: Bool,
        seed: UInt64, fault: SelectFault?
    ) {
        self.channels = channels
        self.done = done
        self.books = books
        left = sends
        self.receives = receives
        generator = SplitMix64(seed: seed)
        select = Select(fault: fault)
        super.init(scheduler: scheduler)
        waiter = Waiter(owner: self)
    }

    deinit { text.deallocate() }

    func ready(_ waiter: Waiter) {
        isReady.store(true, ordering: .releasing)
        wake()
    }

    override func work() -> Outcome {
        if isDone { return .park }  // a wake that came late
        for _ in 0..<100 {
            var outcome: WaitOutcome
            if isWaiting {
                guard isReady.exchange(false, ordering: .acquiring) else { return .park }
                isWaiting = false
                outcome = waiter.outcome
                if case .received = outcome {
                    inbox.fill(waiter.inbox.message!)
                    waiter.inbox.drop()
                }
            } else {
                build()
                outcome = select.attempt(random: generator.next(), into: inbox)
                if outcome == .pending { outcome = select.wait(waiter, into: inbox) }
                if outcome == .pending {
                    isWaiting = true
                    continue
                }
            }
            select.finish(waiter, outcome)
            switch outcome {
            case .sent:
                books.sentSum.wrappingAdd(value, ordering: .relaxed)
                left -= 1
            case .received:
                books.sum.wrappingAdd(Int(integerValue(inbox.message!)), ordering: .relaxed)
                inbox.drop()
                let count = books.delivered.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
                if count == books.total { done.close() }
            default:
                isDone = true
                books.running.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                return .park
            }
            if left == 0 && !receives {
                isDone = true
                books.running.wrappingSubtract(1, ordering: .acquiringAndReleasing)
                return .park
            }
        }
        return .again
    }

    private func build() {
        if left > 0 {
            value = Int(generator.next() >> 32)
            _ = integerMessage(Int64(value), at: text)
        }
        select.begin(messages: text, used: 16, holdsObjects: false)
        // One value, offered on each channel; a select sends it once at most.
        var index = 0
        for channel in channels {
            index += 1
            if left > 0 { select.addSend(channel, index: index, offset: 0) }
            index += 1
            if receives { select.addReceive(channel, index: index) }
        }
        select.addReceive(done, index: index + 1)
    }
}

@Suite(.serialized)
struct SelectStressTests {
    private func run(capacities: [Int], fault: SelectFault? = nil, each: Int)
        -> String?
    {
        let scheduler = ThreadScheduler(.init(threads: 4))
        scheduler.start()
        let channels = capacities.map { Channel(capacity: $0) }, done = Channel(capacity: 0)
        // Some only send, some only receive, some do both and meet each other from both sides.
        let kinds: [(sends: Int, receives: Bool)] =
            Array(repeating: (each, false), count: 2) + Array(repeating: (0, true), count: 2)
            + Array(repeating: (each, true), count: 4)
        let books = Books(total: kinds.map(\.sends).reduce(0, +), jobs: kinds.count)
        let jobs = kinds.enumerated().map { number, kind in
            Trader(
                scheduler, channels, done, books, sends: kind.sends, receives: kind.receives, seed: UInt64(number),
                fault: fault)
        }
        for job in jobs { job.wake() }
        let limit = fault == nil ? 60_000 : 3000
        for _ in 0..<limit where books.running.load(ordering: .acquiring) > 0 { usleep(1000) }
        let isOver = books.running.load(ordering: .acquiring) == 0
        scheduler.stop()
        guard isOver else { return "someone waits for ever" }
        let delivered = books.delivered.load(ordering: .relaxed)
        if delivered != books.total { return "\(delivered) delivered of \(books.total)" }
        if books.sum.load(ordering: .relaxed) != books.sentSum.load(ordering: .relaxed) { return "the sums differ" }
        let accounts = channels.map(\.account)
        if accounts.map(\.sent).reduce(0, +) != UInt64(books.total) { return "the channels took another number" }
        return channels.contains { $0.count != 0 } ? "a value was left" : nil
    }

    @Test(arguments: [[0], [0, 0, 0], [0, 1, 7], [3, 3]])
    func tradersOnFourThreads_accountsBalance(capacities: [Int]) {
        #expect(run(capacities: capacities, each: 5000) == nil)
    }

    @Test func plantedBug_isFound() {
        #expect(run(capacities: [0, 0, 0], fault: .allCases, each: 2000) != nil)
    }
}

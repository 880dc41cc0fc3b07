// Threads that take turns with a scheduler of one thread.
import CMessage
import Synchronization
import Testing

@testable import StreamCore

@Suite struct TurnSeatTests {
    /// A source that counts how many run at a time.
    private final class Counting: HostSource {
        static let together = Atomic<Int>(0), most = Atomic<Int>(0)
        let values: Int
        init(values: Int) { self.values = values }

        func run(_ outlet: Outlet) throws(ConnectorError) {
            for value in 0..<values {
                let now = Self.together.wrappingAdd(1, ordering: .relaxed).newValue
                for _ in 0..<20 { Self.most.max(now, ordering: .relaxed) }
                Self.together.wrappingSubtract(1, ordering: .relaxed)
                // May park, and then it is another's turn.
                let isOpen = "\(value)".utf8CString.withUnsafeBytes {
                    outlet.send(text: UnsafeRawBufferPointer(rebasing: $0.dropLast()), kind: UInt8(MSG_STRING))
                }
                if value % 7 == 0 { outlet.flush() }
                if !isOpen { return }
            }
        }
        func stop() {}
    }

    /// Takes what there is; logs who it is.
    private final class Taker: Job, WaiterOwner, @unchecked Sendable {  // one thread
        let channel: Channel, name: Int
        var log: (Int) -> Void
        var waiter: Waiter!
        var count = 0, isOver = false

        init(_ channel: Channel, _ name: Int, scheduler: Scheduler, log: @escaping (Int) -> Void) {
            self.channel = channel
            self.name = name
            self.log = log
            super.init(scheduler: scheduler)
            waiter = Waiter(owner: self)
        }

        func ready(_ waiter: Waiter) { wake() }

        override func work() -> Outcome {
            while !isOver {
                if case .batch = waiter.outcome, let batch = waiter.batch {
                    waiter.batch = nil
                    waiter.outcome = .pending
                    take(batch)
                }
                switch channel.takeBatch(4, waiter) {
                case .batch(let batch): take(batch)
                case .closed: isOver = true
                case .waiting, .empty: return .park
                }
            }
            return .park
        }

        private func take(_ batch: Batch) {
            let taken = batch.count, bytes = batch.byteCount
            count += taken
            for _ in 0..<taken { log(name) }
            _ = batch.drop()
            channel.credit(taken, bytes: bytes, all: false)
        }
    }

    private func run(_ seed: UInt64) -> (order: [Int], trace: UInt64) {
        let scheduler = SeededScheduler(seed: seed)
        var order: [Int] = []
        let ended = Atomic<Int>(0)
        let takers = (0..<3).map { name in
            Taker(Channel(capacity: 5, name: "c\(name)"), name, scheduler: scheduler) { order.append($0) }
        }
        for taker in takers {
            let channel = taker.channel
            let outlet = Outlet(
                channel: channel, scheduler: scheduler, context: Context(scheduler: scheduler)
            ) { _, _ in false }
            start(Counting(values: 40), outlet, scheduler: scheduler) { _ in
                ended.wrappingAdd(1, ordering: .relaxed)
                channel.close()
            }
            taker.wake()
        }
        scheduler.run()
        #expect(takers.map(\.count) == [40, 40, 40])
        let allOver = takers.allSatisfy { $0.isOver }
        #expect(allOver)
        #expect(ended.load(ordering: .relaxed) == 3)
        return (order, scheduler.trace)
    }

    @Test func threads_runOneAtATime_inTheSeedsOrder() {
        var orders: Set<[Int]> = []
        for seed in 1...60 as ClosedRange<UInt64> {
            let first = run(seed), second = run(seed)
            #expect(first.order == second.order)
            #expect(first.trace == second.trace)
            orders.insert(first.order)
        }
        #expect(orders.count > 50)
        #expect(Counting.most.load(ordering: .relaxed) == 1)
    }
}

// The sizes of batches and of the parts of a queue: decisions without a scheduler.
import Testing

@testable import StreamRuntime

@Suite struct AdaptiveBatchTests {
    private func after(_ durations: [Int64], capacity: Int = 256, workers: Int = 2) -> Int {
        var batch = AdaptiveBatch(capacity: capacity, workers: workers)
        var now: Int64 = 1_000
        for duration in durations {
            batch.begin(now)
            now += duration
            batch.end(now)
        }
        return batch.size
    }

    @Test func startsWithOneValue() { #expect(after([]) == 1) }

    @Test func doublesWhileBatchesAreQuick_upToHalfTheQueueForAllWorkers() {
        #expect(after([0]) == 2)
        #expect(after([1_000, 1_000, 1_000]) == 8)
        #expect(after([Int64](repeating: 10, count: 20)) == 64)
        #expect(after([Int64](repeating: 10, count: 20), capacity: 1 << 20) == 256)
        #expect(after([Int64](repeating: 10, count: 20), capacity: 3) == 1)
        #expect(after([Int64](repeating: 10, count: 20), capacity: 0) == 1)
    }

    @Test func staysInBetween() { #expect(after([10, 10, 1_000_000, 1_000_000]) == 4) }

    @Test func halvesAfterSlowBatches_downToOne() {
        #expect(after([10, 10, 10, 3_000_000]) == 4)
        #expect(after([10, 10, 10, 3_000_000, 3_000_000, 3_000_000, 3_000_000]) == 1)
    }

    @Test func aWaitWithoutABatchIsNoBatch() {
        var batch = AdaptiveBatch(capacity: 256, workers: 2)
        batch.end(5)
        batch.end(6)
        #expect(batch.size == 1)
    }
}

@Suite struct QueueSplitTests {
    @Test(arguments: [(256, 2), (256, 3), (256, 5), (100, 4), (7, 3), (1_000_000, 4096), (6, 6)])
    func partsAddUpToTheQueue(_ queue: Int, _ parts: Int) {
        let split = QueueSplit(queue: queue, parts: parts)
        #expect(split.front + parts * split.lane == queue)
        #expect(split.lane >= 1)
        #expect(split.front >= 0)
    }

    @Test func aQueueTooSmallToBeSplit_isOneEach() {
        #expect(QueueSplit(queue: 0, parts: 3) == QueueSplit(queue: 1, parts: 3))
        #expect(QueueSplit(queue: 2, parts: 3).lane == 1)
        #expect(QueueSplit(queue: 2, parts: 3).front == 0)
    }

    @Test func withoutADealer_theLinkIsTheQueue() { #expect(QueueSplit(queue: 17, parts: 0).front == 17) }
}

// Limiters shared by threads, seen by a clock outside.
import Glibc
import Synchronization
import Testing

@testable import StreamCore

struct LimiterThreadTests {
    private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> [Passage]) -> [Passage] {
        let shared = Shared()
        let threads = (0..<count).map { index in
            spawn(stack: 512 << 10) {
                let uses = body(index)
                shared.lock.withLock { shared.all += uses }
            }
        }
        for thread in threads { pthread_join(thread, nil) }
        return shared.lock.withLock { shared.all }
    }

    /// Not a Mutex of the library's: ThreadSanitizer does not see that one.
    private final class Shared: @unchecked Sendable {  // `lock` guards `all`
        let lock = Lock()
        var all: [Passage] = []
    }

    @Test(arguments: [(1000.0, 5), (50_000, 1), (3_000_000, 100)] as [(Double, Int64)])
    func threads_neverPassMoreThanBurstAndRate(_ rate: Double, _ burst: Int64) {
        let scheduler = ThreadScheduler(.init(threads: 1))
        let limiter = Limiter(
            LimiterSpec(.tokenBucket(rate: rate, burst: burst), name: "limiter"), scheduler: scheduler)
        let began = scheduler.now
        let uses = onThreads(3) { _ in
            var uses: [Passage] = []
            while true {
                let before = scheduler.now
                if before - began > 150_000_000 { return uses }
                if limiter.allow(1) { uses.append(Passage(before: before, after: scheduler.now)) }
            }
        }
        #expect(Passage.most(uses, rate: rate) <= Double(burst) + 1e-3)
        // and what the rate earns is not lost: three threads that ask all the time get nearly all of it
        let time = Double((uses.map(\.after).max() ?? 0) - began) / 1e9
        #expect(Double(uses.count) >= min(1, rate * time / 2))
    }

    /// The rate changes all the time: tokens are neither minted nor lost by that.
    @Test func threads_andChangesOfRate_neverPassMore() {
        let scheduler = ThreadScheduler(.init(threads: 1))
        let limiter = Limiter(LimiterSpec(.tokenBucket(rate: 2000, burst: 10), name: "limiter"), scheduler: scheduler)
        let began = scheduler.now
        let uses = onThreads(3) { index in
            var uses: [Passage] = [], turn = 0
            while true {
                let before = scheduler.now
                if before - began > 200_000_000 { return uses }
                if index == 0 {
                    turn += 1
                    _ = limiter.setRate(turn % 2 == 0 ? 2000 : 1000 + Double(turn % 1000), scheduler.now)
                    usleep(20)
                } else if limiter.allow(1) {
                    uses.append(Passage(before: before, after: scheduler.now))
                }
            }
        }
        #expect(Passage.most(uses, rate: 2000) <= 10 + 1e-3)
        let time = Double(scheduler.now - began) / 1e9
        #expect(Double(uses.count) >= 0.3 * 1000 * time)
    }

    @Test func permits_ofManyThreads_areNeverMoreThanTheLimit_andAllComeBack() {
        let scheduler = ThreadScheduler(.init(threads: 1))
        let limiter = Limiter(LimiterSpec(.concurrency(limit: 2), name: "limiter"), scheduler: scheduler)
        let inside = Inside()
        _ = onThreads(4) { _ in
            for _ in 0..<20_000 where limiter.allow(1) {
                inside.enter()
                inside.leave()
                limiter.releaseNow()
            }
            return []
        }
        #expect(inside.most.load(ordering: .relaxed) <= 2)
        #expect(inside.most.load(ordering: .relaxed) >= 1)
        #expect(limiter.available(scheduler.now) == 2)
    }

    private final class Inside: Sendable {
        let count = Atomic<Int>(0), most = Atomic<Int>(0)
        func enter() {
            let now = count.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
            _ = most.max(now, ordering: .sequentiallyConsistent)
        }
        func leave() { count.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
    }
}

// The state machines of limiters, one table each.
import Testing

@testable import StreamCore

private let second: Int64 = 1_000_000_000

struct ExactRateTests {
    /// A rate, tokens, and the nanoseconds that they take from nothing: tokens x 10^9 / rate, rounded up.
    @Test(
        arguments: [
            (1.0, 1, 1_000_000_000), (3, 1, 333_333_334), (3, 3, 1_000_000_000),
            (3, 3_000_000_000, 1_000_000_000_000_000_000),
            (7e8, 1, 2), (7e8, 7, 10), (7e8, 700_000_000, 1_000_000_000), (1e9, 1, 1),
            (1e9, 86_400_000_000_000, 86_400_000_000_000),
            (0.5, 1, 2_000_000_000), (0.1, 1, 10_000_000_000), (0.1, 1000, 10_000_000_000_000),
            (10, 19, 1_900_000_000),
            // the double is 4.5e-17 of itself less than a millionth: a twentieth of a nanosecond more, rounded up
            (1e-6, 1, 1_000_000_000_000_001),
        ] as [(Double, Int64, Int64)])
    func time_ofTokens(_ rate: Double, _ tokens: Int64, _ time: Int64) {
        #expect(ExactRate(rate).time(for: tokens, having: 0) == time)
    }

    @Test func time_thatNoClockShows_isNil() {
        #expect(ExactRate(1e-6).time(for: 1_000_000_000_000, having: 0) == nil)
        #expect(ExactRate(1).time(for: 5_000_000_000, having: 0) == nil)
    }

    /// Ten years of nanoseconds in uneven steps, at rates that binary and decimal fractions do not hold.
    @Test(arguments: [1e-6, 0.1, 1.0 / 3, 3, 333.3, 7e8, 1e9])
    func earned_inSteps_isEarnedAtOnce(_ perSecond: Double) {
        let rate = ExactRate(perSecond)
        let years: Int64 = 10 * 365 * 86_400 * second
        var generator = SplitMix64(seed: 5), left = years, sum: UInt128 = 0
        while left > 0 {
            let step = min(left, Int64(generator.next() % 40_000_000_000_000) + 1)
            sum += rate.earned(step)
            left -= step
        }
        #expect(sum == rate.earned(years))
    }

    @Test func convert_keepsThePartOfAToken_roundedDown() {
        let three = ExactRate(3), tenth = ExactRate(0.1)
        // a token of three a second is 10^9 units, and one of a tenth a multiple of that
        #expect(three.token == 1_000_000_000)
        #expect(tenth.convert(666_666_666, from: three) == tenth.token / 1_000_000_000 * 666_666_666)
        #expect(three.convert(tenth.token / 1_000_000_000 * 5 + 1, from: tenth) == 5)
        #expect(three.convert(tenth.token / 1_000_000_000 * 5 - 1, from: tenth) == 4)
    }
}

struct TokenBucketTests {
    @Test func bucket_inUseForYears_hasNoDrift() {
        // Ten a second, one taken as each comes: after 10^8 of them the next comes exactly a tenth later.
        var bucket = TokenBucket(rate: ExactRate(3), burst: 3, now: 0)
        bucket.take(3)
        var now: Int64 = 0
        for n in 1...300_000 as ClosedRange<Int64> {
            now = bucket.earliest(1)!
            #expect(now == (n * second + 2) / 3)
            bucket.settle(now)
            bucket.take(1)
        }
    }

    @Test func changeOfRate_keepsWhatWasEarned() {
        var bucket = TokenBucket(rate: ExactRate(1), burst: 10, now: 0)
        bucket.take(10)
        bucket.change(rate: ExactRate(4), second / 2)  // half a token; the other half takes an eighth of a second
        #expect(bucket.earliest(1) == second / 2 + second / 8)
        bucket.change(rate: ExactRate(0.5), second / 2)
        #expect(bucket.earliest(1) == second / 2 + second)
    }

    @Test func manyTokensTaken_movesTheAnchor_andLosesNothing() {
        var bucket = TokenBucket(rate: ExactRate(1e9), burst: 2, now: 0)
        let long = -LimiterWord.leastTokens
        bucket.take(2)
        bucket.take(long)
        let before = bucket.earliest(1)!
        bucket.settle(long - 5)
        #expect(bucket.tokens > LimiterWord.leastTokens / 2)
        #expect(bucket.earliest(1) == before)
        #expect(before == long + 1)
    }

    @Test func settle_pastTheBurst_loses_andTheSmallerBurstToo() {
        var bucket = TokenBucket(rate: ExactRate(10), burst: 5, now: 0)
        bucket.settle(100 * second)
        #expect(bucket.level(100 * second) == .init(whole: 5, part: 0))
        bucket.change(burst: 2)
        bucket.settle(100 * second)
        #expect(bucket.level(100 * second) == .init(whole: 2, part: 0))
        bucket.change(burst: 8)
        #expect(!bucket.holds(3, 100 * second))
    }
}

struct WindowTests {
    /// Requests, of so many at a time in milliseconds, and whether they pass at a limit of 3 in 100 ms.
    private struct Request {
        let at: Int64, n: Int64, fixed: Bool, sliding: Bool
        init(_ at: Int64, _ n: Int64, fixed: Bool, sliding: Bool) {
            (self.at, self.n, self.fixed, self.sliding) = (at, n, fixed, sliding)
        }
    }

    private let requests = [
        Request(50, 2, fixed: true, sliding: true),  // the first window is 50..<150
        Request(60, 2, fixed: false, sliding: false),
        Request(140, 1, fixed: true, sliding: true),
        Request(149, 1, fixed: false, sliding: false),
        Request(150, 2, fixed: true, sliding: true),  // what passed at 50 counts no more
        Request(160, 1, fixed: true, sliding: false),
        Request(239, 1, fixed: false, sliding: false),
        Request(240, 1, fixed: false, sliding: true),  // what passed at 140 counts no more
        Request(250, 4, fixed: false, sliding: false),
        Request(250, 3, fixed: true, sliding: false),
        Request(1000, 3, fixed: true, sliding: true),
    ]

    @Test func fixedWindow_letsThrough_atMostTheLimitInEachWindowOfTheGrid() {
        var queue = LimiterQueue<Int>(.fixed(FixedWindow(limit: 3, window: 100)))
        for request in requests { #expect(queue.take(request.n, request.at) == request.fixed, "\(request)") }
    }

    @Test func slidingWindow_letsThrough_atMostTheLimitInAnyWindow() {
        var queue = LimiterQueue<Int>(.sliding(SlidingWindow(limit: 3, window: 100)))
        for request in requests { #expect(queue.take(request.n, request.at) == request.sliding, "\(request)") }
    }

    @Test func slidingWindow_remembersNoMoreThanItsLimit() {
        var window = SlidingWindow(limit: 50, window: 100)
        for now in 0..<10_000 as Range<Int64> {
            window.settle(now)
            if window.holds(1) { window.take(1, now) }
            #expect(window.entries <= 50)
        }
    }
}

struct AdaptiveRateTests {
    @Test func rate_risesUnderTheTarget_fallsAboveIt_andStaysInItsBounds() {
        var rate = AdaptiveRate(bounds: 10...1000, target: 100, rate: 10)
        #expect(rate.report(latency: 100, ok: true, 0) == 10 + 99 / 10.0)
        #expect(rate.report(latency: 101, ok: true, 0) == 19.9 * 0.8)
        #expect(rate.report(latency: 1, ok: false, 99) == nil)  // sent before the rate was lowered
        #expect(rate.report(latency: 1, ok: false, 100) == 19.9 * 0.8 * 0.8)
        var generator = SplitMix64(seed: 1)
        for now in 1_000..<20_000 as Range<Int64> {
            let latency = Int64(generator.next() % (now < 10_000 ? 101 : 200))
            _ = rate.report(latency: latency, ok: generator.next() % 1000 > 0, now * 10)
            #expect((10...1000).contains(rate.rate))
        }
        for now in 0..<30 as Range<Int64> { _ = rate.report(latency: 101, ok: true, 1_000_000 + now * 100) }
        #expect(rate.rate == 10)
        for now in 0..<20_000 as Range<Int64> { _ = rate.report(latency: 1, ok: true, 2_000_000 + now) }
        #expect(rate.rate == 1000)
    }
}

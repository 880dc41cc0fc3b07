// What a limiter is made of.
import CLimiter

/// The parameters of a limiter, checked.
public struct LimiterSpec: Sendable {
    public enum Kind: Sendable, Equatable {
        /// Bursts up to `burst`, then `rate` a second.
        case tokenBucket(rate: Double, burst: Int64)
        /// Even spacing at `rate`; `capacity` more than the one that passes may wait.
        case leakyBucket(rate: Double, capacity: Int64)
        /// `window` in nanoseconds.
        case fixedWindow(limit: Int64, window: Int64)
        case slidingWindow(limit: Int64, window: Int64)
        case concurrency(limit: Int64)
        /// A token bucket whose rate moves; `target` in nanoseconds.
        case adaptive(min: Double, max: Double, target: Int64, burst: Int64)
    }

    /// What becomes of a rate outside of the bounds.
    public enum OutOfBounds: Sendable { case reject, clamp, fixedWindow }

    public var kind: Kind
    public var name: String
    public var bounds: ClosedRange<Double>?
    public var outOfBounds = OutOfBounds.reject
    /// So many keys have a limiter of their own at a time.
    public var keys = 10_000

    public init(_ kind: Kind, name: String) {
        self.kind = kind
        self.name = name
        if case .adaptive(let least, let most, _, _) = kind { bounds = least...most }
    }

    public static let accepted = ExactRate.accepted
    /// Of a burst, a limit, a capacity.
    public static let largest = Int64(LIMITER_LARGEST)
    public static let largestSlidingWindow = SlidingWindow.largestLimit

    var capacity: Int64? { if case .leakyBucket(_, let capacity) = kind { capacity } else { nil } }

    /// Tokens a second.
    var rate: Double {
        switch kind {
        case .tokenBucket(let rate, _), .leakyBucket(let rate, _): rate
        case .fixedWindow(let limit, let window), .slidingWindow(let limit, let window):
            Double(limit) / (Double(window) / 1e9)
        case .concurrency: 0
        case .adaptive(let least, _, _, _): least
        }
    }

    /// The state at the beginning, with nothing taken.
    func rule(_ now: Int64) -> LimiterRule {
        switch kind {
        case .tokenBucket(let rate, let burst), .adaptive(let rate, _, _, let burst):
            .bucket(TokenBucket(rate: ExactRate(rate), burst: burst, now: now))
        case .leakyBucket(let rate, _): .bucket(TokenBucket(rate: ExactRate(rate), burst: 1, now: now))
        case .fixedWindow(let limit, let window): .fixed(FixedWindow(limit: limit, window: window))
        case .slidingWindow(let limit, let window): .sliding(SlidingWindow(limit: limit, window: window))
        case .concurrency(let limit): .permits(free: limit, limit: limit)
        }
    }

    /// The same with another rate. Nil: a window would let nothing through.
    func with(rate: Double) -> LimiterSpec? {
        var spec = self
        switch kind {
        case .tokenBucket(_, let burst): spec.kind = .tokenBucket(rate: rate, burst: burst)
        case .leakyBucket(_, let capacity): spec.kind = .leakyBucket(rate: rate, capacity: capacity)
        case .fixedWindow(_, let window):
            guard let limit = Self.limit(rate, window, Self.largest) else { return nil }
            spec.kind = .fixedWindow(limit: limit, window: window)
        case .slidingWindow(_, let window):
            guard let limit = Self.limit(rate, window, Self.largestSlidingWindow) else { return nil }
            spec.kind = .slidingWindow(limit: limit, window: window)
        case .concurrency: return nil
        case .adaptive(_, let most, let target, let burst):
            spec.kind = .adaptive(min: rate, max: most, target: target, burst: burst)
        }
        return spec
    }

    /// rate x window, in whole ones; what is less than a millionth short of one is one, for a rate such as 10 / 3.
    private static func limit(_ rate: Double, _ window: Int64, _ most: Int64) -> Int64? {
        let limit = (rate * (Double(window) / 1e9) + 1e-6).rounded(.down)
        return limit >= 1 && limit <= Double(most) ? Int64(limit) : nil
    }

    /// The same with another burst: a leaky bucket's capacity, a window's limit.
    func with(burst: Int64) -> LimiterSpec {
        var spec = self
        switch kind {
        case .tokenBucket(let rate, _): spec.kind = .tokenBucket(rate: rate, burst: burst)
        case .leakyBucket(let rate, _): spec.kind = .leakyBucket(rate: rate, capacity: burst)
        case .fixedWindow(_, let window): spec.kind = .fixedWindow(limit: burst, window: window)
        case .slidingWindow(_, let window): spec.kind = .slidingWindow(limit: burst, window: window)
        case .concurrency: spec.kind = .concurrency(limit: burst)
        case .adaptive(let least, let most, let target, _):
            spec.kind = .adaptive(min: least, max: most, target: target, burst: burst)
        }
        return spec
    }

    /// The state machine of this spec, which goes on from `old`.
    func follow(_ old: LimiterRule, held: Int64, _ now: Int64) -> LimiterRule {
        switch (old, kind) {
        case (.bucket(var bucket), .tokenBucket(let rate, let burst)),
            (.bucket(var bucket), .adaptive(let rate, _, _, let burst)):
            bucket.change(rate: ExactRate(rate), now)
            bucket.change(burst: burst)
            return .bucket(bucket)
        case (.bucket(var bucket), .leakyBucket(let rate, _)):
            bucket.change(rate: ExactRate(rate), now)
            return .bucket(bucket)
        case (.fixed(var window), .fixedWindow(let limit, let length)) where window.window == length:
            window.change(limit: limit)
            return .fixed(window)
        case (.sliding(var window), .slidingWindow(let limit, _)):
            window.change(limit: limit)
            return .sliding(window)
        default: return resume(old.isFull(now) ? .max : old.available(now), now)
        }
    }

    /// The state machine of this spec, with no more than `left` there at `now`.
    private func resume(_ left: Int64, _ now: Int64) -> LimiterRule {
        var rule = rule(now)
        switch rule {
        case .fixed(let window):
            return .fixed(FixedWindow(limit: window.limit, window: window.window, left: left, now: now))
        default:
            let taken = rule.most - max(0, min(rule.most, left))
            if taken > 0 { rule.take(taken, now) }
            return rule
        }
    }

    /// What a rate out of bounds degrades to: a fixed window of a second, or of the time that the bound needs for one.
    static func degraded(_ bound: Double, from old: LimiterRule, _ now: Int64) -> LimiterRule {
        let limit = max(1, Int64(bound))
        let window = bound >= 1 ? 1_000_000_000 : Int64((1e9 / bound).rounded(.up))
        if case .fixed(var same) = old, same.window == window {
            same.change(limit: limit)
            return .fixed(same)
        }
        let left = old.isFull(now) ? limit : old.available(now)
        return .fixed(FixedWindow(limit: limit, window: window, left: left, now: now))
    }
}

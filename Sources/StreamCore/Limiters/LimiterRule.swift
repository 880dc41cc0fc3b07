// What limiters have in common: one face for their state machines.

/// The state machine that a limiter has now.
enum LimiterRule: Sendable {
    case bucket(TokenBucket)
    case fixed(FixedWindow)
    case sliding(SlidingWindow)
    /// Permits that are free, of so many.
    case permits(free: Int64, limit: Int64)

    /// Brings the state to `now`. `bound`: a bucket may hold so much, for someone who waits for it.
    mutating func settle(_ now: Int64, bound: Int64 = 0) {
        switch self {
        case .bucket(var bucket):
            bucket.settle(now, bound: bound)
            self = .bucket(bucket)
        case .fixed(var window):
            window.settle(now)
            self = .fixed(window)
        case .sliding(var window):
            self = .permits(free: 0, limit: 0)  // its log is not shared while it changes
            window.settle(now)
            self = .sliding(window)
        case .permits: break
        }
    }

    /// Whether `n` tokens are there, in a state that was settled.
    func holds(_ n: Int64, _ now: Int64) -> Bool {
        switch self {
        case .bucket(let bucket): bucket.holds(n, now)
        case .fixed(let window): window.holds(n)
        case .sliding(let window): window.holds(n)
        case .permits(let free, _): free >= n
        }
    }

    /// The first moment at which `n` are there if nobody takes any; nil: that is no matter of time.
    func earliest(_ n: Int64, _ now: Int64) -> Int64? {
        switch self {
        case .bucket(let bucket): bucket.earliest(n)
        case .fixed(let window): window.earliest(n, now)
        case .sliding(let window): window.earliest(n, now)
        case .permits: nil
        }
    }

    mutating func take(_ n: Int64, _ now: Int64) {
        switch self {
        case .bucket(var bucket):
            bucket.take(n)
            self = .bucket(bucket)
        case .fixed(var window):
            window.take(n, now)
            self = .fixed(window)
        case .sliding(var window):
            self = .permits(free: 0, limit: 0)
            window.take(n, now)
            self = .sliding(window)
        case .permits(let free, let limit): self = .permits(free: free - n, limit: limit)
        }
    }

    /// Whole tokens that are there.
    func available(_ now: Int64) -> Int64 {
        switch self {
        case .bucket(let bucket): bucket.level(now).whole
        case .fixed(let window): window.left
        case .sliding(let window): window.limit - window.count
        case .permits(let free, _): free
        }
    }

    /// Nothing that was taken counts any more.
    func isFull(_ now: Int64) -> Bool { available(now) >= most }

    /// The most that is ever there at once.
    var most: Int64 {
        switch self {
        case .bucket(let bucket): bucket.burst
        case .fixed(let window): window.limit
        case .sliding(let window): window.limit
        case .permits(_, let limit): limit
        }
    }

    // MARK: The atomic word

    var word: LimiterSlot.State {
        get {
            switch self {
            case .bucket(let bucket):
                .init(anchor: bucket.anchor, tokens: bucket.tokens, hasPart: bucket.part != 0)
            case .fixed(let window): .init(anchor: window.began, tokens: window.left)
            case .sliding: .init()
            case .permits(let free, _): .init(tokens: free)
            }
        }
        set {
            switch self {
            case .bucket(var bucket):
                bucket.restore(anchor: newValue.anchor, tokens: newValue.tokens, hasPart: newValue.hasPart)
                self = .bucket(bucket)
            case .fixed(var window):
                window.restore(began: newValue.anchor, left: newValue.tokens)
                self = .fixed(window)
            case .sliding: break
            case .permits(_, let limit): self = .permits(free: newValue.tokens, limit: limit)
            }
        }
    }

    var slot: LimiterSlot {
        switch self {
        case .bucket(let bucket):
            LimiterSlot(
                kind: .bucket, most: bucket.burst, gain: bucket.rate.gain, token: bucket.rate.token,
                mostTokens: bucket.rate.most, part: bucket.part)
        case .fixed(let window): LimiterSlot(kind: .window, most: window.limit, window: window.window)
        case .sliding: LimiterSlot()
        case .permits(_, let limit): LimiterSlot(kind: .permits, most: limit)
        }
    }

    /// Decisions on the word need no lock.
    var isLockFree: Bool { if case .sliding = self { false } else { true } }
}

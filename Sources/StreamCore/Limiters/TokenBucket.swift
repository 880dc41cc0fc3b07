// The token bucket, and the leaky bucket that is one of its forms.

/// Tokens that are earned at a rate up to a burst: a state machine without a clock.
///
/// The generic cell rate algorithm (ITU-T I.371) in its form as a virtual level: what is kept is a moment, `anchor`, and the
/// whole tokens that were there then, less what was taken since. The level at a later moment is
/// tokens + part + rate x (moment - anchor), computed anew each time and exactly; only a full bucket moves the anchor.
/// So a bucket in use for years has no drift.
struct TokenBucket: Sendable {
    private(set) var rate: ExactRate
    private(set) var burst: Int64
    /// At this moment `tokens` and `part`, in units of the rate and less than one token, were there; taken since: less.
    private(set) var anchor: Int64
    private(set) var tokens: Int64
    private(set) var part: UInt128 = 0

    /// Full at `now`.
    init(rate: ExactRate, burst: Int64, now: Int64) {
        self.rate = rate
        self.burst = burst
        anchor = now
        tokens = burst
    }

    /// The same bucket in a state that was kept elsewhere.
    mutating func restore(anchor: Int64, tokens: Int64, hasPart: Bool) {
        self.anchor = anchor
        self.tokens = tokens
        if !hasPart { part = 0 }
    }

    /// A level: whole tokens, and units of the rate.
    struct Level: Comparable {
        var whole: Int64
        var part: UInt128
        static func < (a: Level, b: Level) -> Bool { a.whole == b.whole ? a.part < b.part : a.whole < b.whole }
    }

    private func units(_ now: Int64) -> UInt128 { part + rate.earned(max(0, now - anchor)) }

    func level(_ now: Int64) -> Level {
        let (whole, rest) = units(now).quotientAndRemainder(dividingBy: rate.token)
        return Level(whole: tokens + Int64(min(whole, UInt128(1 << 62))), part: rest)
    }

    func holds(_ n: Int64, _ now: Int64) -> Bool {
        let missing = n - tokens
        if missing <= 0 { return true }
        return missing <= rate.most && units(now) >= UInt128(missing) &* rate.token
    }

    /// The first moment at which `n` tokens are there, if none is taken; nil: none that a clock shows.
    func earliest(_ n: Int64) -> Int64? {
        rate.time(for: n - tokens, having: part).map { anchor + $0 }
    }

    /// What is over the burst, or over `bound` if that is more, flows over.
    mutating func settle(_ now: Int64, bound: Int64 = 0) {
        let most = max(burst, bound)
        guard tokens > most || holds(most, now) else { return rebase(now) }
        anchor = max(anchor, now)
        tokens = most
        part = 0
    }

    /// Takes tokens that are there.
    mutating func take(_ n: Int64) { tokens -= n }

    /// Puts `level` back: of tokens that were taken and not used.
    mutating func put(_ level: Level) {
        let sum = sum(Level(whole: tokens, part: part), level)
        tokens = sum.whole
        part = sum.part
    }

    func sum(_ a: Level, _ b: Level) -> Level {
        let part = a.part + b.part
        return part >= rate.token
            ? Level(whole: a.whole + b.whole + 1, part: part - rate.token) : Level(whole: a.whole + b.whole, part: part)
    }

    /// Lets the anchor follow when so many tokens were taken since that their number grows long. What is less than a unit
    /// is nothing: units are whole.
    private mutating func rebase(_ now: Int64) {
        guard tokens < LimiterWord.leastTokens / 2 else { return }
        move(to: now)
    }

    private mutating func move(to now: Int64) {
        let level = level(now)
        anchor = max(anchor, now)
        tokens = level.whole
        part = level.part
    }

    /// What was earned at the old rate stays.
    mutating func change(rate new: ExactRate, _ now: Int64) {
        move(to: now)
        part = new.convert(part, from: rate)
        rate = new
    }

    /// A larger burst gives no tokens; what is over a smaller one is lost at the next `settle`.
    mutating func change(burst new: Int64) { burst = new }

    /// `level` in units of another rate; rounded up.
    static func convert(_ level: Level, from old: ExactRate, to new: ExactRate) -> Level {
        if old == new { return level }
        let part = new.convert(level.part, from: old) + (level.part == 0 ? 0 : 1)
        return part >= new.token ? Level(whole: level.whole + 1, part: 0) : Level(whole: level.whole, part: part)
    }

    /// `a` less `b`, if that is more than nothing.
    func difference(_ a: Level, _ b: Level) -> Level? {
        guard a > b else { return nil }
        if a.part >= b.part { return Level(whole: a.whole - b.whole, part: a.part - b.part) }
        return Level(whole: a.whole - b.whole - 1, part: rate.token - b.part + a.part)
    }
}

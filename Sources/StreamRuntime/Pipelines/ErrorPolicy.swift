// What follows a failure of a stage for one value: the policy, and the states that decide by it. Pure: time and chance are
// parameters.

/// The option `on_error`. In this order: so many tries more, then a dead letter, else it stops or skips; and each failure
/// after the tries may cost the stage its worker.
struct ErrorPolicy: Sendable, Equatable {
    /// Tries after the first one.
    var retries = 0
    /// Before the second try, in nanoseconds, doubled for each further one; 0: at once.
    var backoff: Int64 = 0
    /// The value goes to a sink or a channel.
    var hasLetters = false
    /// Without dead letters the value is lost, and the stage goes on.
    var skips = false
    /// So many fresh workers within `window`; nil: the worker stays.
    var restarts: Int?
    var window: Int64 = 60_000_000_000

    static let stop = ErrorPolicy()
    static let skip = ErrorPolicy(skips: true)

    /// Nothing but stop or skip.
    var isPlain: Bool { retries == 0 && !hasLetters && restarts == nil }

    /// No wait is longer, in nanoseconds.
    static let longestBackoff: Int64 = 30_000_000_000

    /// The wait before a try, the first after a failure being 1: exponential with equal jitter, between half of the
    /// doubled backoff and all of it, so each is at least as long as the one before. M. Brooker, "Exponential Backoff And
    /// Jitter", AWS Architecture Blog, 2015.
    static func wait(before attempt: Int, backoff: Int64, random: () -> UInt64) -> Int64 {
        guard backoff > 0 else { return 0 }
        let most = max(backoff, longestBackoff)  // one that is longer from the start is not cut
        var ceiling = backoff
        for _ in 1..<max(1, attempt) where ceiling < most { ceiling = ceiling > most / 2 ? most : 2 * ceiling }
        let half = ceiling / 2
        return half + Int64(random() % UInt64(ceiling - half + 1))
    }
}

/// The tries that one worker has spent on the value that a stage has.
struct RetryState {
    /// Which value it was: a number that differs from the next one's.
    private var value: UInt64?
    private var spent = 0

    enum Decision: Equatable {
        /// Again, so many nanoseconds later.
        case retry(after: Int64)
        case giveUp
    }

    /// The function failed for the value of this number.
    mutating func failed(_ value: UInt64, _ policy: ErrorPolicy, random: () -> UInt64) -> Decision {
        if self.value != value {
            self.value = value
            spent = 0
        }
        guard spent < policy.retries else { return .giveUp }
        spent += 1
        return .retry(after: ErrorPolicy.wait(before: spent, backoff: policy.backoff, random: random))
    }
}

/// When a stage's workers were replaced: at most so many times within so long, as an Erlang supervisor's intensity and
/// period ("Supervision Principles", OTP Design Principles).
struct RestartWindow {
    private var times: [Int64] = []

    /// Whether one more is allowed now; it is noted then.
    mutating func restart(most: Int, within window: Int64, at now: Int64) -> Bool {
        times.removeAll { now - $0 >= window }
        guard times.count < most else { return false }
        times.append(now)
        return true
    }

    /// Those within the time that was asked about last.
    var count: Int { times.count }
}

/// What the worker does next.
enum Judgement {
    /// The value is tried again.
    case retry
    /// The value is done with, and the stage goes on.
    case goOn
    /// The stage ends.
    case stop
    /// The worker ends, and a fresh one goes on with the next value.
    case replace
    /// It waits, and `onJudged` tells.
    case waits
}

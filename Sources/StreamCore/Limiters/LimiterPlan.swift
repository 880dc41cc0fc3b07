// When those who wait will be served, as far as can be known.

/// Tokens that are somebody's at a time that was told: a reservation.
struct LimiterBooking {
    let id: UInt64
    let n: Int64
    let time: Int64
    /// Nobody can give it back any more.
    var isFinal = false
}

/// The state machine as it will be after those that were placed: each gets the first moment at which its tokens are there
/// and what is booked for later stays possible.
///
/// - Complexity: `place` is O(1) without bookings, else O(bookings) for each that it tries to come before.
struct LimiterPlan {
    private var state: LimiterRule
    private var bookings: ArraySlice<LimiterBooking>
    private let isLeaky: Bool
    /// When the last one was placed.
    private var clock: Int64

    /// What is held counts as taken at `now`.
    init(_ rule: LimiterRule, held: Int64, _ bookings: [LimiterBooking], isLeaky: Bool, _ now: Int64) {
        state = rule
        if held > 0 { state.take(held, now) }
        self.bookings = bookings[...]
        self.isLeaky = isLeaky
        clock = now
    }

    /// Nil: that is no matter of time.
    mutating func place(_ n: Int64, _ now: Int64) -> Int64? {
        clock = max(clock, now)
        while true {
            state.settle(clock, bound: isLeaky ? n : 0)
            guard let earliest = state.earliest(n, clock) else { return nil }
            let time = max(earliest, clock)
            guard let first = bookings.first else {
                take(n, time)
                return time
            }
            if time <= first.time {
                var trial = state
                trial.settle(time, bound: isLeaky ? n : 0)
                trial.take(n, time)
                if Self.fits(bookings, into: &trial, isLeaky: isLeaky) {
                    take(n, time)
                    return time
                }
            }
            bookings.removeFirst()
            take(first.n, first.time)
        }
    }

    private mutating func take(_ n: Int64, _ time: Int64) {
        state.settle(time, bound: isLeaky ? n : 0)
        state.take(n, time)
        clock = max(clock, time)
    }

    /// Whether each booking finds its tokens at its time.
    static func fits(_ bookings: ArraySlice<LimiterBooking>, into state: inout LimiterRule, isLeaky: Bool) -> Bool {
        for booking in bookings {
            state.settle(booking.time, bound: isLeaky ? booking.n : 0)
            guard state.holds(booking.n, booking.time) else { return false }
            state.take(booking.n, booking.time)
        }
        return true
    }
}

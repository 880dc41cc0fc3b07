// At most so many in each window of a fixed grid.

/// Windows that follow one another from the first request on: a state machine without a clock.
struct FixedWindow: Sendable {
    private(set) var limit: Int64
    let window: Int64
    /// When the current window began; `.min`: there was no request yet.
    private(set) var began: Int64 = .min
    /// What it still lets through; below 0 after the limit was lowered.
    private(set) var left: Int64

    /// - Parameter window: nanoseconds, at least 1.
    init(limit: Int64, window: Int64) {
        self.limit = limit
        self.window = window
        left = limit
    }

    /// One whose first window begins at `now` and lets no more than `left` through.
    init(limit: Int64, window: Int64, left: Int64, now: Int64) {
        self.init(limit: limit, window: window)
        self.left = max(0, min(limit, left))
        began = now
    }

    mutating func restore(began: Int64, left: Int64) {
        self.began = began
        self.left = left
    }

    /// Goes on to the window of `now`.
    mutating func settle(_ now: Int64) {
        guard began != .min, now - began >= window else { return }
        began += (now - began) / window * window
        left = limit
    }

    /// Of the window that `settle` went on to.
    func holds(_ n: Int64) -> Bool { left >= n }

    /// The first moment at which `n` pass, if nothing else does: in this window, or in the next.
    func earliest(_ n: Int64, _ now: Int64) -> Int64? {
        if holds(n) { return now }
        return n <= limit ? began + window : nil
    }

    mutating func take(_ n: Int64, _ now: Int64) {
        if began == .min { began = now }
        left -= n
    }

    /// Of the window that began at `window`.
    mutating func put(_ n: Int64, takenIn window: Int64) { if window == began { left = min(limit, left + n) } }

    /// Those that passed in the current window count against the new limit.
    mutating func change(limit new: Int64) {
        left += new - limit
        limit = new
    }
}

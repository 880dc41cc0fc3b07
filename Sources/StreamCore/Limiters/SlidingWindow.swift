// At most so many in any window.
import DequeModule

/// A log of what passed when, for as long as a window: exact, in memory of up to 16 bytes for each of `limit`. A state
/// machine without a clock.
///
/// What passed at a moment counts until one window later, and no longer at that moment itself.
struct SlidingWindow: Sendable {
    /// So many entries the log may have to hold.
    static let largestLimit: Int64 = 10_000_000

    private(set) var limit: Int64
    let window: Int64
    private var log = Deque<(time: Int64, n: Int64)>()
    /// In the log.
    private(set) var count: Int64 = 0

    /// - Parameter window: nanoseconds, at least 1.
    init(limit: Int64, window: Int64) {
        self.limit = limit
        self.window = window
    }

    var entries: Int { log.count }

    /// Forgets what is a window old.
    mutating func settle(_ now: Int64) {
        while let first = log.first, now - first.time >= window {
            log.removeFirst()
            count -= first.n
        }
    }

    func holds(_ n: Int64) -> Bool { n <= limit - count }

    /// The first moment at which `n` pass, if nothing else does.
    func earliest(_ n: Int64, _ now: Int64) -> Int64? {
        guard n <= limit else { return nil }
        var excess = count + n - limit
        if excess <= 0 { return now }
        for entry in log {
            excess -= entry.n
            if excess <= 0 { return entry.time + window }
        }
        return nil
    }

    mutating func take(_ n: Int64, _ now: Int64) {
        count += n
        if let last = log.last, last.time >= now {  // two clocks read by two threads: the later one counts
            log[log.count - 1].n += n
        } else {
            log.append((now, n))
        }
    }

    /// What was taken at `time` was not used.
    mutating func put(_ n: Int64, takenAt time: Int64) {
        // the log is in order of time
        var low = 0, high = log.count
        while low < high {
            let middle = (low + high) / 2
            if log[middle].time < time { low = middle + 1 } else { high = middle }
        }
        guard low < log.count, log[low].time == time else { return }
        let back = min(n, log[low].n)
        log[low].n -= back
        count -= back
        if log[low].n == 0 { log.remove(at: low) }
    }

    mutating func change(limit new: Int64) { limit = new }
    /// When the last one passed.
    var last: Int64 { log.last?.time ?? .min }
}

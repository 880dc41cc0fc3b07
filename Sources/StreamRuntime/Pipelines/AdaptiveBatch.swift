// How many values a worker takes at a time from an input that it shares.

/// Starts with one value, so that slow ones spread evenly over the workers; doubles while batches are quick, so that
/// fast ones do not pay a lock each; halves when a batch takes long. Time is given, in nanoseconds.
struct AdaptiveBatch {
    /// A batch that took less may be twice as large the next time.
    static let quick: Int64 = 500_000
    /// After one that took more the next is half as large.
    static let slow: Int64 = 2_000_000

    private(set) var size = 1
    let most: Int
    private var began: Int64?

    /// - Parameters:
    ///   - capacity: of the shared input; all workers together never take more than half of it.
    init(capacity: Int, workers: Int) { most = min(256, max(1, capacity / (2 * workers))) }

    mutating func begin(_ now: Int64) { began = now }

    /// The batch in hand, if there is one, has been used up.
    mutating func end(_ now: Int64) {
        guard let began else { return }
        self.began = nil
        if now - began < Self.quick {
            size = min(2 * size, most)
        } else if now - began > Self.slow {
            size = max(1, size / 2)
        }
    }
}

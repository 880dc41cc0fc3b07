// A rate that finds its place.

/// Additive increase, multiplicative decrease: D.-M. Chiu and R. Jain, "Analysis of the increase and decrease algorithms
/// for congestion avoidance in computer networks", 1989, as TCP does it. Without a clock.
///
/// Each good report raises the rate by a tenth of its range, spread over as many reports as the rate has in a second: from
/// the least to the most it takes at least ten seconds. A bad one, which was no success or took longer than the target,
/// lowers it by a fifth; those that come within one target time of that were sent before it, and count with it.
struct AdaptiveRate: Sendable {
    let bounds: ClosedRange<Double>
    /// Nanoseconds.
    let target: Int64
    private(set) var rate: Double
    private var lowered: Int64 = .min

    init(bounds: ClosedRange<Double>, target: Int64, rate: Double) {
        self.bounds = bounds
        self.target = target
        self.rate = rate
    }

    /// What a call that took `latency` says; returns the new rate, if there is one.
    mutating func report(latency: Int64, ok: Bool, _ now: Int64) -> Double? {
        let before = rate
        if ok && latency <= target {
            let step = (bounds.upperBound - bounds.lowerBound) / 10
            rate = min(bounds.upperBound, rate + step / max(1, rate))
        } else if lowered == .min || now - lowered >= target {
            lowered = now
            rate = max(bounds.lowerBound, rate * 0.8)
        }
        return rate == before ? nil : rate
    }

    /// Goes on from there.
    mutating func set(_ new: Double) { rate = new }
}

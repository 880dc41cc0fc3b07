// Rates without rounding: a level that is read a billion times has not drifted by one part of a nanosecond.

/// A rate in tokens a second, as the fraction that its floating-point number is.
///
/// A double is m / 2^s. In units of 1 / (10^9 x 2^s) of a token, one nanosecond earns exactly m units and one token is
/// exactly 10^9 x 2^s of them, so what is earned in any time is a whole number: nothing is rounded, however often and in
/// whatever steps it is computed.
struct ExactRate: Sendable, Equatable {
    /// What is accepted, in tokens a second.
    static let accepted: ClosedRange<Double> = 1e-6...1e9

    let perSecond: Double
    /// Units earned in a nanosecond: below 2^53.
    let gain: UInt64
    /// Units of one token: below 2^103.
    let token: UInt128
    /// So many tokens, in units, fit into 128 bits; more of them are never earned: 2^63 ns earn less than 2^117 units.
    let most: Int64

    init(_ perSecond: Double) {
        precondition(Self.accepted.contains(perSecond), "a rate is checked before it gets here")
        self.perSecond = perSecond
        // perSecond = significand x 2^exponent, 52 bits behind the point
        var gain = (UInt64(perSecond.significandBitPattern) | 1 << 52)
        var shift = 52 - Int(perSecond.exponent)
        while shift > 0 && gain & 1 == 0 {
            gain >>= 1
            shift -= 1
        }
        self.gain = gain
        token = UInt128(1_000_000_000) << UInt128(shift)
        most = Int64(min(UInt128(1 << 47), UInt128.max / token - 1))
    }

    /// Units earned in `nanoseconds`, which are not negative.
    @inline(__always)
    func earned(_ nanoseconds: Int64) -> UInt128 {
        let (high, low) = gain.multipliedFullWidth(by: UInt64(bitPattern: nanoseconds))
        return UInt128(high) << 64 | UInt128(low)
    }

    /// Nanoseconds, rounded up, until `tokens` are earned of which `units` are there; nil: in no time that a clock shows.
    func time(for tokens: Int64, having units: UInt128) -> Int64? {
        if tokens <= 0 { return 0 }
        guard tokens <= most else { return nil }
        let wanted = UInt128(tokens) &* token
        guard wanted > units else { return 0 }
        let (quotient, rest) = (wanted - units).quotientAndRemainder(dividingBy: UInt128(gain))
        let time = rest == 0 ? quotient : quotient + 1
        return time < UInt128(Int64.max / 4) ? Int64(time) : nil
    }

    /// `units` of another rate, less than one token of it, in units of this one; rounded down, so nothing is minted.
    func convert(_ units: UInt128, from other: ExactRate) -> UInt128 {
        if other.token == token { return units }
        let product = units.multipliedFullWidth(by: token)
        return other.token.dividingFullWidth(product).quotient  // units < other.token: the quotient is below token
    }
}

// The state of a limiter in one atomic word, and the decisions that need no lock.
import CLimiter
import Synchronization

/// What changes with each decision, in 128 bits that are compared and exchanged at once: a moment, a number of tokens, and
/// the epoch of the parameters under which they are to be read.
///
/// A change of parameters writes a new slot and begins an epoch, so a decision that was computed with the old ones does not
/// come about: it neither loses nor mints tokens. Epochs repeat, but each change moves the anchor to its own time, so for
/// an old word to look like a new one, 2^15 changes would have to happen within a nanosecond. There are two slots, by turns:
/// a limiter of a key is small. Who still reads the one of an old epoch while it is written anew computes nonsense, with
/// arithmetic that does not trap, and its exchange fails.
///
/// While the word is `isSlow` only the holder of the limiter's lock changes it.
///
/// The decisions themselves are C's (`CLimiter`): a call from Lua comes to them without passing through Swift.
struct LimiterWord: ~Copyable, @unchecked Sendable {  // the pair is atomic, the slots follow the rule above
    private static let tokenShift = Int64(LIMITER_TOKEN_SHIFT)
    private static let epochMask = UInt64(LIMITER_EPOCH_MASK)
    /// Tokens are kept in 47 bits, signed. LIMITER_LEAST_TOKENS, which Swift does not see.
    static let leastTokens = -(Int64(1) << 45)

    /// Lives as long as the limiter.
    let pointer: UnsafeMutablePointer<limiter_word>

    /// - Parameter isSystemTime: decisions are taken at what the system's clock says.
    init(isSystemTime: Bool) {
        pointer = .allocate(capacity: 1)
        pointer.initialize(to: limiter_word())
        pointer.pointee.system_clock = isSystemTime
        pair.initialize(to: Atomic(WordPair(first: 0, second: 1)))
    }

    deinit { pointer.deallocate() }

    /// The word, as C exchanges it too.
    @inline(__always)
    private var pair: UnsafeMutablePointer<Atomic<WordPair>> {
        UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: Atomic<WordPair>.self)
    }

    @inline(__always)
    private var second: UInt64 {
        UInt64(
            (UnsafeMutableRawPointer(pointer) + 8).assumingMemoryBound(to: Atomic<UInt>.self).pointee
                .load(ordering: .relaxed))
    }

    // MARK: Decisions without a lock

    enum Decision { case granted, refused, slow }

    /// Takes `n` tokens if they are there at `now`.
    @inline(__always)
    func take(_ n: Int64, _ now: Int64) -> Decision {
        switch limiter_take(pointer, n, now) {
        case Int32(LIMITER_GRANTED): .granted
        case Int32(LIMITER_REFUSED): .refused
        default: .slow
        }
    }

    /// Puts one token back where nobody waits for it: a permit's. False: someone may, or the lock is held.
    func put() -> Bool { limiter_put(pointer) }

    private static func encode(_ state: LimiterSlot.State, epoch: UInt64, isSlow: Bool) -> WordPair {
        let second =
            UInt64(bitPattern: state.tokens << tokenShift) | epoch << 2 | (state.hasPart ? 2 : 0) | (isSlow ? 1 : 0)
        return WordPair(first: UInt(UInt64(bitPattern: state.anchor)), second: UInt(second))
    }

    private static let slotsOffset = MemoryLayout<limiter_word>.offset(of: \limiter_word.slots) ?? 16

    // MARK: Under the limiter's lock

    /// From now on nobody else changes the word; what it says.
    func seize() -> LimiterSlot.State {
        while true {
            let now = pair.pointee.load(ordering: .acquiring)
            let isSlow = now.second & 1 != 0
            if isSlow
                || pair.pointee.compareExchange(
                    expected: now, desired: WordPair(first: now.first, second: now.second | 1),
                    ordering: .acquiringAndReleasing
                ).exchanged
            {
                return LimiterSlot.State(
                    anchor: Int64(bitPattern: UInt64(now.first)),
                    tokens: Int64(bitPattern: UInt64(now.second)) >> Self.tokenShift, hasPart: now.second & 2 != 0)
            }
        }
    }

    /// Writes the word. `slot`: new parameters, which begin an epoch. `isSlow`: it stays the lock's.
    func publish(_ state: LimiterSlot.State, _ slot: LimiterSlot?, isSlow: Bool) {
        var epoch = second >> 2 & Self.epochMask
        if let slot {
            epoch = (epoch + 1) & Self.epochMask
            // By its place, as the word in front of it is read meanwhile: `pointee` would be an access to both.
            let slots = UnsafeMutableRawPointer(pointer) + Self.slotsOffset
            slots.assumingMemoryBound(to: limiter_slot.self)[Int(epoch & 1)] = slot.parameters
        }
        pair.pointee.store(Self.encode(state, epoch: epoch, isSlow: isSlow), ordering: .sequentiallyConsistent)
    }
}

/// The parameters by which a word is read: of a bucket, a fixed window, or permits.
struct LimiterSlot: Equatable {
    enum Kind: Int64 { case none, bucket, window, permits }

    var kind = Kind.none
    /// Burst, limit.
    var most: Int64 = 0
    var gain: UInt64 = 0
    /// Units of one token, and so many tokens at most are computed with.
    var token: UInt128 = 0
    var mostTokens: Int64 = 0
    /// What a bucket that was not full since the last change of rate had beyond its whole tokens.
    var part: UInt128 = 0
    var window: Int64 = 0

    struct State {
        var anchor: Int64 = 0
        var tokens: Int64 = 0
        var hasPart = false
    }

    /// As the decisions read them.
    var parameters: limiter_slot {
        func halves(_ wide: UInt128) -> (UInt64, UInt64) {
            (UInt64(truncatingIfNeeded: wide), UInt64(truncatingIfNeeded: wide >> 64))
        }
        return limiter_slot(
            kind: kind.rawValue, most: most, gain: gain, token: halves(token), most_tokens: mostTokens,
            part: halves(part), window: window)
    }
}

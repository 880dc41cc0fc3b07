// The state of a limiter in one atomic word, and the decisions that need no lock.
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
struct LimiterWord: ~Copyable, @unchecked Sendable {  // the pair is atomic, the slots follow the rule above
    /// What the parts of the second half mean: tokens << 17 | epoch << 2 | part << 1 | slow.
    private static let tokenShift: Int64 = 17
    private static let epochMask: UInt64 = 0x7FFF
    /// Tokens are kept in 47 bits, signed.
    static let leastTokens: Int64 = -(1 << 45)

    private static let slotCount = 2

    private let pair: UnsafeMutablePointer<Atomic<WordPair>>
    private let slots: UnsafeMutablePointer<LimiterSlot>

    init() {
        pair = .allocate(capacity: 1)
        pair.initialize(to: Atomic(WordPair(first: 0, second: 1)))
        slots = .allocate(capacity: Self.slotCount)
        slots.initialize(repeating: LimiterSlot(), count: Self.slotCount)
    }

    deinit {
        pair.deinitialize(count: 1)
        pair.deallocate()
        slots.deallocate()
    }

    /// The halves, read one after the other: a guess, which an exchange of both proves.
    @inline(__always)
    private var halves: UnsafeMutablePointer<Atomic<UInt>> {
        UnsafeMutableRawPointer(pair).assumingMemoryBound(to: Atomic<UInt>.self)
    }

    // MARK: Decisions without a lock

    enum Decision { case granted, refused, slow }

    /// Takes `n` tokens if they are there at `now`.
    @inline(__always)
    func take(_ n: Int64, _ now: Int64) -> Decision {
        for _ in 0..<64 {
            let first = halves[0].load(ordering: .acquiring), second = halves[1].load(ordering: .acquiring)
            if second & 1 != 0 { return .slow }
            let slot = slots + Int(second >> 2) & (Self.slotCount - 1)
            var state = LimiterSlot.State(
                anchor: Int64(bitPattern: UInt64(first)), tokens: Int64(bitPattern: UInt64(second)) >> Self.tokenShift,
                hasPart: second & 2 != 0)
            let isGranted = slot.pointee.take(n, now, &state)
            if state.tokens < Self.leastTokens { return .slow }
            if isGranted {
                let next = Self.encode(state, epoch: UInt64(second) >> 2 & Self.epochMask, isSlow: false)
                if pair.pointee.compareExchange(
                    expected: WordPair(first: first, second: second), desired: next, ordering: .acquiringAndReleasing
                ).exchanged {
                    return .granted
                }
            } else if halves[0].load(ordering: .acquiring) == first, halves[1].load(ordering: .acquiring) == second {
                return .refused
            }
        }
        return .slow
    }

    /// Puts one token back where nobody waits for it: a permit's. False: someone may, or the lock is held.
    func put() -> Bool {
        for _ in 0..<64 {
            let first = halves[0].load(ordering: .acquiring), second = halves[1].load(ordering: .acquiring)
            if second & 1 != 0 { return false }
            let next = WordPair(first: first, second: second &+ 1 << UInt(Self.tokenShift))
            if pair.pointee.compareExchange(
                expected: WordPair(first: first, second: second), desired: next, ordering: .acquiringAndReleasing
            ).exchanged {
                return true
            }
        }
        return false
    }

    private static func encode(_ state: LimiterSlot.State, epoch: UInt64, isSlow: Bool) -> WordPair {
        let second =
            UInt64(bitPattern: state.tokens << tokenShift) | epoch << 2 | (state.hasPart ? 2 : 0) | (isSlow ? 1 : 0)
        return WordPair(first: UInt(UInt64(bitPattern: state.anchor)), second: UInt(second))
    }

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
        var epoch = UInt64(halves[1].load(ordering: .relaxed)) >> 2 & Self.epochMask
        if let slot {
            epoch = (epoch + 1) & Self.epochMask
            slots[Int(epoch) & (Self.slotCount - 1)] = slot
        }
        pair.pointee.store(Self.encode(state, epoch: epoch, isSlow: isSlow), ordering: .sequentiallyConsistent)
    }
}

/// The parameters by which a word is read: of a bucket, a fixed window, or permits.
struct LimiterSlot: Equatable {
    enum Kind: UInt8 { case none, bucket, window, permits }

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

    /// Takes `n` tokens at `now` if they are there. As the state machines do it, but nothing here traps.
    @inline(__always)
    func take(_ n: Int64, _ now: Int64, _ state: inout State) -> Bool {
        switch kind {
        case .bucket:
            let elapsed = max(0, now &- state.anchor)
            let (high, low) = gain.multipliedFullWidth(by: UInt64(bitPattern: elapsed))
            var units = UInt128(high) &<< 64 | UInt128(low)
            if state.hasPart { units = units &+ part }
            let missingForAll = most &- state.tokens
            let isFull =
                missingForAll <= 0
                || missingForAll <= mostTokens && units >= UInt128(truncatingIfNeeded: missingForAll) &* token
            if isFull {
                guard n <= most else { return false }
                state = State(anchor: state.anchor &+ elapsed, tokens: most &- n, hasPart: false)
                return true
            }
            let missing = n &- state.tokens
            guard
                missing <= 0 || missing <= mostTokens && units >= UInt128(truncatingIfNeeded: missing) &* token
            else { return false }
            state.tokens = state.tokens &- n
            return true
        case .window:
            if state.anchor == .min {
                state.anchor = now
            } else {
                let elapsed = now &- state.anchor
                if elapsed >= window {
                    guard window > 0 else { return false }
                    state.anchor = state.anchor &+ elapsed / window &* window
                    state.tokens = most
                }
            }
            guard state.tokens >= n else { return false }
            state.tokens = state.tokens &- n
            return true
        case .permits:
            guard state.tokens >= n else { return false }
            state.tokens = state.tokens &- n
            return true
        case .none: return false
        }
    }
}

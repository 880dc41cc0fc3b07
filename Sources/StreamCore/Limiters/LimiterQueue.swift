// Those who wait for a limiter, in the order in which they came.
import DequeModule

/// A limiter's state machine with its queue: who is served when. Without a clock and without waiters of its own: time is a
/// parameter, and a party is whatever the caller waits by.
///
/// A party that is served holds its tokens until it has resumed, and they count as taken then: what passes is never nearer
/// to what passed before than an outside clock may see. A reservation counts as soon as its tokens are earned.
struct LimiterQueue<Party> {
    struct Entry {
        let id: UInt64
        let n: Int64
        let party: Party
        /// It must not end later than this, or fails with that reason.
        let limit: WaitLimit?
        /// It ended otherwise, and is passed over.
        var isDead = false
    }

    /// A reservation that got its tokens and may still be given back.
    private struct Spent {
        let id: UInt64
        let n: Int64
        /// When; of a fixed window, when that began.
        let time: Int64
        /// The highest level from then until the next of these: what would have flown over without it is not given back.
        var peak: TokenBucket.Level
    }

    private(set) var rule: LimiterRule
    /// A leaky bucket's: so many may wait.
    var capacity: Int64?
    private var entries = Deque<Entry>()
    private var dead = 0
    /// In order of time.
    private var bookings: [LimiterBooking] = []
    /// Tokens that those who wait want.
    private(set) var wanted: Int64 = 0
    /// Tokens of those who were served and have not resumed.
    private(set) var held: Int64 = 0
    private var served: [UInt64: Int64] = [:]
    private var spent: [Spent] = []
    private var plan: LimiterPlan?
    private var clock: Int64 = .min
    private let fault: LimiterFault?

    init(_ rule: LimiterRule, capacity: Int64? = nil, fault: LimiterFault? = nil) {
        self.rule = rule
        self.capacity = capacity
        self.fault = fault
    }

    /// Nobody waits, nothing is held, nothing can be given back: the atomic word alone says what the state is.
    var isQuiet: Bool { entries.isEmpty && held == 0 && spent.isEmpty && bookings.isEmpty }
    var isEmpty: Bool { entries.isEmpty }
    var waiting: Int { entries.count - dead }

    mutating func load(_ word: LimiterSlot.State) { rule.word = word }

    /// Whether `n` can ever pass at once or in turn.
    func fits(_ n: Int64) -> Bool { n <= (capacity.map { $0 + 1 } ?? rule.most) }

    /// Whole tokens for those who do not wait.
    mutating func available(_ now: Int64) -> Int64 {
        settle(now)
        guard entries.isEmpty else { return 0 }
        var most = max(0, rule.available(now) - held)
        if bookings.isEmpty { return most }
        // as much as leaves each booking what it needs
        var least: Int64 = 0
        while least < most {
            let middle = least + (most - least + 1) / 2
            if holds(middle, now) { least = middle } else { most = middle - 1 }
        }
        return least
    }

    /// A leaky bucket fills up for one who waits for several drops.
    private var bound: Int64 { capacity == nil ? 0 : max(held, entries.first?.n ?? 0, bookings.first?.n ?? 0) }

    /// Brings the state to `now`: what was booked until then is taken at its time.
    private mutating func settle(_ now: Int64) {
        while let first = bookings.first, first.time <= now {
            advance(first.time)
            bookings.removeFirst()
            rule.take(first.n, first.time)
            if !first.isFinal { spend(first.id, first.n, first.time) }
            plan = nil
        }
        advance(now)
    }

    /// Whether `n` are there, and each booking gets what it needs although they are taken.
    private func holds(_ n: Int64, _ now: Int64) -> Bool {
        guard rule.holds(held + n, now) else { return false }
        if bookings.isEmpty { return true }
        var state = rule
        state.take(held + n, now)
        return LimiterPlan.fits(bookings[...], into: &state, isLeaky: capacity != nil)
    }

    private mutating func advance(_ now: Int64) {
        rule.settle(now, bound: bound)
        clock = max(clock, now)
        guard !spent.isEmpty, case .bucket(let bucket) = rule else { return }
        let level = bucket.level(now)
        if level.whole >= bucket.burst { return spent.removeAll() }  // it is as full as it would be without them
        let last = spent.count - 1
        spent[last].peak = max(spent[last].peak, level)
    }

    // MARK: Asking

    /// Takes `n` if they are there and nobody waits for them.
    mutating func take(_ n: Int64, _ now: Int64) -> Bool {
        settle(now)
        guard entries.isEmpty, holds(n, now) else { return false }
        rule.take(n, now)
        plan = nil
        return true
    }

    enum Answer: Equatable {
        case granted
        /// It would end then, as far as can be known.
        case queued(Int64?)
        case refused(Reason)
    }

    /// What a wait for `n` comes to now. With `.queued` it has to `enqueue`, or to `book`, then.
    ///
    /// - Complexity: O(1) for a bucket without reservations; else, and with `isPromise`, O(those who wait and reservations).
    mutating func ask(
        _ n: Int64, _ now: Int64, limit: WaitLimit?, mayBeMore: Bool = false, isPromise: Bool = false
    ) -> Answer {
        guard fits(n) else { return .refused(.limited) }
        if take(n, now) { return .granted }
        if let capacity, !mayBeMore {
            // one passes at once
            let first: Int64 = entries.isEmpty && holds(1, now) ? 1 : 0
            let booked = bookings.reduce(0) { $0 + $1.n }
            if wanted + booked + n - first > capacity { return .refused(.limited) }
        }
        let end = planned(n, now, isPromise: isPromise)
        if let limit, let end, !limit.allows(end) {
            plan = nil  // it was placed there
            return .refused(limit.reason)
        }
        return .queued(end)
    }

    /// When `n` behind all who wait are there.
    private mutating func planned(_ n: Int64, _ now: Int64, isPromise: Bool) -> Int64? {
        // Not to be promised: what a full bucket loses in the nanosecond to which a time is rounded is left out.
        if case .bucket(let bucket) = rule, bookings.isEmpty, !isPromise { return bucket.earliest(held + wanted + n) }
        var plan = self.plan ?? currentPlan(now)
        self.plan = nil
        let end = plan.place(n, now)
        self.plan = plan  // with this one in it, who queues up next
        return end
    }

    private func currentPlan(_ now: Int64) -> LimiterPlan {
        var plan = LimiterPlan(rule, held: held, bookings, isLeaky: capacity != nil, now)
        for entry in entries where !entry.isDead { _ = plan.place(entry.n, now) }
        return plan
    }

    /// Queues up.
    mutating func enqueue(_ id: UInt64, _ n: Int64, _ party: Party, limit: WaitLimit?) {
        entries.append(Entry(id: id, n: n, party: party, limit: limit))
        wanted += n
    }

    /// Books `n` for `time`, as `ask` said it; what is there now is taken. It may be given back.
    mutating func book(_ id: UInt64, _ n: Int64, at time: Int64?, _ now: Int64) {
        guard let time else { return spend(id, n, now) }
        // among those of the same time the last
        let index = bookings.firstIndex { $0.time > time } ?? bookings.count
        bookings.insert(LimiterBooking(id: id, n: n, time: time), at: index)
        plan = nil
    }

    private mutating func spend(_ id: UInt64, _ n: Int64, _ now: Int64) {
        switch rule {
        case .bucket(let bucket): spent.append(Spent(id: id, n: n, time: now, peak: bucket.level(now)))
        case .fixed(let window):
            spent.append(Spent(id: id, n: n, time: window.began, peak: .init(whole: 0, part: 0)))
        case .sliding(let window):
            spent.append(Spent(id: id, n: n, time: window.last, peak: .init(whole: 0, part: 0)))
        case .permits: break
        }
    }

    // MARK: Serving

    /// Serves those whose tokens are there, in order. `claim` is false for one whose wait has ended otherwise.
    mutating func serve(_ now: Int64, claim: (Party) -> Bool) -> [Party] {
        var told: [Party] = []
        settle(now)
        while true {
            dropDead()
            guard let head = entries.first else { break }
            settle(now)  // for this head
            guard holds(head.n, now) else { break }
            removeFirst()
            plan = nil
            if claim(head.party) {
                held += head.n
                served[head.id] = head.n
                told.append(head.party)
            }
        }
        settle(now)
        forgetOld(now)
        return told
    }

    /// When the first of those who wait can be served; nil: that is no matter of time, or nobody waits.
    func next(_ now: Int64) -> Int64? {
        guard let head = entries.first(where: { !$0.isDead }) else { return nil }
        // Tokens that are held flow over before one more of a full bucket is earned: it waits for those who hold them.
        if held > 0, held + head.n > max(rule.most, bound) { return nil }
        if bookings.isEmpty { return rule.earliest(held + head.n, now) }
        var plan = LimiterPlan(rule, held: held, bookings, isLeaky: capacity != nil, now)
        return plan.place(head.n, now).map { max($0, now + 1) }
    }

    /// Takes what is booked until `now`: before the state machine changes.
    mutating func reach(_ now: Int64) { settle(now) }

    private mutating func removeFirst() {
        let head = entries.removeFirst()
        wanted -= head.n
    }

    private mutating func dropDead() {
        while let head = entries.first, head.isDead {
            entries.removeFirst()
            dead -= 1
        }
    }

    /// The one that was served has resumed: its tokens are taken at `now`.
    mutating func resumed(_ id: UInt64, _ now: Int64) {
        guard let n = served.removeValue(forKey: id) else { return }
        settle(now)
        held -= n
        rule.take(n, now)
        plan = nil
    }

    /// A wait that ended otherwise, or one that was served and will not resume, or a reservation that nobody uses. True:
    /// others may be served by it.
    mutating func giveBack(_ id: UInt64, _ now: Int64) -> Bool {
        plan = nil
        if let n = served.removeValue(forKey: id) {
            // A planted bug: a wait keeps its tokens when it is cancelled. It exists so that the tests can be tested.
            if fault == .tokensKept {
                rule.take(n, now)
            }
            held -= n
            return true
        }
        if let index = index(of: id), !entries[index].isDead {
            wanted -= entries[index].n
            if fault == .tokensKept { rule.take(entries[index].n, now) }
            entries[index].isDead = true
            dead += 1
            if 2 * dead > entries.count && dead > 32 {
                entries = Deque(entries.filter { !$0.isDead })
                dead = 0
            }
            dropDead()
            return true
        }
        settle(now)
        if let index = bookings.firstIndex(where: { $0.id == id }) {
            bookings.remove(at: index)
            return true
        }
        return restore(id, now)
    }

    private func index(of id: UInt64) -> Int? {
        var low = 0, high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].id == id ? low : nil
    }

    /// Gives back what a reservation has got: as much as would be there if it had never been made.
    private mutating func restore(_ id: UInt64, _ now: Int64) -> Bool {
        settle(now)
        guard let index = spent.firstIndex(where: { $0.id == id }) else { return false }
        let reservation = spent[index]
        switch rule {
        case .bucket(var bucket):
            // Its tokens are put back into the past: what would have flown over since then is lost, and the levels that
            // other reservations are measured by were higher.
            let full = TokenBucket.Level(whole: bucket.burst, part: 0)
            var back = TokenBucket.Level(whole: reservation.n, part: 0)
            for later in index..<spent.count {
                let peak = spent[later].peak
                spent[later].peak = min(full, bucket.sum(peak, back))
                back = min(back, bucket.difference(full, peak) ?? .init(whole: 0, part: 0))
            }
            bucket.put(back)
            rule = .bucket(bucket)
        case .fixed(var window):
            window.put(reservation.n, takenIn: reservation.time)
            rule = .fixed(window)
        case .sliding(var window):
            window.put(reservation.n, takenAt: reservation.time)
            rule = .sliding(window)
        case .permits: break
        }
        removeSpent(index)
        return true
    }

    private mutating func removeSpent(_ index: Int) {
        if index > 0 { spent[index - 1].peak = max(spent[index - 1].peak, spent[index].peak) }
        spent.remove(at: index)
    }

    /// Nobody can give this reservation back any more.
    mutating func forget(_ id: UInt64) {
        if let index = spent.firstIndex(where: { $0.id == id }) { removeSpent(index) }
        if let index = bookings.firstIndex(where: { $0.id == id }) { bookings[index].isFinal = true }
    }

    /// Of windows: reservations that count no more.
    private mutating func forgetOld(_ now: Int64) {
        guard let first = spent.first else { return }
        switch rule {
        case .fixed(let window): if first.time != window.began { spent.removeAll { $0.time != window.began } }
        case .sliding(let window):
            if now - first.time >= window.window { spent.removeAll { now - $0.time >= window.window } }
        default: break
        }
    }

    /// `n` permits are free again.
    mutating func put(_ n: Int64) {
        if case .permits(let free, let limit) = rule { rule = .permits(free: free + n, limit: limit) }
    }

    // MARK: Changes

    /// Changes the state machine. Returns those who now cannot end in time, with why; the others are served next.
    mutating func change(
        _ now: Int64, claim: (Party) -> Bool, to new: LimiterRule
    ) -> [(party: Party, reason: Reason)] {
        let before = rule
        rule = new
        plan = nil
        switch (before, rule) {
        case (.bucket(let old), .bucket(let new)):
            for index in spent.indices {
                spent[index].peak = TokenBucket.convert(spent[index].peak, from: old.rate, to: new.rate)
            }
        case (.fixed, .fixed), (.sliding, .sliding), (.permits, .permits): break
        default: spent.removeAll()
        }
        settle(now)
        return refit(now, claim: claim)
    }

    /// Plans anew those who wait.
    private mutating func refit(_ now: Int64, claim: (Party) -> Bool) -> [(party: Party, reason: Reason)] {
        var failed: [(party: Party, reason: Reason)] = []
        var plan = LimiterPlan(rule, held: held, bookings, isLeaky: capacity != nil, now)
        for index in entries.indices where !entries[index].isDead {
            let entry = entries[index]
            var reason: Reason?
            if !fits(entry.n) {
                reason = .limited
            } else if let limit = entry.limit {
                var trial = plan
                if let end = trial.place(entry.n, now), !limit.allows(end) {
                    reason = limit.reason
                } else {
                    plan = trial
                }
            } else {
                _ = plan.place(entry.n, now)
            }
            guard let reason else { continue }
            entries[index].isDead = true
            dead += 1
            wanted -= entry.n
            if claim(entry.party) { failed.append((entry.party, reason)) }
        }
        dropDead()
        return failed
    }
}

/// Until when a wait may last, and what it fails with.
public struct WaitLimit: Sendable, Equatable {
    public let time: Int64
    public let reason: Reason

    public init(time: Int64, reason: Reason) {
        self.time = time
        self.reason = reason
    }

    /// A wait that ends with its timeout is in time; at the deadline of its context it is too late.
    func allows(_ end: Int64) -> Bool { reason == .timeout ? end <= time : end < time }

    /// The one that comes first.
    public static func first(_ a: WaitLimit?, _ b: WaitLimit?) -> WaitLimit? {
        guard let a, let b else { return a ?? b }
        return b.time < a.time ? b : a
    }
}

/// Bugs to be planted.
package enum LimiterFault: Equatable {
    case tokensKept
}

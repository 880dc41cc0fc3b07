// Limiters: how much passes in a time, or at a time.
import Synchronization

/// Lets through so much in a time, shared by any number of workers.
///
/// Where nobody waits a decision is one exchange of an atomic word (`LimiterWord`). The rest happens under a lock, in
/// `LimiterQueue`: those who wait are served in the order in which they came, and nobody overtakes them.
///
/// Time is a parameter of all that asks: nanoseconds on the scheduler's clock, read by the caller before the call. What was
/// granted at such a moment never passed earlier than an outside clock shows.
public final class Limiter: SharedObject, @unchecked Sendable {  // `lock` guards all but the word
    public let name: String
    private let scheduler: Scheduler
    /// The same, without a reference count for each decision.
    private let clock: Unmanaged<Scheduler>
    private let word: LimiterWord
    private let lock = Lock()
    private var queue: LimiterQueue<Party>
    private var spec: LimiterSpec
    private var adaptive: AdaptiveRate?
    /// The bound that it has degraded to.
    private var degradedTo: Double?
    private var slot = LimiterSlot()
    private var lastTicket: UInt64 = 0
    private var timer: Timer?
    private var children: LimiterKeys?
    private let isChild: Bool
    public let isConcurrency: Bool
    public let isAdaptive: Bool
    private let fault: LimiterFault?

    struct Party {
        let waiter: Waiter
        let generation: UInt64
    }

    public convenience init(_ spec: LimiterSpec, scheduler: Scheduler) {
        self.init(spec, scheduler: scheduler, isChild: false, fault: nil)
    }

    /// - Parameters:
    ///   - spec: its rate is within its bounds.
    ///   - fault: a planted bug: it exists so that the tests can be tested.
    package init(_ spec: LimiterSpec, scheduler: Scheduler, isChild: Bool, fault: LimiterFault?) {
        self.spec = spec
        self.scheduler = scheduler
        clock = .passUnretained(scheduler)
        word = LimiterWord(isSystemTime: scheduler.isSystemTime)
        self.isChild = isChild
        self.fault = fault
        name = spec.name
        queue = LimiterQueue(spec.rule(scheduler.now), capacity: spec.capacity, fault: fault)
        if case .adaptive(let least, let most, let target, _) = spec.kind {
            adaptive = AdaptiveRate(bounds: spec.bounds ?? least...most, target: target, rate: least)
        }
        if case .concurrency = spec.kind { isConcurrency = true } else { isConcurrency = false }
        isAdaptive = adaptive != nil
        super.init()
        slot = queue.rule.slot
        word.publish(queue.rule.word, slot, isSlow: !queue.rule.isLockFree)
    }

    deinit { if let timer { scheduler.disarm(timer) } }

    // MARK: The lock

    /// Runs `body` on the queue, tells those it serves after that, and sets the timer for the next one.
    private func locked<R>(_ now: Int64, _ body: (inout [Waiter]) -> R) -> R {
        var told: [Waiter] = []
        lock.lock()
        queue.load(word.seize())
        let result = body(&told)
        for party in queue.serve(now, claim: { $0.waiter.claim($0.generation) }) {
            party.waiter.outcome = .done
            told.append(party.waiter)
        }
        setTimer(now)
        let slot = queue.rule.slot
        let isNew = slot != self.slot
        self.slot = slot
        word.publish(queue.rule.word, isNew ? slot : nil, isSlow: !queue.isQuiet || !queue.rule.isLockFree)
        lock.unlock()
        for waiter in told { waiter.owner.ready(waiter) }
        return result
    }

    private func setTimer(_ now: Int64) {
        let next = queue.next(now)
        if let timer {
            if timer.deadline == next { return }
            scheduler.disarm(timer)
        }
        timer = next.map { deadline in
            let timer = Timer(deadline: deadline) { [weak self] in self?.fire(deadline) }
            scheduler.arm(timer)
            return timer
        }
    }

    private func fire(_ deadline: Int64) {
        locked(scheduler.now) { _ in if timer?.deadline == deadline { timer = nil } }
    }

    // MARK: Asking

    /// Takes `n` tokens if they are there and nobody waits for them.
    @inline(__always)
    public func allow(_ n: Int64, _ now: Int64) -> Bool {
        switch word.take(n, now) {
        case .granted: true
        case .refused: false
        case .slow: n == 0 || locked(now) { _ in queue.take(n, now) }
        }
    }

    /// At the present time.
    @inline(__always)
    public func allow(_ n: Int64) -> Bool { allow(n, clock._withUnsafeGuaranteedRef { $0.now }) }

    /// For callers in C: `limiter_take_now` of it. Valid as long as the limiter.
    public var wordPointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(word.pointer) }

    public enum Waiting: Equatable {
        case granted
        /// The wait is begun. At its end: `resumed` if it was served, else `giveBack`.
        case waiting(UInt64)
        case refused(Reason)
    }

    /// Takes `n` tokens, or queues up with `waiter`, whose wait ends with `.done` when it is served.
    /// - Parameters:
    ///   - limit: a wait that cannot end before that is refused with its reason at once, and takes nothing.
    ///   - mayBeMore: it waits also where as many wait as a leaky bucket lets wait.
    public func wait(
        _ n: Int64, _ waiter: Waiter, _ now: Int64, limit: WaitLimit? = nil, mayBeMore: Bool = false
    ) -> Waiting {
        if n == 0 || word.take(n, now) == .granted { return .granted }
        return locked(now) { _ in
            switch queue.ask(n, now, limit: limit, mayBeMore: mayBeMore) {
            case .granted: return .granted
            case .refused(let reason): return .refused(reason)
            case .queued:
                lastTicket += 1
                queue.enqueue(
                    lastTicket, n, Party(waiter: waiter, generation: waiter.begin()), limit: limit)
                return .waiting(lastTicket)
            }
        }
    }

    /// The wait was served and its waiter has resumed: what it got passes now.
    public func resumed(_ ticket: UInt64, _ now: Int64) { locked(now) { _ in queue.resumed(ticket, now) } }

    /// The wait ended otherwise, or whoever was served will not resume; or a reservation is not used. What it had, or
    /// would have got, is for others; only once.
    public func giveBack(_ ticket: UInt64, _ now: Int64) { locked(now) { _ in _ = queue.giveBack(ticket, now) } }

    public func giveBackNow(_ ticket: UInt64) { giveBack(ticket, scheduler.now) }

    /// Gives a reservation back if its time has not come.
    public func giveBackUnused(_ ticket: UInt64, before time: Int64) {
        let now = scheduler.now
        if now < time { giveBack(ticket, now) } else { forget(ticket, now) }
    }

    public enum Reservation: Equatable {
        /// It may be used at `time`, and be given back.
        case reserved(ticket: UInt64, time: Int64)
        case refused(Reason)
    }

    /// Takes the next `n` tokens that nobody waits for, now or as they come.
    public func reserve(_ n: Int64, _ now: Int64) -> Reservation {
        locked(now) { _ in
            switch queue.ask(n, now, limit: nil, isPromise: true) {
            case .granted:
                lastTicket += 1
                queue.book(lastTicket, n, at: nil, now)
                return .reserved(ticket: lastTicket, time: now)
            case .refused(let reason): return .refused(reason)
            case .queued(let time):
                lastTicket += 1
                queue.book(lastTicket, n, at: time ?? .max / 4, now)
                return .reserved(ticket: lastTicket, time: time ?? .max / 4)
            }
        }
    }

    /// Nobody can give this reservation back any more.
    public func forget(_ ticket: UInt64, _ now: Int64) { locked(now) { _ in queue.forget(ticket) } }

    /// A permit of a limit of concurrency is free again.
    public func release(_ now: Int64) {
        if word.put() { return }
        locked(now) { _ in queue.put(1) }
    }

    public func releaseNow() { release(scheduler.now) }

    // MARK: What it says

    /// Whole tokens that are there for who does not wait.
    public func available(_ now: Int64) -> Int64 { locked(now) { _ in queue.available(now) } }
    /// Tokens a second.
    public var rate: Double { lock.withLock { degradedTo ?? spec.rate } }
    /// It is a fixed window until it gets a rate within its bounds.
    public var isDegraded: Bool { lock.withLock { degradedTo != nil } }
    public var kind: LimiterSpec.Kind { lock.withLock { spec.kind } }
    /// Those who wait.
    public var waiting: Int { lock.withLock { queue.waiting } }

    // MARK: Changes

    public enum Change: Equatable {
        case done
        /// It is outside of these bounds.
        case outOfBounds(ClosedRange<Double>)
        /// No rate that is accepted, or one by which a window lets nothing through.
        case unusable
    }

    /// From `now` on at another rate. What was earned stays; those who wait are planned anew.
    public func setRate(_ rate: Double, _ now: Int64) -> Change {
        let change = settle(rate, now)
        if case .outOfBounds = change { return change }
        if change == .unusable { return change }
        for child in lock.withLock({ children?.all ?? [] }) { _ = child.settle(rate, now) }
        return change
    }

    private func settle(_ rate: Double, _ now: Int64) -> Change {
        lock.lock()
        let spec = self.spec
        lock.unlock()
        var target = rate
        if let bounds = spec.bounds, !bounds.contains(rate), !rate.isNaN {
            let nearest = rate < bounds.lowerBound ? bounds.lowerBound : bounds.upperBound
            switch spec.outOfBounds {
            case .reject: return .outOfBounds(bounds)
            case .clamp: target = nearest
            case .fixedWindow:
                degrade(to: nearest, now)
                return .done
            }
        }
        guard LimiterSpec.accepted.contains(target), let new = spec.with(rate: target) else { return .unusable }
        become(new, now)
        return .done
    }

    private func degrade(to bound: Double, _ now: Int64) {
        change(now) {
            degradedTo = bound
            $0 = LimiterSpec.degraded(bound, from: $0, now)
        }
    }

    private func become(_ new: LimiterSpec, _ now: Int64) {
        change(now) {
            degradedTo = nil
            adaptive?.set(new.rate)
            spec.kind = new.kind
            queue.capacity = new.capacity
            $0 = new.follow($0, held: queue.held, now)
        }
    }

    private func change(_ now: Int64, _ body: (inout LimiterRule) -> Void) {
        locked(now) { told in
            queue.reach(now)
            var rule = queue.rule
            body(&rule)
            for (party, reason) in queue.change(now, claim: { $0.waiter.claim($0.generation) }, to: rule) {
                party.waiter.outcome = .ended(reason)
                told.append(party.waiter)
            }
        }
    }

    /// From `now` on with another burst: a leaky bucket's capacity, a window's limit. It gives no tokens; those who wait
    /// for more than that are refused.
    public func setBurst(_ burst: Int64, _ now: Int64) {
        let all = lock.withLock { children?.all ?? [] }
        for limiter in [self] + all {
            let isDegraded = limiter.isDegraded
            let new = limiter.lock.withLock { limiter.spec.with(burst: burst) }
            if isDegraded { limiter.lock.withLock { limiter.spec.kind = new.kind } } else { limiter.become(new, now) }
        }
    }

    /// What a call that took `latency` nanoseconds says to an adaptive limiter.
    public func report(latency: Int64, ok: Bool, _ now: Int64) {
        let rate = lock.withLock { adaptive?.report(latency: latency, ok: ok, now) }
        if let rate { _ = setRate(rate, now) }
    }

    // MARK: Keys

    /// The limiter of this key, which begins as a fresh one with the parameters that this one has now. One that is not
    /// among the last `keys` is forgotten; who waits for it goes on waiting for it.
    public func of(_ key: UInt64, _ label: @autoclosure () -> String) -> Limiter {
        lock.lock()
        defer { lock.unlock() }
        if children == nil { children = LimiterKeys(bound: spec.keys) }
        if let child = children!.find(key) { return child }
        var spec = spec
        spec.name = "\(name) of \(label())"
        let child = Limiter(spec, scheduler: scheduler, isChild: true, fault: fault)
        if let bound = degradedTo { child.degrade(to: bound, scheduler.now) }
        children!.insert(key, child)
        return child
    }

    /// It is one key's, and has no keys itself.
    public var isOfKey: Bool { isChild }
    /// Keys that have a limiter now.
    public var keyCount: Int { lock.withLock { children?.count ?? 0 } }
}

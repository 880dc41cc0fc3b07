// One seeded run of parties that share a limiter, with books kept outside of it.
import StreamCore

/// What a run found. What passed when is written down where a party gets it; levels are computed from that alone.
package final class LimiterRun: @unchecked Sendable {  // one thread
    struct Use {
        let time: Int64
        let n: Int64
    }

    package let scheduler: SeededScheduler
    let limiter: Limiter
    let spec: LimiterSpec
    package private(set) var failures: [String] = []
    private(set) var uses: [Use] = []
    /// How many uses there were.
    package var useCount: Int { uses.count }
    /// Rates with the time from which on they held.
    private(set) var rates: [(time: Int64, rate: Int64)] = []
    private var firstRequest: Int64?
    private var parties: [LimiterParty] = []
    private var lastServed: UInt64 = 0
    let makesReservations: Bool
    private let changesRate: Bool

    package init(seed: UInt64, fault: LimiterFault? = nil) {
        let scheduler = SeededScheduler(seed: seed)
        func below(_ n: Int) -> Int64 { Int64(scheduler.random() % UInt64(n)) }
        self.scheduler = scheduler
        let rate = [1, 3, 7, 10, 100, 999][Int(below(6))] as Int64
        let burst = 3 + below(5)
        let window = 100_000_000 * (1 + below(20))
        let kind: LimiterSpec.Kind
        switch below(4) {
        case 0, 1: kind = .tokenBucket(rate: Double(rate), burst: burst)
        case 2: kind = .fixedWindow(limit: burst, window: window)
        default: kind = .slidingWindow(limit: burst, window: window)
        }
        spec = LimiterSpec(kind, name: "limiter")
        limiter = Limiter(spec, scheduler: scheduler, isChild: false, fault: fault)
        let isBucket = if case .tokenBucket = kind { true } else { false }
        let makesReservations = below(2) == 0
        self.makesReservations = makesReservations
        // A reservation was told its time at the old rate: with a lower one it is over.
        changesRate = isBucket && !makesReservations && below(2) == 0
        rates = [(0, rate)]
        parties = (0..<(2 + below(4))).map { _ in LimiterParty(run: self, operations: Int(3 + below(8))) }
    }

    func below(_ n: Int) -> Int { Int(scheduler.random() % UInt64(n)) }
    func fail(_ text: String) { failures.append(text) }
    var now: Int64 { scheduler.now }

    package func finish() {
        for party in parties { party.wake() }
        disturb(left: 10)
        if !scheduler.run(limit: 100_000, until: { self.parties.allSatisfy(\.isOver) }) {
            fail("\(parties.filter { !$0.isOver }.count) parties still wait")
            return
        }
        scheduler.run(limit: 100_000)
        check()
    }

    private func disturb(left: Int) {
        guard left > 0 else { return }
        scheduler.arm(
            Timer(deadline: now + Int64(below(400)) * 1_000_000) { [self] in
                if below(2) == 0 {
                    parties[below(parties.count)].cancel()
                } else if changesRate {
                    let rate = [1, 2, 5, 50, 333][below(5)] as Int64
                    rates.append((now, rate))
                    if limiter.setRate(Double(rate), now) != .done { fail("the rate was refused") }
                }
                disturb(left: left - 1)
            })
    }

    // MARK: What parties do

    func asked() { firstRequest = firstRequest ?? now }

    func passed(_ n: Int64) { uses.append(Use(time: now, n: n)) }

    func served(_ ticket: UInt64) {
        if ticket < lastServed { fail("\(ticket) was served after \(lastServed)") }
        lastServed = ticket
    }

    // MARK: The books

    private func check() {
        uses.sort { $0.time < $1.time }
        switch spec.kind {
        case .tokenBucket(_, let burst): checkBucket(burst)
        case .fixedWindow(let limit, let window): checkFixed(limit, window)
        case .slidingWindow(let limit, let window): checkSliding(limit, window)
        default: break
        }
    }

    /// Tokens earned from `a` to `b`, times 10^9: whole numbers, as the rates are.
    private func earned(_ a: Int64, _ b: Int64) -> Int128 {
        var sum: Int128 = 0
        for (index, (from, rate)) in rates.enumerated() {
            let until = index + 1 < rates.count ? rates[index + 1].time : .max
            let low = max(a, from), high = min(b, until)
            if high > low { sum += Int128(rate) * Int128(high - low) }
        }
        return sum
    }

    private func checkBucket(_ burst: Int64) {
        let one: Int128 = 1_000_000_000
        for first in uses.indices {
            var sum: Int128 = 0
            for last in first..<uses.count {
                sum += Int128(uses[last].n) * one
                let most = Int128(burst) * one + earned(uses[first].time, uses[last].time)
                if sum > most {
                    return fail("over: \(sum / one) from \(uses[first].time) to \(uses[last].time)")
                }
            }
        }
        // A bucket of one's own, from what passed alone: what was taken and not used must be there again.
        var level = Int128(burst) * one, time: Int64 = 0
        for use in uses + [Use(time: now, n: 0)] {
            level = min(Int128(burst) * one, level + earned(time, use.time)) - Int128(use.n) * one
            time = use.time
        }
        let available = limiter.available(now)
        if Int128(available) != level / one { fail("\(available) are there, expected \(Double(level) / 1e9)") }
    }

    private func checkFixed(_ limit: Int64, _ window: Int64) {
        guard let firstRequest else { return }
        var counts: [Int64: Int64] = [:]
        for use in uses { counts[(use.time - firstRequest) / window, default: 0] += use.n }
        if let most = counts.values.max(), most > limit { fail("over: \(most) in a window of \(limit)") }
        let left = limit - counts[(now - firstRequest) / window, default: 0]
        let available = limiter.available(now)
        if available != left { fail("\(available) are there, expected \(left)") }
    }

    private func checkSliding(_ limit: Int64, _ window: Int64) {
        func count(_ end: Int64) -> Int64 {
            uses.reduce(0) { $0 + (end - $1.time < window && $1.time <= end ? $1.n : 0) }
        }
        for use in uses where count(use.time) > limit {
            return fail("over: \(count(use.time)) in a window of \(limit)")
        }
        let available = limiter.available(now)
        if available != limit - count(now) { fail("\(available) are there, expected \(limit - count(now))") }
    }
}

/// Someone who asks a limiter for this and that, and sleeps in between.
final class LimiterParty: Job, WaiterOwner, @unchecked Sendable {  // one thread
    private unowned let run: LimiterRun
    private var left: Int
    private var waiter: Waiter!
    private var isTold = false
    private var wait: (ticket: UInt64, n: Int64)?
    private var reservations = 0
    private var isAsleep = false
    private(set) var isOver = false

    init(run: LimiterRun, operations: Int) {
        self.run = run
        left = operations
        super.init(scheduler: run.scheduler)
        waiter = Waiter(owner: self)
    }

    func ready(_ waiter: Waiter) {
        if waiter.outcome == .done { run.served(wait!.ticket) }
        isTold = true
        wake()
    }

    /// Ends its wait, if it waits.
    func cancel() {
        guard wait != nil, waiter.claimCurrent() else { return }
        waiter.outcome = .ended(.canceled)
        ready(waiter)
    }

    override func work() -> Outcome {
        if isOver || isAsleep { return .park }
        if let (ticket, n) = wait {
            guard isTold else { return .park }
            isTold = false
            wait = nil
            if waiter.outcome == .done {
                run.limiter.resumed(ticket, run.now)
                run.passed(n)
            } else {
                run.limiter.giveBack(ticket, run.now)
                if run.below(4) == 0 { run.limiter.giveBack(ticket, run.now) }  // once is once
            }
        }
        while left > 0 {
            left -= 1
            let n = Int64(1 + run.below(3))
            switch run.below(run.makesReservations ? 6 : 4) {
            case 0: sleep()
            case 1:
                run.asked()
                if run.limiter.allow(n, run.now) { run.passed(n) }
            case 2, 3:
                if begin(n) { return .park }
            default: reserve(n)
            }
            if isAsleep { return .park }
        }
        isOver = reservations == 0
        return .park
    }

    private func sleep() {
        isAsleep = true
        scheduler.arm(
            Timer(deadline: run.now + Int64(run.below(1000)) * 1_000_001) { [self] in
                isAsleep = false
                wake()
            })
    }

    private func begin(_ n: Int64) -> Bool {
        run.asked()
        let timeout = run.below(2) == 0 ? Int64(run.below(800)) * 1_000_000 : nil
        let limit = timeout.map { WaitLimit(time: run.now + $0, reason: .timeout) }
        switch run.limiter.wait(n, waiter, run.now, limit: limit) {
        case .granted: run.passed(n)
        case .refused(let reason): if reason != .timeout || timeout == nil { run.fail("refused: \(reason)") }
        case .waiting(let ticket):
            wait = (ticket, n)
            if let limit {
                let generation = waiter.generation
                scheduler.arm(
                    Timer(deadline: limit.time + 1) { [self] in waiter.end(generation, .ended(.timeout)) })
            }
            return true
        }
        return false
    }

    /// Uses what it reserved at its time, or gives it back before or after that.
    private func reserve(_ n: Int64) {
        run.asked()
        guard case .reserved(let ticket, let time) = run.limiter.reserve(n, run.now) else {
            return run.fail("a reservation was refused")
        }
        reservations += 1
        let isUsed = run.below(2) == 0
        let moment = isUsed ? time : run.now + Int64(run.below(900)) * 1_000_000
        scheduler.arm(
            Timer(deadline: moment) { [self] in
                if isUsed {
                    run.passed(n)
                    if run.below(2) == 0 { run.limiter.forget(ticket, run.now) }
                } else {
                    run.limiter.giveBack(ticket, run.now)
                    run.limiter.giveBack(ticket, run.now)
                }
                reservations -= 1
                wake()
            })
    }
}

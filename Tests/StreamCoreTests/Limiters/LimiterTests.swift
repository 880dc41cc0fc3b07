// Limiters as their callers see them: who waits, what is given back, keys, bounds.
import Testing

@testable import StreamCore

private let second: Int64 = 1_000_000_000

/// Waits with no task behind them.
private final class Waits: WaiterOwner {
    private(set) var ended: [(name: String, outcome: WaitOutcome)] = []
    private var names: [ObjectIdentifier: String] = [:]
    private var kept: [Waiter] = []

    func make(_ name: String) -> Waiter {
        let waiter = Waiter(owner: self)
        names[ObjectIdentifier(waiter)] = name
        kept.append(waiter)
        return waiter
    }

    func ready(_ waiter: Waiter) { ended.append((names[ObjectIdentifier(waiter)]!, waiter.outcome)) }
    var served: [String] { ended.filter { $0.outcome == .done }.map(\.name) }
}

struct LimiterTests {
    private let scheduler = SeededScheduler(seed: 1)
    private let waits = Waits()

    private func make(_ kind: LimiterSpec.Kind, _ change: (inout LimiterSpec) -> Void = { _ in }) -> Limiter {
        var spec = LimiterSpec(kind, name: "limiter")
        change(&spec)
        return Limiter(spec, scheduler: scheduler)
    }

    /// Moves the clock.
    private func run(to time: Int64) {
        if time > scheduler.now { scheduler.arm(Timer(deadline: time) {}) }
        scheduler.run(until: { scheduler.now >= time })
    }

    private func ticket(_ waiting: Limiter.Waiting) -> UInt64 {
        guard case .waiting(let ticket) = waiting else {
            Issue.record("it does not wait: \(waiting)")
            return 0
        }
        return ticket
    }

    @Test func allow_neverOvertakesThoseWhoWait() {
        let limiter = make(.tokenBucket(rate: 1, burst: 3))
        #expect(limiter.allow(2, 0))
        let first = ticket(limiter.wait(3, waits.make("first"), 0))
        #expect(!limiter.allow(1, 0))
        #expect(limiter.available(0) == 0)
        run(to: 2 * second)
        #expect(waits.served == ["first"])
        limiter.resumed(first, 2 * second)
        #expect(!limiter.allow(1, 2 * second))
        #expect(limiter.allow(1, 3 * second))
    }

    @Test func cancelledWait_letsThoseBehindMoveUp_atOnce() {
        let limiter = make(.tokenBucket(rate: 1, burst: 3))
        #expect(limiter.allow(2, 0))
        let large = waits.make("large")
        let ticket = ticket(limiter.wait(3, large, 0))
        _ = limiter.wait(1, waits.make("small"), 0)
        #expect(large.claimCurrent())
        limiter.giveBack(ticket, 0)
        #expect(waits.served == ["small"])
    }

    @Test func wait_thatCannotEndInTime_isRefusedAtOnce_andTakesNothing() {
        let limiter = make(.tokenBucket(rate: 10, burst: 1))
        #expect(limiter.allow(1, 0))
        let late = WaitLimit(time: second / 10 - 1, reason: .timeout),
            exact = WaitLimit(time: second / 10, reason: .timeout)
        #expect(limiter.wait(1, waits.make("late"), 0, limit: late) == .refused(.timeout))
        let deadline = WaitLimit(time: second / 10, reason: .deadlineExceeded)
        #expect(limiter.wait(1, waits.make("deadline"), 0, limit: deadline) == .refused(.deadlineExceeded))
        let ticket = ticket(limiter.wait(1, waits.make("exact"), 0, limit: exact))
        run(to: second / 10)
        #expect(waits.served == ["exact"])
        limiter.resumed(ticket, second / 10)
        #expect(limiter.allow(1, second / 5))
    }

    @Test func changeOfRate_plansAnewThoseWhoWait_andRefusesThoseWhoAreLateNow() {
        let limiter = make(.tokenBucket(rate: 1, burst: 1))
        #expect(limiter.allow(1, 0))
        let first = ticket(limiter.wait(1, waits.make("first"), 0))
        let limit = WaitLimit(time: 3 * second, reason: .timeout)
        _ = limiter.wait(1, waits.make("second"), 0, limit: limit)
        run(to: second / 2)
        #expect(limiter.setRate(0.25, second / 2) == .done)  // half a token is there: two more seconds
        #expect(waits.ended.map(\.name) == ["second"])
        #expect(waits.ended.first?.outcome == .ended(.timeout))
        run(to: 2 * second + second / 2 - 1)
        #expect(waits.served == [])
        run(to: 2 * second + second / 2)
        #expect(waits.served == ["first"])
        limiter.resumed(first, scheduler.now)
    }

    @Test func smallerBurst_refusesThoseWhoCanNeverFit() {
        let limiter = make(.tokenBucket(rate: 1, burst: 5))
        #expect(limiter.allow(5, 0))
        _ = limiter.wait(4, waits.make("large"), 0)
        _ = limiter.wait(2, waits.make("small"), 0)
        limiter.setBurst(3, 0)
        #expect(waits.ended.map(\.name) == ["large"])
        #expect(waits.ended.first?.outcome == .ended(.limited))
        run(to: 2 * second)
        #expect(waits.served == ["small"])
        #expect(limiter.wait(4, waits.make("other"), 0) == .refused(.limited))
    }

    @Test func leakyBucket_letsOnePass_andSoManyWait_andRefusesTheRest() {
        let limiter = make(.leakyBucket(rate: 10, capacity: 2))
        #expect(limiter.wait(1, waits.make("0"), 0) == .granted)
        let tickets = ["1", "2"].map { ticket(limiter.wait(1, waits.make($0), 0)) }
        #expect(limiter.wait(1, waits.make("3"), 0) == .refused(.limited))
        run(to: second / 10)
        #expect(waits.served == ["1"])
        run(to: second / 10 * 5)
        #expect(waits.served == ["1"])  // it has not resumed: the next one keeps its distance from it
        limiter.resumed(tickets[0], second / 2)
        run(to: second / 2 + second / 10)
        #expect(waits.served == ["1", "2"])
        limiter.resumed(tickets[1], scheduler.now)
        #expect(limiter.wait(4, waits.make("4"), scheduler.now) == .refused(.limited))
        let three = ticket(limiter.wait(2, waits.make("5"), scheduler.now))
        run(to: second / 2 + second / 10 * 3)
        #expect(waits.served == ["1", "2", "5"])
        limiter.resumed(three, scheduler.now)
    }

    @Test func reservation_givenBack_isThereForOthers_onceOnly() {
        let limiter = make(.tokenBucket(rate: 1, burst: 3))
        guard case .reserved(let now, 0) = limiter.reserve(3, 0),
            case .reserved(let later, let time) = limiter.reserve(2, 0)
        else {
            Issue.record("not reserved")
            return
        }
        #expect(time == 2 * second)
        #expect(limiter.available(0) == 0)
        limiter.giveBack(later, 0)
        limiter.giveBack(now, second / 2)
        limiter.giveBack(now, second / 2)
        #expect(limiter.available(second / 2) == 3)
        #expect(limiter.allow(3, second / 2))
        #expect(!limiter.allow(1, second / 2))
    }

    /// What would have flown over without the reservation is not there after it: else the burst would pass twice.
    @Test func reservation_givenBackLate_givesNoMoreThanWithoutIt() {
        let limiter = make(.tokenBucket(rate: 1, burst: 10))
        guard case .reserved(let ticket, 0) = limiter.reserve(10, 0) else {
            Issue.record("not reserved")
            return
        }
        #expect(limiter.allow(5, 5 * second))  // half full; it would be full without the reservation
        limiter.giveBack(ticket, 5 * second)
        #expect(limiter.available(5 * second) == 5)
    }

    /// One that comes later may pass in a gap, but takes nothing of what is booked.
    @Test func booking_keepsItsTime_andLeavesGapsToOthers() {
        let limiter = make(.tokenBucket(rate: 1, burst: 1))
        #expect(limiter.allow(1, 0))
        var tickets: [UInt64] = []
        for expected in [1, 2, 3] as [Int64] {
            guard case .reserved(let ticket, let time) = limiter.reserve(1, 0) else {
                Issue.record("refused")
                return
            }
            #expect(time == expected * second)
            tickets.append(ticket)
        }
        limiter.giveBack(tickets[0], 0)
        let gap = ticket(limiter.wait(1, waits.make("gap"), 0))
        run(to: second)
        #expect(waits.served == ["gap"])
        limiter.resumed(gap, second)
        #expect(!limiter.allow(1, 2 * second))
        #expect(!limiter.allow(1, 3 * second))
        #expect(limiter.allow(1, 4 * second))
    }

    @Test func outOfBounds_isRefused_orClamped_orDegrades() {
        let kind = LimiterSpec.Kind.tokenBucket(rate: 10, burst: 20)
        let rejecting = make(kind) { $0.bounds = 1...100 }
        #expect(rejecting.setRate(101, 0) == .outOfBounds(1...100))
        #expect(rejecting.rate == 10)
        let clamping = make(kind) {
            $0.bounds = 1...100
            $0.outOfBounds = .clamp
        }
        #expect(clamping.setRate(0, 0) == .done)
        #expect(clamping.rate == 1)
        #expect(clamping.setRate(.infinity, 0) == .done)
        #expect(clamping.rate == 100)
        #expect(clamping.setRate(.nan, 0) == .unusable)
        let degrading = make(kind) {
            $0.bounds = 2...100
            $0.outOfBounds = .fixedWindow
        }
        #expect(degrading.allow(19, 0))
        #expect(degrading.setRate(1, 0) == .done)
        #expect(degrading.isDegraded)
        #expect(degrading.rate == 2)
        #expect(degrading.allow(1, 0))  // no more than was there
        #expect(!degrading.allow(1, second - 1))
        #expect(degrading.allow(2, second))
        #expect(!degrading.allow(1, second))
        #expect(degrading.setRate(50, second) == .done)
        #expect(!degrading.isDegraded)
        #expect(!degrading.allow(1, second))
        #expect(degrading.allow(1, second + second / 50))
    }

    @Test func window_setRate_setsTheLimit() {
        let limiter = make(.slidingWindow(limit: 3, window: second / 2))
        #expect(limiter.rate == 6)
        #expect(limiter.setRate(10, 0) == .done)
        #expect(limiter.allow(5, 0))
        #expect(!limiter.allow(1, 0))
        #expect(limiter.setRate(1, 0) == .unusable)
        #expect(limiter.rate == 10)
    }

    @Test func keys_haveLimitersOfTheirOwn_theLeastRecentlyUsedGoesFirst() {
        let limiter = make(.tokenBucket(rate: 1, burst: 1)) { $0.keys = 2 }
        let a = limiter.of(1, "a"), b = limiter.of(2, "b")
        #expect(a.allow(1, 0))
        #expect(b.allow(1, 0))
        #expect(limiter.of(1, "a") === a)
        _ = limiter.of(3, "c")  // b goes
        #expect(limiter.keyCount == 2)
        #expect(limiter.of(1, "a") === a)
        #expect(limiter.of(2, "b") !== b)
        #expect(limiter.setRate(5, 0) == .done)
        #expect(limiter.of(2, "b").rate == 5)
        #expect(limiter.of(9, "new").rate == 5)
        _ = b.wait(1, waits.make("b"), 0)  // whoever has it still waits for it
        run(to: second)
        #expect(waits.served == ["b"])
    }

    @Test func permits_areServedInOrder_andComeBackOnlyOnce() {
        let limiter = make(.concurrency(limit: 2))
        #expect(limiter.wait(1, waits.make("1"), 0) == .granted)
        #expect(limiter.wait(1, waits.make("2"), 0) == .granted)
        let third = ticket(limiter.wait(1, waits.make("3"), 0))
        let fourth = ticket(limiter.wait(1, waits.make("4"), 0))
        limiter.release(0)
        #expect(waits.served == ["3"])
        limiter.resumed(third, 0)
        limiter.release(0)
        #expect(waits.served == ["3", "4"])
        limiter.giveBack(fourth, 0)  // its worker has ended before it resumed
        #expect(limiter.available(0) == 1)
        limiter.release(0)
        #expect(limiter.available(0) == 2)
    }
}

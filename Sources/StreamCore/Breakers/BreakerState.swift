// A circuit breaker's decisions. Pure: time is a parameter.
import DequeModule

/// What a circuit breaker is declared with.
public struct BreakerSpec: Sendable, Equatable {
    /// So many failures within `window` nanoseconds open it.
    public var failures: Int
    public var window: Int64
    /// After so long it lets calls through again, to see.
    public var reset: Int64
    /// So many at once, and so many successes close it.
    public var probes: Int

    public init(failures: Int, window: Int64, reset: Int64, probes: Int = 1) {
        self.failures = failures
        self.window = window
        self.reset = reset
        self.probes = probes
    }
}

/// Closed: calls pass, and failures are counted in a sliding window. Open: none pass. Half-open: a few pass as probes; as
/// many successes close it, one failure opens it again. After M. Nygard's "Release It!" (2007); results of calls that
/// began in an earlier state count no more, as in Sony's gobreaker.
///
/// - Complexity: each operation O(1) amortised, and O(probes) half-open.
public struct BreakerState: Sendable {
    public enum Phase: String, Sendable { case closed, open, halfOpen = "half-open" }

    /// A call that was let through.
    public struct Ticket: Sendable, Equatable {
        fileprivate let generation: UInt64
        /// 0: no probe.
        fileprivate let probe: UInt64
        public var isProbe: Bool { probe != 0 }
    }

    private let spec: BreakerSpec
    private var current = Phase.closed
    /// Counts the changes of `current`.
    private var generation: UInt64 = 0
    private var failures: Deque<Int64> = []
    private var reopens: Int64 = 0
    private var probes: [(number: UInt64, began: Int64)] = []
    private var lastProbe: UInt64 = 0
    private var successes = 0

    public init(_ spec: BreakerSpec) { self.spec = spec }

    public mutating func phase(_ now: Int64) -> Phase {
        if current == .open && now >= reopens { enter(.halfOpen) }
        return current
    }

    /// Whether a call may be made now; nil: not. Its result is to be reported, or given up.
    public mutating func ask(_ now: Int64) -> Ticket? {
        switch phase(now) {
        case .closed: return Ticket(generation: generation, probe: 0)
        case .open: return nil
        case .halfOpen:
            // Whoever has not reported in so long is not waited for: a caller may have forgotten to.
            probes.removeAll { now - $0.began >= spec.reset }
            guard probes.count + successes < spec.probes else { return nil }
            lastProbe += 1
            probes.append((lastProbe, now))
            return Ticket(generation: generation, probe: lastProbe)
        }
    }

    /// What came of a call; without a ticket: of one that passed as the breaker is now, unless it is half-open.
    public mutating func report(_ ticket: Ticket?, ok: Bool, _ now: Int64) {
        _ = phase(now)
        if let ticket, ticket.generation != generation { return }
        switch current {
        case .closed:
            guard !ok else { return }
            failures.append(now)
            if failures.count > spec.failures { failures.removeFirst() }
            if failures.count == spec.failures && now - failures.first! < spec.window { open(now) }
        case .halfOpen:
            guard let ticket, take(ticket) else { return }
            guard ok else { return open(now) }
            successes += 1
            if successes >= spec.probes { enter(.closed) }
        case .open: break
        }
    }

    /// The call was cancelled and says nothing.
    public mutating func giveUp(_ ticket: Ticket) {
        if ticket.generation == generation { _ = take(ticket) }
    }

    /// Whether something waits for the result of this call.
    public func isHeld(_ ticket: Ticket) -> Bool {
        ticket.generation == generation && (!ticket.isProbe || probes.contains { $0.number == ticket.probe })
    }

    /// Closes it, and forgets the failures.
    public mutating func reset() { enter(.closed) }

    private mutating func take(_ ticket: Ticket) -> Bool {
        guard let index = probes.firstIndex(where: { $0.number == ticket.probe }) else { return false }
        probes.remove(at: index)
        return true
    }

    private mutating func open(_ now: Int64) {
        enter(.open)
        reopens = now > .max - spec.reset ? .max : now + spec.reset
    }

    private mutating func enter(_ phase: Phase) {
        current = phase
        generation += 1
        failures = []
        probes = []
        successes = 0
    }
}

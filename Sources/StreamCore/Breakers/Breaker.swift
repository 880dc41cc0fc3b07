// A circuit breaker that all workers share.

/// Lets calls through, or not, by what came of those before.
public final class Breaker: SharedObject, @unchecked Sendable {  // `lock` guards the state
    public let name: String
    private let lock = Lock()
    private var state: BreakerState
    /// Probes of those who report by themselves.
    private var manual: [(ticket: BreakerState.Ticket, worker: ObjectIdentifier, task: ObjectIdentifier?)] = []

    public init(_ spec: BreakerSpec, name: String) {
        state = BreakerState(spec)
        self.name = name
    }

    public func phase(_ now: Int64) -> BreakerState.Phase { lock.withLock { state.phase(now) } }
    public func ask(_ now: Int64) -> BreakerState.Ticket? { lock.withLock { state.ask(now) } }
    public func report(_ ticket: BreakerState.Ticket, ok: Bool, _ now: Int64) {
        lock.withLock { state.report(ticket, ok: ok, now) }
    }
    public func giveUp(_ ticket: BreakerState.Ticket) {
        lock.withLock {
            state.giveUp(ticket)
            manual.removeAll { $0.ticket == ticket }
        }
    }
    public func isHeld(_ ticket: BreakerState.Ticket) -> Bool { lock.withLock { state.isHeld(ticket) } }
    public func reset() {
        lock.withLock {
            state.reset()
            manual = []
        }
    }

    /// As `ask`, for one who reports by `report(by:)`.
    public func ask(_ now: Int64, by worker: ObjectIdentifier, _ task: ObjectIdentifier?) -> BreakerState.Ticket? {
        lock.withLock {
            let ticket = state.ask(now)
            if let ticket, ticket.isProbe {
                manual.removeAll { !state.isHeld($0.ticket) }
                manual.append((ticket, worker, task))
            }
            return ticket
        }
    }

    /// What came of the oldest probe of the task, or else of its worker; without one it is a call of a closed breaker.
    public func report(by worker: ObjectIdentifier, _ task: ObjectIdentifier?, ok: Bool, _ now: Int64) {
        lock.withLock {
            manual.removeAll { !state.isHeld($0.ticket) }
            let index =
                manual.firstIndex { $0.worker == worker && $0.task == task }
                ?? manual.firstIndex { $0.worker == worker }
            state.report(index.map { manual.remove(at: $0).ticket }, ok: ok, now)
        }
    }
}

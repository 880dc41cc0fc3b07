// How a run is brought to its end from outside: drain, then cancel, then stop.
import StreamCore

/// Asks those that have not ended what they do, each on its own thread, and keeps what they answer. One that computes where
/// it cannot be interrupted does not answer.
final class Inspection: @unchecked Sendable {  // `lock`
    private let lock = Lock()
    private var answers: [(order: Int, found: [RunReport.Stuck])] = []
    private var silent: [Int: RunReport.Stuck] = [:]
    private var asked = 0

    /// One more is asked; `unknown` stands for it until it answers. Returns what it answers to.
    func ask(_ unknown: RunReport.Stuck) -> @Sendable ([RunReport.Stuck]) -> Void {
        let order = lock.withLock {
            asked += 1
            silent[asked] = unknown
            return asked
        }
        return { [self] found in
            lock.withLock {
                guard silent.removeValue(forKey: order) != nil else { return }
                answers.append((order, found))
            }
        }
    }

    /// In the order in which they were asked.
    /// - Parameter isOver: the run has ended: who has not answered by then has come to its end first.
    func found(isOver: Bool) -> [RunReport.Stuck] {
        lock.withLock {
            let unknown = isOver ? [] : silent.map { (order: $0.key, found: [$0.value]) }
            return (answers + unknown).sorted { $0.order < $1.order }.flatMap(\.found)
        }
    }
}

/// Where a run is on the way to its end, for its report. Under the run's lock.
struct Shutdown {
    var ending = RunReport.Ending.natural
    /// What was found when draining took too long or the run was cancelled, and when it was stopped.
    var stuck: Inspection?, stopped: Inspection?
    /// The next step, if this one does not end it.
    var timer: Timer?
}

extension Run {
    /// Nanoseconds that a run has after it was cancelled, for what scripts do in contexts that do not end with it. What
    /// goes on then is stopped for good.
    public static let cleanupTime: Int64 = 2_000_000_000
    /// What computes is stopped again and again: a script may go on with something else.
    private static let stopPause: Int64 = 20_000_000

    /// Sources end as at their natural end; when all pipelines have, so does the run's context. What goes on after
    /// `timeout` nanoseconds is cancelled, and what still goes on after `cleanupTime` is stopped.
    public func drain(timeout: Int64) {
        drain()
        let now = scheduler.now
        plan(at: timeout > Int64.max - now ? .max : now + timeout) { $0.cancelAtLast(.drainTimeout, "drain timeout") }
    }

    /// Ends the run's context at once, and stops what still goes on after `cleanupTime`.
    public func stop(cause: String? = nil) { fromOutside { self.cancelAtLast(.canceled, cause) } }

    /// A step that follows if the run has not ended. It is no movement: where nothing else moves, that is a deadlock.
    private func plan(at deadline: Int64, _ step: @escaping @Sendable (Run) -> Void) {
        let timer = Timer(deadline: deadline, isAwaited: { false }) { [weak self] in
            guard let self else { return }
            fromOutside { step(self) }
        }
        let (old, isOver) = changeShutdown { shutdown, isOver in
            let old = shutdown.timer
            shutdown.timer = isOver ? nil : timer
            return (old, isOver)
        }
        if let old { scheduler.disarm(old) }
        if !isOver { scheduler.arm(timer) }
    }

    private func cancelAtLast(_ ending: RunReport.Ending, _ cause: String?) {
        let isFirst = changeShutdown { shutdown, isOver in
            guard !isOver, shutdown.stuck == nil else { return false }
            shutdown.ending = ending
            return true
        }
        guard isFirst else { return }
        let inspection = inspect(all: false)  // before the cancellation, which ends waits
        changeShutdown { shutdown, _ in shutdown.stuck = inspection }
        context.cancel(cause: cause)
        plan(at: scheduler.now + Self.cleanupTime) { $0.stopForGood() }
    }

    private func stopForGood() {
        let isFirst = changeShutdown { shutdown, isOver in
            if isOver { return false }
            shutdown.ending = .stopped
            return shutdown.stopped == nil
        }
        if isFirst {
            let inspection = inspect(all: true)
            changeShutdown { shutdown, _ in shutdown.stopped = inspection }
        }
        stopComputing()
        dropWhatWaits()
        plan(at: scheduler.now + Self.stopPause) { $0.stopForGood() }
    }

    /// - Parameter all: also tasks that only wait; else those that keep pipelines from their ends.
    private func inspect(all: Bool) -> Inspection {
        let inspection = Inspection()
        let (workers, pipelines) = living
        for worker in workers {
            let unknown = RunReport.Stuck(
                part: worker.name, place: "", state: "computing where it cannot be interrupted")
            let answer = inspection.ask(unknown)
            worker.call { answer($0.stuck(all: all)) }
        }
        for pipeline in pipelines { pipeline.inspect(inspection) }
        return inspection
    }
}

extension Worker {
    /// Its tasks that have not ended, with what they do. On its thread.
    func stuck(all: Bool) -> [RunReport.Stuck] {
        orderedTasks.filter { !$0.isOver }.compactMap { task in
            let ports = task.ports
            let waitsInPorts = ports != nil && task.arguments < 0
            var found = RunReport.Stuck(part: name, place: task.stack.place, state: task.wait.description)
            if found.place.isEmpty { found.place = task.origin }
            if let ports {
                if isMain { found.part = "the sink function of \(task.origin)" }
                if waitsInPorts {
                    found.state = ports.description
                    found.isPassive = true
                }
                if let message = ports.driver.message, !message.isMark { found.value = HostAPI.describe(message) }
            } else if isStage {
                found.isPassive = task.wait.isExposed
            } else if !all, !task.isComputing {
                return nil  // it waits for pipelines, or for nothing that keeps them
            }
            return found
        }
    }
}

extension LuaTask {
    /// It waits for nothing: it runs, or would if its worker did.
    var isComputing: Bool { if case .none = wait { arguments >= 0 } else { false } }
}

extension PipelineRun {
    /// Asks its parts that are no workers.
    func inspect(_ inspection: Inspection) {
        let (pumps, connectors) = lock.withLock { (self.pumps, self.connectors) }
        let place = spec.place
        for pump in pumps {
            let answer = inspection.ask(RunReport.Stuck(part: pump.label, place: place, state: "at work"))
            pump.ask { pump in
                guard !pump.isOver else { return answer([]) }
                let state = pump.isWaiting ? pump.waitsFor : "at work"
                answer([RunReport.Stuck(part: pump.label, place: place, state: state, isPassive: pump.isPassive)])
            }
        }
        for connector in connectors where !connector.isOver {
            inspection.ask(RunReport.Stuck(part: connector.name, place: place, state: ""))([
                RunReport.Stuck(
                    part: connector.name, place: place, state: connector.isIdle ? "waiting for values" : connector.work,
                    isPassive: connector.isIdle)
            ])
        }
    }
}

/// A source or a sink of the host, while it works on a thread of its own.
final class ConnectorWatch: Sendable {
    let name: String
    /// What it does when it does not wait for values: `writing`.
    let work: String
    private let input: Channel?
    private let over = Counter()

    /// - Parameter input: of a sink.
    init(_ name: String, input: Channel? = nil) {
        self.name = name
        self.input = input
        work = input == nil ? "reading" : "writing"
    }

    var isOver: Bool { over.count > 0 }
    func end() { _ = over.next() }
    /// It waits for values.
    var isIdle: Bool { input?.hasWaitingReceiver ?? false }
}

// A worker over a limit: all that runs in it is stopped, whatever the script catches.
import LuaVM
import StreamCore

/// A limit of a worker, or of the value that it works on.
public enum WorkerLimit: String, Sendable, CaseIterable {
    case memory, cpu, timeout, output = "max_output"

    init(_ over: LuaOver) {
        switch over {
        case .memory: self = .memory
        case .cpu: self = .cpu
        case .output: self = .output
        }
    }
}

/// Why what ran in a worker was stopped.
struct LimitStop {
    var limit: WorkerLimit
    /// Names the place, the limit, and what raises it.
    var failure: ScriptFailure
}

/// The limits that a worker was given, as its messages tell them.
struct WorkerLimits {
    /// Bytes; 0: none.
    var memory = 0
    /// Of each stage in it, for one value.
    var values: [ValueLimits] = []
    /// Some value's output has a limit.
    var countsOutput: Bool { values.contains { $0.output > 0 } }
    /// Whose limits are kept here.
    var driver: StageDriver?
}

extension Worker {
    /// Bytes that what cleans up may take besides those that the state has.
    private static let reprieveBytes = 1 << 20

    /// The running task has brought the state over a limit: nothing that is here goes on. The task that does the worker's
    /// work fails; where that has ended, the one that runs; in the main worker the run.
    func stop(for over: LuaOver, in task: LuaTask) {
        let place = vm.stopPlace
        var failure = ScriptFailure(message: message(of: over))
        if !place.isEmpty { failure.message = "\(place): \(failure.message)" }
        stop = LimitStop(limit: WorkerLimit(over), failure: failure)
        noteStop(of: task, for: WorkerLimit(over))
        let all = orderedTasks.filter { !$0.isOver }
        if isMain {
            // Whoever would have been told of it runs here too: the run fails, and nothing waits for what cannot come.
            if run.environment.planted != .stopUnsaid { run.fail(failure) }
            run.context.cancel(cause: failure.message)
        } else if !all.contains(where: \.isPrincipal) {
            task.isPrincipal = true
        }
        for other in all {
            other.isStopped = true
            // One that waits for nothing is ready, or it is the one that ran. Whoever has claimed a wait tells it, and then
            // that task is ready too.
            if other === task, case .none = task.wait {
                ready.prepend(task)
            } else if other.waiter.claimCurrent() {
                other.waiter.outcome = .ended(.canceled)
                ready.append(other)
            }
        }
    }

    /// The limit that its state is over, whether or not something ran that had to be stopped.
    var exceeded: WorkerLimit? { stop?.limit ?? vm.over.map { WorkerLimit($0) } }

    /// Why something could not begin here.
    var noMemory: ScriptFailure {
        ScriptFailure(message: vm?.over == .memory ? message(of: .memory) : Self.noMemory)
    }
    private static let noMemory = "not enough memory"

    /// It was there when the worker was stopped, and its wait is over.
    func finish(stopped task: LuaTask) {
        if task.arguments < 0, let ports = task.ports {
            task.arguments = 0
            ports.unsent = 0
            ports.resumed(task.waiter)
        } else {
            endWait(of: task)
        }
        if let driver = task.ports?.driver {
            _ = driver.takeRequest()
            if !vm.isSpoilt { driver.describeStoppedValue(in: task.stack, vm.main) }
        }
        holdings.takeBack(of: task)
        let isUnsaid = run.environment.planted == .stopUnsaid
        if task.isPrincipal, !isUnsaid, let stop {
            over(task, .failed(stop.failure))
        } else {
            over(task, .stopped(.canceled))
        }
    }

    // MARK: What the host holds for it

    /// Bytes that a timer costs, and a context.
    static let timerBytes = 512, contextBytes = 512
    /// Those of a task beside its coroutine: itself, its seat, its context.
    static let taskBytes = 768
    /// Those of a worker of its own that it started, until that has ended.
    static let workerBytes = 64 << 10

    /// Sent on a channel that it made: what stands in those is looked up now and then.
    func noteSent(_ bytes: Int, on channel: Channel) {
        guard limits.memory > 0, channel.maker == ObjectIdentifier(self) else { return }
        sentBytes += bytes
        guard sentBytes >= limits.memory / 8 else { return }
        sentBytes = 0
        var sum = 0
        vm.eachObject(HostAPI.channelType) { reference in
            let channel = unsafeDowncast(SharedObject.from(reference), to: Channel.self)
            if channel.maker == ObjectIdentifier(self) { sum += channel.queuedBytes }
        }
        vm.setQueued(sum)
    }

    /// The running task waits with a message that is to be sent.
    func charge(_ bytes: Int, to task: LuaTask) {
        guard limits.memory > 0 else { return }
        task.charged = bytes
        vm.charge(bytes)
    }

    func uncharge(_ task: LuaTask) {
        vm?.uncharge(task.charged)
        task.charged = 0
    }

    /// What cleans up may run here. False: the state is not to be relied on any more.
    func reprieve() -> Bool {
        if vm.over != nil && vm.isSpoilt { return false }
        vm.reprieve(more: Self.reprieveBytes)
        return true
    }

    private func message(of over: LuaOver) -> String {
        if case .memory = over, limits.memory == 0 { return Self.noMemory }  // the machine's own limit
        let link = limits.driver?.faultyLink ?? 0
        let value = limits.values.indices.contains(link) ? limits.values[link] : ValueLimits()
        let (limit, option, more) =
            switch over {
            case .memory:
                (
                    "memory limit of \(Quantity.text(bytes: limits.memory))", "memory",
                    Quantity.text(bytes: 2 * limits.memory)
                )
            case .cpu:
                (
                    "cpu limit of \(Quantity.text(nanoseconds: value.cpu))", "cpu",
                    Quantity.text(nanoseconds: 2 * value.cpu)
                )
            case .output:
                (
                    "output limit of \(Quantity.text(bytes: Int(value.output))) for one value", "max_output",
                    Quantity.text(bytes: 2 * Int(value.output))
                )
            }
        return "\(limit) exceeded (\(option) = \"\(more)\" would raise it)"
    }
}

extension Quantity {
    /// "16MB": in the largest unit that needs no fraction; scripts may write it so.
    static func text(bytes: Int) -> String {
        var value = bytes
        for unit in ["B", "KB", "MB"] {
            if value < 1024 || value % 1024 != 0 { return "\(value)\(unit)" }
            value /= 1024
        }
        return "\(value)GB"
    }

    /// "1.5s": in the largest unit that leaves three digits behind the point at most.
    static func text(nanoseconds: Int64) -> String {
        for (unit, scale) in [("s", Int64(1_000_000_000)), ("ms", 1_000_000), ("us", 1000)]
        where nanoseconds >= scale && nanoseconds % (scale / 1000) == 0 {
            let (whole, rest) = (nanoseconds / scale, nanoseconds % scale / (scale / 1000))
            if rest == 0 { return "\(whole)\(unit)" }
            var digits = String(rest + 1000).dropFirst()
            while digits.hasSuffix("0") { digits.removeLast() }
            return "\(whole).\(digits)\(unit)"
        }
        return "\(nanoseconds)ns"
    }
}

/// Bytes that a worker is charged for while this lives, wherever it dies.
final class HostCharge: Sendable {
    private let worker: Weak
    private let bytes: Int

    private struct Weak: @unchecked Sendable {  // set once
        weak var worker: Worker?
    }

    /// On the worker's thread.
    init(_ worker: Worker, _ bytes: Int) {
        self.worker = Weak(worker: worker)
        self.bytes = bytes
        worker.vm.charge(bytes)
    }

    deinit { worker.worker?.giveBack(bytes) }
}

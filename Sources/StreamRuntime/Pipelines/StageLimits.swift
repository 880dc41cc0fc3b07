// Limits of a stage's workers, and what of them is used: for `stats`, and for whoever embeds the runtime.
import LuaVM
import StreamCore

/// One limit of a stage's workers.
public struct LimitUse: Sendable, Equatable {
    /// Bytes or seconds; nil: there is none.
    public var limit: Double?
    /// What the worker, or the value, uses now that uses the most.
    public var current = 0.0
    /// The most that one used, those that were replaced too.
    public var peak = 0.0
    /// Workers that were stopped for it.
    public var stopped = 0

    public init(limit: Double? = nil, current: Double = 0, peak: Double = 0, stopped: Int = 0) {
        self.limit = limit
        self.current = current
        self.peak = peak
        self.stopped = stopped
    }
}

/// Limits of one stage, and what of them is used. Memory is a worker's, the others are one value's. What a value uses is
/// looked at once a slice and at its waits, so one that takes less than a slice may not show.
public struct StageLimits: Sendable {
    public var memory = LimitUse()
    public var cpu = LimitUse()
    public var timeout = LimitUse()
    public var output = LimitUse()
    /// Bytes of the largest value that may be sent; 0: as large as values can be.
    public var maxValue = 0

    /// With the names that scripts use; those that are counted in bytes are written as integers.
    public var named: [(name: String, use: LimitUse, isBytes: Bool)] {
        [("memory", memory, true), ("cpu", cpu, false), ("timeout", timeout, false), ("max_output", output, true)]
    }

    /// Those of the same stage in a later run of its pipeline: the limits are the later ones.
    mutating func add(_ later: StageLimits) {
        for path in [\StageLimits.memory, \.cpu, \.timeout, \.output] as [WritableKeyPath<StageLimits, LimitUse>] {
            let use = later[keyPath: path]
            self[keyPath: path] = LimitUse(
                limit: use.limit ?? self[keyPath: path].limit, current: use.current,
                peak: max(self[keyPath: path].peak, use.peak), stopped: self[keyPath: path].stopped + use.stopped)
        }
        maxValue = later.maxValue
    }
}

/// What the workers of one group have used of their limits. Its workers write; `stats` reads.
final class LimitRecord: @unchecked Sendable {  // `lock`
    private let lock = Lock()
    private var peaks: [StageLimits]
    private let links: Int

    init(links: Int) {
        self.links = links
        peaks = Array(repeating: StageLimits(), count: links)
    }

    /// A worker was stopped.
    func count(_ limit: WorkerLimit, ofLink link: Int) {
        lock.withLock {
            switch limit {
            case .memory: for link in peaks.indices { peaks[link].memory.stopped += 1 }  // they share it
            case .cpu: peaks[link].cpu.stopped += 1
            case .timeout: peaks[link].timeout.stopped += 1
            case .output: peaks[link].output.stopped += 1
            }
        }
    }

    /// A worker has ended, or another comes in its place.
    func ended(_ worker: Worker, _ driver: StageDriver, _ limits: [ValueLimits]) {
        let uses = links == limits.count ? (0..<links).map { Self.use($0, worker, driver) } : []
        lock.withLock { for (link, use) in uses.enumerated() { Self.raise(&peaks[link], to: use, isRunning: false) } }
    }

    /// Of one stage, with the workers that run now.
    func use(ofLink link: Int, _ running: [(worker: Worker, driver: StageDriver)]) -> StageLimits {
        var result = lock.withLock { peaks[link] }
        for (worker, driver) in running {
            Self.raise(&result, to: Self.use(link, worker, driver), isRunning: true)
        }
        return result
    }

    private static func use(_ link: Int, _ worker: Worker, _ driver: StageDriver) -> StageLimits {
        var use = StageLimits()
        if let memory = worker.memory {
            use.memory.current = Double(memory.used)
            use.memory.peak = Double(memory.peak)
        }
        let scales: [(WritableKeyPath<StageLimits, LimitUse>, StageDriver.Use, Double)] = [
            (\.cpu, .cpu, 1e9), (\.timeout, .time, 1e9), (\.output, .output, 1),
        ]
        for (path, what, scale) in scales {
            let value = driver.use(what, ofLink: link)
            use[keyPath: path].current = Double(value.current) / scale
            use[keyPath: path].peak = Double(value.peak) / scale
        }
        return use
    }

    private static func raise(_ record: inout StageLimits, to use: StageLimits, isRunning: Bool) {
        for path in [\StageLimits.memory, \.cpu, \.timeout, \.output] as [WritableKeyPath<StageLimits, LimitUse>] {
            record[keyPath: path].peak = max(record[keyPath: path].peak, use[keyPath: path].peak)
            if isRunning {
                record[keyPath: path].current = max(record[keyPath: path].current, use[keyPath: path].current)
            }
        }
    }
}

extension StageGroup {
    /// Bytes of each worker.
    var workerMemory: Int { stage.memory > 0 ? stage.memory : run.environment.workerMemory }

    /// Of each stage, for one value: its own, or else the run's. CPU time is real also where the clock is not, so there it
    /// has no limit: computing takes no time there.
    var valueLimits: [ValueLimits] {
        let environment = run.environment
        return links.map { link in
            var limits = ValueLimits(output: max(0, link.maxOutput ?? 0))
            if case .process = link.kind {} else { limits.timeout = max(0, link.timeout ?? environment.valueTimeout) }
            if run.scheduler.isSystemTime { limits.cpu = max(0, link.cpu ?? environment.valueCPU) }
            return limits
        }
    }

    /// Bytes of the largest value that a worker sends: stages that share one share that.
    var maxValue: Int {
        let sizes = links.map { $0.maxValue ?? Self.defaultMaxValue }
        return sizes.contains(0) ? 0 : sizes.max()!
    }
}

/// Limits of one of the stages that share workers.
public struct NamedLimits: Sendable {
    public var name: String
    public var limits: StageLimits
}

extension StageGroup {
    var allLimits: [NamedLimits] {
        links.indices.map { NamedLimits(name: links[$0].name, limits: limits(ofLink: $0)) }
    }
}

extension PipelineRun {
    /// Limits of its stages, in order, with the names that `stats` gives them; those of stages that share workers follow
    /// each other. Any thread, also after its end.
    var stageLimits: [(name: String, limits: StageLimits)] {
        lock.withLock { records.map(\.limits) }.flatMap { $0?() ?? [] }.map { ($0.name, $0.limits) }
    }

    /// Sets the field `limits` of the table on top, and `fused`: names and limits of the stages that share its workers.
    func push(_ all: [NamedLimits], _ stack: LuaStack) {
        for (index, entry) in all.enumerated() {
            if index == 1 { stack.pushTable() }
            if index > 0 {
                stack.pushTable()
                stack.push(entry.name)
                stack.setField(-2, "name")
            }
            push(entry.limits, stack)
            if index > 0 { stack.setIndex(-2, Int64(index)) }
        }
        guard all.count > 1 else { return }
        stack.markArray()
        stack.setField(-2, "fused")
    }

    private func push(_ limits: StageLimits, _ stack: LuaStack) {
        stack.pushTable()
        for (name, use, isBytes) in limits.named {
            guard let limit = use.limit else { continue }
            stack.pushTable()
            for (field, value) in [("limit", limit), ("current", use.current), ("peak", use.peak)] {
                if isBytes { stack.push(Int64(value)) } else { stack.push(value) }
                stack.setField(-2, field)
            }
            stack.push(Int64(use.stopped))
            stack.setField(-2, "stopped")
            stack.setField(-2, name)
        }
        if limits.maxValue > 0 {
            stack.pushTable()
            stack.push(Int64(limits.maxValue))
            stack.setField(-2, "limit")
            stack.setField(-2, "max_value")
        }
        stack.setField(-2, "limits")
    }
}

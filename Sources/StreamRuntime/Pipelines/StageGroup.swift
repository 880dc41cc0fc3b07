// The workers of one stage.
import LuaVM
import StreamCore

/// Values that went through a stage, or through one of its parts.
struct StageTotals {
    /// As `stats` tells them; `dropped`: as nobody wanted them any more.
    var received = 0, emitted = 0, filtered = 0, failed = 0, dropped = 0
    /// For the account: see there. The failed that went to a sink of dead letters are not in `failed`.
    var created = 0, consumed = 0, returned = 0, deadLettered = 0
    /// Of those created: taken from a script's channel.
    private(set) var entered = 0
    /// Messages taken from the stage's own input, and put into its own output: not those of the lanes between its parts.
    var taken = 0, put = 0

    /// So many were taken from a script's channel.
    mutating func enter(_ count: Int) {
        created += count
        entered += count
    }

    mutating func add(_ other: StageTotals) {
        received += other.received
        emitted += other.emitted
        filtered += other.filtered
        failed += other.failed
        dropped += other.dropped
        created += other.created
        entered += other.entered
        consumed += other.consumed
        returned += other.returned
        deadLettered += other.deadLettered
        taken += other.taken
        put += other.put
    }
}

/// A stage's workers, each started from the same image, and what they have in common: the channels on both sides, the
/// policy for errors, the end. With `key` a dealer stands before them, with `ordered` a sequencer behind them: see
/// StageGroup+Parts.swift.
final class StageGroup: @unchecked Sendable {  // `lock` guards totals, what is left and what was reported
    /// Failures of a stage that are logged one by one; the rest are counted.
    static let loggedFailures = 20
    /// Bytes of the largest value that a stage sends, unless it says otherwise.
    static let defaultMaxValue = 64 << 20

    let run: Run
    let context: Context
    let stage: PipelineSpec.StageSpec
    /// The stage, and those that run in its workers.
    let links: [PipelineSpec.StageSpec]
    let input: Channel?
    let output: Channel
    let givesBack: Bool
    let isGenerator: Bool
    /// Its output is a link of its pipeline, not a script's channel.
    let putsIntoLink: Bool
    /// What others may read meanwhile.
    let meter = Meter()
    /// Counts the workers that are replaced.
    var restarts: Counter?
    /// Kept only while the group runs, by the pipeline that owns it.
    unowned(unsafe) var pipeline: PipelineRun!
    /// What its workers have used of their limits.
    let limitUse: LimitRecord
    private(set) var image: LuaImage?
    /// Of the key's function.
    private(set) var keyImage: LuaImage?
    private let lock = Lock()
    private var sum = StageTotals()
    /// Of the lanes between its parts.
    private var lanes: [ObjectIdentifier: QueueAccount] = [:]
    private var left = 1
    private var workers: [StageWorker] = []
    /// By stage: where its dead letters go.
    var letters: [Link?] = []
    private var restartsOfLinks: [Int: RestartWindow] = [:]
    private var reduces: [Int: (reports: Int, anyReceived: Bool)] = [:]
    private let onEnd: (StageGroup) -> Void

    var isSource: Bool { isGenerator }

    init(
        run: Run, context: Context, stage: PipelineSpec.StageSpec, input: Channel?, output: Channel, givesBack: Bool,
        putsIntoLink: Bool, isGenerator: Bool, onEnd: @escaping (StageGroup) -> Void
    ) {
        self.run = run
        self.context = context
        self.stage = stage
        links = [stage] + stage.fused
        limitUse = LimitRecord(links: 1 + stage.fused.count)
        self.input = input
        self.output = output
        self.givesBack = givesBack
        self.isGenerator = isGenerator
        self.putsIntoLink = putsIntoLink
        self.onEnd = onEnd
    }

    var totals: StageTotals { lock.withLock { sum } }

    /// What one of its parts has to tell of a lane, at its end.
    func tell(of lane: Channel, _ change: (inout QueueAccount) -> Void) {
        lock.withLock { change(&lanes[ObjectIdentifier(lane), default: QueueAccount(name: lane.name)]) }
    }

    /// Lanes in which values were lost, when all parts have ended.
    var laneProblems: [String] { lock.withLock { lanes.values.compactMap(\.problem).sorted() } }

    // MARK: Images

    /// Encodes the functions of the stage, and of those that run in its workers, as they are now: in one image, so that
    /// what they share stays shared. Returns the problem, or nil.
    func takeImage(from worker: Worker) -> String? {
        defer { for link in links { worker.vm.main.drop(reference: link.code) } }
        if stage.hasKeyFunction {
            switch encode([stage], ["key"], worker) {
            case .success(let image): keyImage = image
            case .failure(let problem): return "\(stage.place): stage \"\(stage.name)\": its key \(problem)"
            }
        }
        switch encode(links, StageWorker.roots, worker) {
        case .success(let image):
            self.image = image
            run.warnOfAssignments(by: links.map(\.code), in: worker)
            return nil
        case .failure(let problem):
            let culprit = links.first {
                if case .failure = encode([$0], StageWorker.roots, worker) { true } else { false }
            }
            let named = culprit ?? stage
            return "\(named.place): stage \"\(named.name)\" \(problem)"
        }
    }

    private func encode(
        _ links: [PipelineSpec.StageSpec], _ roots: [String], _ worker: Worker
    ) -> Result<LuaImage, LuaProblem> {
        let stack = worker.vm.main
        let before = stack.top
        defer { stack.setTop(before) }
        let count = Int32(links.count * roots.count)
        guard stack.ensure(count + 8) else { return .failure(LuaProblem("is too long a chain of stages")) }
        for link in links {
            stack.push(reference: link.code)
            let code = stack.top
            for name in roots { stack.getField(code, name) }
            stack.remove(code)
        }
        return worker.vm.image(stack, count: count)
    }

    // MARK: Life

    func start() {
        guard image != nil else { return }
        let parts = makeParts()
        lock.withLock {
            left = parts.workers.count + parts.pumps.count
            workers = parts.workers
        }
        for worker in parts.workers { worker.start() }
        for pump in parts.pumps { pump.start() }
    }

    /// It could not be started.
    func abandon() { onEnd(self) }

    /// Ends a generator as at its natural end.
    func drain() { for worker in lock.withLock({ workers }) { worker.drain() } }

    /// One of its parts has ended.
    func ended(_ totals: StageTotals) {
        let all: StageTotals? = lock.withLock {
            sum.add(totals)
            left -= 1
            return left == 0 ? sum : nil
        }
        guard let all else { return }
        if all.failed > Self.loggedFailures {
            run.log("stage \"\(stage.name)\": \(all.failed) values were skipped in all")
        }
        lock.withLock { workers = [] }
        onEnd(self)
    }

    /// Whether the worker that asks emits the state of its reduce: those that received a value do, and where none did,
    /// the last one to ask.
    func emitsState(ofLink link: Int, received: Bool) -> Bool {
        lock.withLock {
            var reduce = reduces[link] ?? (0, false)
            reduce.reports += 1
            reduce.anyReceived = reduce.anyReceived || received
            reduces[link] = reduce
            return received || reduce.reports == stage.workers && !reduce.anyReceived
        }
    }

    /// What the stage's function, and its tasks, have taken from its lanes and put into them meanwhile.
    var lanesInHand: (consumed: Int, created: Int) {
        var result = (consumed: 0, created: 0)
        for case let lane? in lock.withLock({ workers }).map(\.seat.input) {
            guard stage.isDealt, let exposure = lane.exposure else { continue }
            result.consumed += Int(lane.account.received)
            result.created += exposure.count
        }
        return result
    }

    /// What one of its stages uses of its limits.
    func limits(ofLink link: Int) -> StageLimits {
        let running = lock.withLock { workers }.filter { !$0.isKey }
        var use = limitUse.use(ofLink: link, running.map { stage in (stage.running, stage.driver) })
        let values = valueLimits[link]
        use.memory.limit = Double(workerMemory)
        if values.cpu > 0 { use.cpu.limit = Double(values.cpu) / 1e9 }
        if values.timeout > 0 { use.timeout.limit = Double(values.timeout) / 1e9 }
        if values.output > 0 { use.output.limit = Double(values.output) }
        use.maxValue = maxValue
        return use
    }

    // MARK: Failures

    /// Asks for a fresh worker, as the function of one of the stages has failed; the workers share what is declared. How
    /// many there were within the time, or nil: the stage is to stop.
    func restart(_ index: Int) -> Int? {
        let policy = links[index].onError, now = run.scheduler.now
        return lock.withLock {
            var window = restartsOfLinks[index] ?? RestartWindow()
            let isAllowed = window.restart(most: policy.restarts ?? 0, within: policy.window, at: now)
            restartsOfLinks[index] = window
            return isAllowed ? window.count : nil
        }
    }

    /// What follows a failure for one value: true, the stage goes on.
    func judge(_ failure: ScriptFailure, of link: PipelineSpec.StageSpec, value: String?, count: UInt64) -> Bool {
        var failure = failure
        failure.message = describe(failure, of: link, value: value)
        if link.skipsErrors {
            if count <= UInt64(Self.loggedFailures) { run.log("skipped: " + failure.message) }
            return true
        }
        pipeline.fail(failure)
        return false
    }

    func describe(_ failure: ScriptFailure, of link: PipelineSpec.StageSpec, value: String?) -> String {
        var text = "stage \"\(link.name)\" (\(link.place)): \(failure.message)"
        if let value { text += " (value: \(value))" }
        return text
    }
}

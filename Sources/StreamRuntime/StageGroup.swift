// The workers of one stage.
import LuaVM
import StreamCore

/// Values that went through a stage.
struct StageTotals {
    var received = 0, emitted = 0, filtered = 0, failed = 0, dropped = 0, droppedOut = 0
}

/// A stage's workers, each started from the same image, and what they have in common: the channels on both sides, the
/// policy for errors, the end.
final class StageGroup: @unchecked Sendable {  // `lock` guards totals and what is left
    /// Failures of a stage that are logged one by one; the rest are counted.
    static let loggedFailures = 20

    let run: Run
    let context: Context
    let stage: PipelineSpec.StageSpec
    let input: Channel?
    let output: Channel
    let givesBack: Bool
    let isGenerator: Bool
    /// What others may read meanwhile.
    let meter = Meter()
    /// Kept only while the group runs, by the pipeline that owns it.
    unowned(unsafe) var pipeline: PipelineRun!
    private var image: LuaImage?
    private let lock = Lock()
    private var sum = StageTotals()
    private var left = 1
    private var workers: [StageWorker] = []
    private let onEnd: (StageGroup) -> Void

    var isSource: Bool { isGenerator }

    init(
        run: Run, context: Context, stage: PipelineSpec.StageSpec, input: Channel?, output: Channel, givesBack: Bool,
        isGenerator: Bool, onEnd: @escaping (StageGroup) -> Void
    ) {
        self.run = run
        self.context = context
        self.stage = stage
        self.input = input
        self.output = output
        self.givesBack = givesBack
        self.isGenerator = isGenerator
        self.onEnd = onEnd
    }

    var totals: StageTotals { lock.withLock { sum } }

    /// Encodes the stage's functions as they are now. Returns the problem, or nil.
    func takeImage(from worker: Worker) -> String? {
        let stack = worker.vm.main
        stack.push(reference: stage.code)
        let code = stack.top
        for name in StageWorker.roots { stack.getField(code, name) }
        defer {
            stack.setTop(code - 1)
            stack.drop(reference: stage.code)
        }
        switch worker.vm.image(stack, count: Int32(StageWorker.roots.count)) {
        case .success(let image):
            self.image = image
            return nil
        case .failure(let problem): return "\(stage.place): stage \"\(stage.name)\" \(problem)"
        }
    }

    func start() {
        guard image != nil else { return }
        lock.withLock { left = stage.workers }
        for index in 1...stage.workers {
            let name = stage.workers == 1 ? stage.name : "\(stage.name) (\(index) of \(stage.workers))"
            let worker = StageWorker(group: self, image: image!, name: name)
            lock.withLock { workers.append(worker) }
            worker.start()
        }
    }

    /// It could not be started.
    func abandon() { onEnd(self) }

    /// Ends a generator as at its natural end.
    func drain() { for worker in lock.withLock({ workers }) { worker.drain() } }

    func ended(_ totals: StageTotals) {
        let isLast = lock.withLock {
            sum.received += totals.received
            sum.emitted += totals.emitted
            sum.filtered += totals.filtered
            sum.failed += totals.failed
            sum.dropped += totals.dropped
            sum.droppedOut += totals.droppedOut
            left -= 1
            return left == 0
        }
        if isLast {
            let failed = totals.failed
            if failed > Self.loggedFailures { run.log("stage \"\(stage.name)\": \(failed) values were skipped in all") }
            lock.withLock { workers = [] }
            onEnd(self)
        }
    }

    /// What follows a failure for one value: true, the stage goes on.
    func judge(_ failure: ScriptFailure, value: String?, count: UInt64) -> Bool {
        var failure = failure
        failure.message = describe(failure, value: value)
        if stage.skipsErrors {
            if count <= UInt64(Self.loggedFailures) { run.log("skipped: " + failure.message) }
            return true
        }
        pipeline.fail(failure)
        return false
    }

    func describe(_ failure: ScriptFailure, value: String?) -> String {
        var text = "stage \"\(stage.name)\" (\(stage.place)): \(failure.message)"
        if let value { text += " (value: \(value))" }
        return text
    }
}

/// One worker of a stage, and the phases of its life: restore, setup, work, flush, teardown.
final class StageWorker: @unchecked Sendable {  // all on its worker's thread, but for `drain`
    /// The functions that an image holds, in order.
    static let roots = ["process", "setup", "flush", "teardown", "initial"]
    private static let teardownLimit: Int64 = 50_000_000

    private let group: StageGroup
    private let image: LuaImage
    private var worker: Worker!
    private let driver: StageDriver
    private let ports: StagePorts
    private var references: [Int32] = []
    private var failure: ScriptFailure?
    private var stopped: Reason?

    init(group: StageGroup, image: LuaImage, name: String) {
        self.group = group
        self.image = image
        let form: StageForm = if case .script(let form) = group.stage.kind { form } else { .flatMap }
        driver = StageDriver(form)
        let isProcess = if case .process = group.stage.kind { !group.isGenerator } else { false }
        let shared = group.stage.workers > 1
        ports = StagePorts(
            driver: driver, input: isProcess ? nil : group.input, output: isProcess ? nil : group.output,
            scheduler: group.run.scheduler, inputLimit: group.givesBack || shared ? 1 : 256,
            givesBack: group.givesBack)
        worker = Worker(run: group.run, name: "stage \"\(name)\"") { [self] _ in begin() }
        ports.onFailure = { [self] failure in judge(failure) }
        ports.meter = group.meter
    }

    func start() {
        group.run.add(worker)
        worker.wake()
    }

    func drain() { worker.call { [self] _ in if !driver.isClosed { ports.endEarly() } } }

    private var stack: LuaStack { worker.vm.main }

    private func begin() {
        let memory = group.stage.memory > 0 ? group.stage.memory : group.run.environment.workerMemory
        guard worker.open(memoryLimit: memory) else {
            failed(ScriptFailure(message: "not enough memory"))
            return end()
        }
        HostAPI.open(worker, arguments: nil, scriptPath: group.run.environment.scriptPath)
        if let problem = worker.vm.restore(image) {
            failed(ScriptFailure(message: problem))
            return end()
        }
        references = Self.roots.map { _ in 0 }
        for index in Self.roots.indices.reversed() {
            if stack.isNil(-1) { stack.pop() } else { references[index] = stack.makeReference() }
        }
        if group.context.reason != nil {
            stopped = group.context.reason
            return end()
        }
        if reference("setup") == 0 { return work() }
        call("setup", push: { HostAPI.pushContext($0, self.group.context) }) { [self] end in
            switch end {
            case .returned: work()
            case .failed(let failure):
                if let reason = group.context.reason {
                    stopped = reason
                } else {
                    failed(ScriptFailure(message: "in setup: " + failure.message, traceback: failure.traceback))
                }
                teardown()
            case .stopped(let reason):
                stopped = reason
                teardown()
            }
        }
    }

    private func reference(_ name: String) -> Int32 { references[Self.roots.firstIndex(of: name)!] }

    /// Starts a task of one of the stage's functions.
    private func call(
        _ name: String, context: Context? = nil, ports: StagePorts? = nil, push: (LuaStack) -> Void,
        then: @escaping (TaskEnd) -> Void
    ) {
        let before = stack.top
        stack.push(reference: reference(name))
        push(stack)
        let arguments = stack.top - before - 1
        let task = worker.start(
            from: stack, arguments: arguments, context: context ?? group.context, origin: group.stage.place,
            ports: ports
        ) { _, end in then(end) }
        if task == nil { then(.failed(ScriptFailure(message: "not enough memory"))) }
    }

    private func work() {
        switch group.stage.kind {
        case .process where group.isGenerator:
            call("process", ports: ports) { [self] stack in
                _ = driver.pushEmit(stack)
                HostAPI.pushContext(stack, group.context)
            } then: { [self] in
                worked($0)
            }
        case .process:
            worker.stageInput = group.input
            worker.stageOutput = group.output
            call("process") { [self] stack in
                HostAPI.push(stack, group.input!)
                HostAPI.push(stack, group.output)
                HostAPI.pushContext(stack, group.context)
            } then: { [self] in
                worked($0)
            }
        default:
            guard driver.pushFunction(stack) else {
                return worked(.failed(ScriptFailure(message: "not enough memory")))
            }
            stack.push(reference: reference("process"))
            if reference("initial") != 0 {
                stack.push(reference: reference("initial"))
            } else if case .script(.flatMap) = group.stage.kind {
                _ = driver.pushEmit(stack)
            } else {
                stack.pushNil()
            }
            let task = worker.start(
                from: stack, arguments: 2, context: group.context, origin: group.stage.place, ports: ports
            ) { [self] task, end in
                guard case .script(.reduce) = group.stage.kind, case .returned = end, failure == nil,
                    ports.endReason == nil, !task.stack.isNil(-1)
                else { return worked(end) }
                emit(resultOf: task)
            }
            if task == nil { worked(.failed(ScriptFailure(message: "not enough memory"))) }
        }
    }

    /// The last state of a reduce is its one value.
    private func emit(resultOf task: LuaTask) {
        guard driver.pushEmit(stack) else { return worked(.failed(ScriptFailure(message: "not enough memory"))) }
        task.stack.move(1, to: stack)
        let emission = worker.start(
            from: stack, arguments: 1, context: group.context, origin: group.stage.place, ports: ports
        ) { [self] _, end in worked(end) }
        if emission == nil { worked(.failed(ScriptFailure(message: "not enough memory"))) }
    }

    private func worked(_ end: TaskEnd) {
        switch end {
        case .returned: stopped = stopped ?? ports.endReason ?? (ports.isProcess ? nil : group.context.reason)
        case .failed(let failure):
            if let reason = group.context.reason { stopped = reason } else { failed(failure) }
        case .stopped(let reason): stopped = reason
        }
        if failure != nil || stopped != nil || reference("flush") == 0 || driver.isClosed { return teardown() }
        call("flush", ports: ports) { [self] in
            _ = driver.pushEmit($0)
        } then: { [self] end in
            switch end {
            case .returned: break
            case .failed(let failure):
                failed(ScriptFailure(message: "in flush: " + failure.message, traceback: failure.traceback))
            case .stopped(let reason): stopped = reason
            }
            teardown()
        }
    }

    /// A failure that is not one value's: it fails the pipeline.
    private func failed(_ failure: ScriptFailure) {
        var failure = failure
        failure.message = group.describe(failure, value: nil)
        self.failure = failure
        group.pipeline.fail(failure)
    }

    /// A failure for the value in hand.
    private func judge(_ failure: ScriptFailure) -> Bool {
        // What a task raises after its context has ended is its end, not a failure.
        if let reason = group.context.reason {
            stopped = reason
            return false
        }
        var text: String?
        if let message = driver.message {
            if stack.decode(message) { text = stack.describe(-1, limit: 160) }
            stack.pop()
        }
        if group.judge(failure, value: text, count: driver.failed) { return true }
        self.failure = failure
        return false
    }

    private func teardown() {
        guard reference("teardown") != 0 else { return end() }
        let reason = failure != nil ? "failed" : stopped?.description ?? "done"
        // It runs in a context of its own: it may wait a little although the pipeline was cancelled.
        let context = Context(scheduler: group.run.scheduler)
        if failure != nil || stopped != nil { context.end(at: group.run.scheduler.now + Self.teardownLimit) }
        call("teardown", context: context) {
            $0.push(reason)
        } then: { [self] end in
            if case .failed(let failure) = end {
                group.run.log(group.describe(ScriptFailure(message: "in teardown: " + failure.message), value: nil))
            }
            context.cancel()
            self.end()
        }
    }

    private func end() {
        // Tasks that the script started here go on. A process has handed its output to them: it stays open until they
        // have ended. Other stages have ended now, and only the worker lives on.
        if worker.hasTasks && !ports.isProcess {
            let totals = finish()
            worker.endWhenIdle { [self] in leave() }
            group.ended(totals)
        } else {
            worker.endWhenIdle { [self] in
                let totals = finish()
                leave()
                group.ended(totals)
            }
        }
    }

    private func finish() -> StageTotals {
        ports.finish()
        var totals = StageTotals()
        totals.received = Int(driver.received) + worker.taken
        totals.emitted = Int(driver.emitted) + worker.put
        totals.filtered = Int(driver.filtered)
        totals.failed = Int(driver.failed)
        totals.dropped = ports.droppedIn + ports.droppedOut
        totals.droppedOut = ports.droppedOut
        return totals
    }

    private func leave() {
        ports.onFailure = nil  // it refers to this stage, which refers to the ports
        group.run.remove(worker)
        worker = nil
    }
}

// One worker of a stage.
import LuaVM
import StreamCore

/// One worker of a stage, and the phases of its life: restore, setup, work, the end of the input (the state of a
/// reduce, flush), teardown. Stages that run in it (`isolated = false`) go through each phase in their order.
final class StageWorker: @unchecked Sendable {  // all on its worker's thread, but for `drain`
    /// The functions that an image holds of each stage, in order.
    static let roots = ["process", "setup", "flush", "teardown", "initial"]
    static let teardownLimit: Int64 = 50_000_000

    /// What lies before and behind a worker.
    struct Seat {
        var input: Channel?
        var output: Channel
        var givesBack: Bool
        /// No other worker reads the input: what is left there at its end is dropped.
        var ownsInput = false
        /// No other worker writes to the output: it is closed at its end.
        var ownsOutput = false
        var adaptive: AdaptiveBatch?
        var ticket: ReaderSeat?
        var sequencer: Sequencer?
    }

    let group: StageGroup
    let links: [PipelineSpec.StageSpec]
    let image: LuaImage
    let seat: Seat
    /// It runs the key's function.
    let isKey: Bool
    let name: String
    /// Kept after its end: `drain` may come from another thread at any moment. A worker that has ended holds nothing of
    /// this any more. Changes, under `lock`, where one that was stopped is replaced.
    var worker: Worker!
    let lock = Lock()
    /// The worker was stopped for a limit.
    var wasStopped = false
    /// ... and the stage goes on with the next value in a fresh one.
    var isReplaced = false
    let driver: StageDriver
    /// Of each stage, for one value.
    let limits: [ValueLimits]
    let ports: StagePorts
    /// By stage, then as in `roots`; 0: there is none.
    var references: [[Int32]] = []
    /// Stages whose setup has begun: so many get a teardown.
    var begun = 0
    /// Of tasks that have outlived its function.
    var runaways: RunawayWatch?
    /// The last state of a reduce that is no part of a chain.
    var state: Int32 = 0
    var failure: ScriptFailure?
    var stopped: Reason?
    // Failures: StageWorker+Judgement, +Failures.
    /// By stage.
    var tries: [RetryState] = []
    var pending: PendingFailure?
    var wait: WorkerWait?
    /// The worker ends after a failure, and the stage goes on in a fresh one.
    var isFailing = false
    /// Setup is over.
    var isWorking = false
    var setupFailures = 0
    /// Before the fresh worker begins.
    var restartDelay: Int64 = 0
    /// Values that a process had when it failed.
    var lostInHand = 0
    /// What the workers that were replaced took and put, where the function has the channels itself.
    var takenBefore = 0, putBefore = 0

    /// - Parameter keyLanes: it runs the key's function, for so many workers; 0: it is one of those.
    init(group: StageGroup, image: LuaImage, name: String, seat: Seat, keyLanes: Int = 0) {
        self.group = group
        self.image = image
        self.seat = seat
        isKey = keyLanes > 0
        self.name = name
        links = isKey ? [group.stage] : group.links
        let forms = links.map { if case .script(let form) = $0.kind { form } else { StageForm.flatMap } }
        driver =
            if isKey { StageDriver(.key(lanes: keyLanes)) } else if links.count > 1 { .chain(forms) } else {
                StageDriver(forms[0])
            }
        let isProcess = if case .process = group.stage.kind { !group.isGenerator && !isKey } else { false }
        ports = StagePorts(
            driver: driver, input: isProcess ? nil : seat.input, output: isProcess ? nil : seat.output,
            scheduler: group.run.scheduler, inputLimit: seat.givesBack ? 1 : 256, givesBack: seat.givesBack,
            adaptive: seat.adaptive, seat: seat.ticket, marksAreDealt: seat.sequencer != nil && seat.ownsInput,
            sequencer: seat.sequencer)
        driver.isProcess = isProcess
        limits = isKey ? [ValueLimits()] : group.valueLimits
        if limits.contains(where: { !$0.isEmpty }) { driver.setLimits(limits) }
        if limits.contains(where: { $0.timeout > 0 }) {
            ports.deadlines = ValueDeadlines(
                driver: driver, home: group.context, links: links.count, scheduler: group.run.scheduler)
        }
        ports.home = group.context
        worker = makeWorker()
        ports.onFailure = { [self] failure, task in judge(failure, task.waiter) }
        ports.onJudged = { [self] task in judged(task.waiter) }
        tries = links.map { _ in RetryState() }
        let keeps = zip(forms, links.map(\.onError)).map { form, policy in
            (
                isOn: policy.retries > 0 || policy.hasLetters && driver.isChain,
                holds: policy.retries > 0 && form == .flatMap
            )
        }
        if !isKey && keeps.contains(where: \.isOn) { driver.setKeeps(keeps) }
        ports.onOverflow = { [self] queue in failed(ScriptFailure(message: queue.overflowMessage), links.count - 1) }
        ports.meter = group.meter
        ports.isKey = isKey
    }

    func makeWorker() -> Worker {
        let worker = Worker(run: group.run, name: "stage \"\(name)\"") { [self] _ in begin() }
        worker.isStage = true
        return worker
    }

    func start() {
        group.run.add(worker)
        worker.wake()
    }

    func drain() {
        running.call { [self] _ in if !driver.isClosed { ports.endEarly() } }
    }

    /// Any thread.
    var running: Worker { lock.withLock { worker! } }

    var stack: LuaStack { worker.vm.main }

    // MARK: Setup

    func begin() {
        worker.limits = WorkerLimits(memory: group.workerMemory, values: limits, driver: driver)
        guard worker.open(memoryLimit: group.workerMemory) else {
            failed(worker.noMemory)
            return end()
        }
        worker.vm.setMaxValue(group.maxValue)
        HostAPI.open(worker, arguments: nil, scriptPath: group.run.environment.scriptPath)
        if let problem = worker.vm.restore(image) {
            failed(ScriptFailure(message: problem))
            return end()
        }
        references = links.map { _ in Self.roots.map { _ in 0 } }
        for link in links.indices.reversed() {
            for index in (isKey ? 0..<1 : Self.roots.indices).reversed() {
                if stack.isNil(-1) { stack.pop() } else { references[link][index] = stack.makeReference() }
            }
        }
        if group.context.reason != nil {
            stopped = group.context.reason
            return end()
        }
        if driver.isChain && !setChain() {
            failed(worker.noMemory)
            return end()
        }
        setup(0)
    }

    func setChain() -> Bool {
        guard stack.ensure(Int32(2 * links.count + 8)) else { return false }
        for link in links.indices {
            stack.push(reference: reference("process", link))
            if reference("initial", link) != 0 {
                stack.push(reference: reference("initial", link))
            } else {
                stack.pushNil()
            }
        }
        return driver.setChain(stack)
    }

    func setup(_ link: Int) {
        guard link < links.count else { return work() }
        begun = link + 1
        if reference("setup", link) == 0 { return setup(link + 1) }
        call("setup", link, push: { HostAPI.pushContext($0, self.group.context) }) { [self] end in
            switch end {
            case .returned: setup(link + 1)
            case .failed(let failure):
                if let reason = group.context.reason {
                    stopped = reason
                } else {
                    setupFailed(failure, link)
                }
                teardown(0)
            case .stopped(let reason):
                stopped = reason
                teardown(0)
            }
        }
    }

    func reference(_ name: String, _ link: Int) -> Int32 { references[link][Self.roots.firstIndex(of: name)!] }

    /// Starts a task of one of a stage's functions.
    func call(
        _ name: String, _ link: Int, context: Context? = nil, ports: StagePorts? = nil, held: Channel? = nil,
        cleansUntil: Int64? = nil, push: (LuaStack) -> Void, then: @escaping (TaskEnd) -> Void
    ) {
        let before = stack.top
        stack.push(reference: reference(name, link))
        push(stack)
        let arguments = stack.top - before - 1
        let task = worker.start(
            from: stack, arguments: arguments, context: context ?? group.context, origin: links[link].place,
            ports: ports, isPrincipal: true
        ) { _, end in then(end) }
        task?.heldInput = held
        if let cleansUntil { task?.cleansUntil = cleansUntil }
        if task == nil { then(.failed(worker.noMemory)) }
    }

    func pushEmit(_ stack: LuaStack, _ link: Int) -> Bool {
        driver.isChain ? driver.pushEmit(stack, link: link) : driver.pushEmit(stack)
    }

    // MARK: Work

    func work() {
        isWorking = true
        setupFailures = 0
        if !isKey { worker.vm.limit(driver) }
        switch group.stage.kind {
        case .process where isKey: drive()
        case .process where group.isGenerator:
            driver.isGenerator = true
            call("process", 0, ports: ports) { [self] stack in
                _ = pushEmit(stack, 0)
                HostAPI.pushContext(stack, group.context)
            } then: { [self] in
                worked($0)
            }
        case .process:
            worker.stageInput = seat.input
            worker.stageOutput = seat.output
            worker.countsTaken = seat.givesBack
            worker.countsPut = !group.putsIntoLink
            worker.stageMeter = group.meter
            call("process", 0, held: seat.input) { [self] stack in
                HostAPI.push(stack, seat.input!)
                HostAPI.push(stack, seat.output)
                HostAPI.pushContext(stack, group.context)
            } then: { [self] in
                worked($0)
            }
        default: drive()
        }
    }

    /// Starts the driver's task.
    func drive() {
        var arguments: Int32 = 0
        if driver.isChain {
            guard driver.pushChain(stack) else { return worked(.failed(worker.noMemory)) }
        } else {
            guard driver.pushFunction(stack) else { return worked(.failed(worker.noMemory)) }
            stack.push(reference: reference("process", 0))
            if reference("initial", 0) != 0 {
                stack.push(reference: reference("initial", 0))
            } else if !isKey, case .script(.flatMap) = group.stage.kind {
                _ = driver.pushEmit(stack)
            } else {
                stack.pushNil()
            }
            arguments = 2
        }
        let task = worker.start(
            from: stack, arguments: arguments, context: group.context, origin: group.stage.place, ports: ports,
            drives: true, isPrincipal: true
        ) { [self] task, end in
            if !isKey, !driver.isChain, case .script(.reduce) = group.stage.kind, case .returned(let count) = end,
                count > 0, !task.stack.isNil(-1)
            {
                task.stack.move(1, to: stack)
                state = stack.makeReference()
            }
            worked(end)
        }
        if task == nil { worked(.failed(worker.noMemory)) }
    }

    func worked(_ end: TaskEnd) {
        if driver.isOverdue || worker.exceeded != nil { return overLimit(end) }
        if isReplaced { return teardown(0) }
        switch end {
        case .returned: stopped = stopped ?? ports.endReason ?? (ports.isProcess ? nil : group.context.reason)
        case .failed(let failure):
            if let reason = group.context.reason {
                stopped = reason
            } else if !((driver.isClosed || driver.isDrained) && failure.message.hasSuffix(StageDriver.nobodyListens)) {
                if ports.isProcess && !isKey { processFailed(failure) } else { failed(failure) }
            }
        case .stopped(let reason): stopped = reason
        }
        isWorking = false
        if isKey || isReplaced { teardown(0) } else { finishLink(0) }
    }
}

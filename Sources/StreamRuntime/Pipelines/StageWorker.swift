// One worker of a stage.
import LuaVM
import StreamCore

/// One worker of a stage, and the phases of its life: restore, setup, work, the end of the input (the state of a
/// reduce, flush), teardown. Stages that run in it (`isolated = false`) go through each phase in their order.
final class StageWorker: @unchecked Sendable {  // all on its worker's thread, but for `drain`
    /// The functions that an image holds of each stage, in order.
    static let roots = ["process", "setup", "flush", "teardown", "initial"]
    private static let teardownLimit: Int64 = 50_000_000

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

    private let group: StageGroup
    private let links: [PipelineSpec.StageSpec]
    private let image: LuaImage
    private let seat: Seat
    /// It runs the key's function.
    private let isKey: Bool
    private let name: String
    /// Kept after its end: `drain` may come from another thread at any moment. A worker that has ended holds nothing of
    /// this any more. Changes, under `lock`, where one that was stopped is replaced.
    private var worker: Worker!
    private let lock = Lock()
    /// The worker was stopped, as a value had more than its time.
    private var wasOverdue = false
    /// ... and the stage goes on with the next value in a fresh one.
    private var isReplaced = false
    private let driver: StageDriver
    private let ports: StagePorts
    /// By stage, then as in `roots`; 0: there is none.
    private var references: [[Int32]] = []
    /// Stages whose setup has begun: so many get a teardown.
    private var begun = 0
    /// The last state of a reduce that is no part of a chain.
    private var state: Int32 = 0
    private var failure: ScriptFailure?
    private var stopped: Reason?

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
        let timeouts = links.map(\.timeout)
        if !isKey && timeouts.contains(where: { $0 > 0 }) {
            driver.setTimeouts(timeouts)
            ports.deadlines = ValueDeadlines(
                driver: driver, home: group.context, links: links.count, scheduler: group.run.scheduler)
        }
        ports.home = group.context
        worker = makeWorker()
        ports.onFailure = { [self] failure in judge(failure) }
        ports.onOverflow = { [self] queue in failed(ScriptFailure(message: queue.overflowMessage), links.count - 1) }
        if !isKey { ports.meter = group.meter }
    }

    private func makeWorker() -> Worker { Worker(run: group.run, name: "stage \"\(name)\"") { [self] _ in begin() } }

    func start() {
        group.run.add(worker)
        worker.wake()
    }

    func drain() {
        let worker = lock.withLock { self.worker! }
        worker.call { [self] _ in if !driver.isClosed { ports.endEarly() } }
    }

    private var stack: LuaStack { worker.vm.main }
    private static let noMemory = ScriptFailure(message: "not enough memory")

    // MARK: Setup

    private func begin() {
        let memory = group.stage.memory > 0 ? group.stage.memory : group.run.environment.workerMemory
        guard worker.open(memoryLimit: memory) else {
            failed(Self.noMemory)
            return end()
        }
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
            failed(Self.noMemory)
            return end()
        }
        setup(0)
    }

    private func setChain() -> Bool {
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

    private func setup(_ link: Int) {
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
                    failed(ScriptFailure(message: "in setup: " + failure.message, traceback: failure.traceback), link)
                }
                teardown(0)
            case .stopped(let reason):
                stopped = reason
                teardown(0)
            }
        }
    }

    private func reference(_ name: String, _ link: Int) -> Int32 { references[link][Self.roots.firstIndex(of: name)!] }

    /// Starts a task of one of a stage's functions.
    private func call(
        _ name: String, _ link: Int, context: Context? = nil, ports: StagePorts? = nil, held: Channel? = nil,
        push: (LuaStack) -> Void, then: @escaping (TaskEnd) -> Void
    ) {
        let before = stack.top
        stack.push(reference: reference(name, link))
        push(stack)
        let arguments = stack.top - before - 1
        let task = worker.start(
            from: stack, arguments: arguments, context: context ?? group.context, origin: links[link].place,
            ports: ports
        ) { _, end in then(end) }
        task?.heldInput = held
        if task == nil { then(.failed(Self.noMemory)) }
    }

    private func pushEmit(_ stack: LuaStack, _ link: Int) -> Bool {
        driver.isChain ? driver.pushEmit(stack, link: link) : driver.pushEmit(stack)
    }

    // MARK: Work

    private func work() {
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
    private func drive() {
        var arguments: Int32 = 0
        if driver.isChain {
            guard driver.pushChain(stack) else { return worked(.failed(Self.noMemory)) }
        } else {
            guard driver.pushFunction(stack) else { return worked(.failed(Self.noMemory)) }
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
            from: stack, arguments: arguments, context: group.context, origin: group.stage.place, ports: ports
        ) { [self] task, end in
            if !isKey, !driver.isChain, case .script(.reduce) = group.stage.kind, case .returned(let count) = end,
                count > 0, !task.stack.isNil(-1)
            {
                task.stack.move(1, to: stack)
                state = stack.makeReference()
            }
            worked(end)
        }
        if task == nil { worked(.failed(Self.noMemory)) }
    }

    private func worked(_ end: TaskEnd) {
        if driver.isOverdue {
            overdue(end)
            return teardown(0)
        }
        switch end {
        case .returned: stopped = stopped ?? ports.endReason ?? (ports.isProcess ? nil : group.context.reason)
        case .failed(let failure):
            if let reason = group.context.reason {
                stopped = reason
            } else if !(driver.isClosed && failure.message.hasSuffix(StageDriver.nobodyListens)) {
                failed(failure)
            }
        case .stopped(let reason): stopped = reason
        }
        if isKey { teardown(0) } else { finishLink(0) }
    }

    /// The worker's task was stopped, as a value had more than its time: the policy for errors says what follows.
    private func overdue(_ end: TaskEnd) {
        ports.settle()  // what was emitted in time has left
        if let reason = group.context.reason {
            stopped = reason
            return
        }
        wasOverdue = true
        driver.describeOverdueValue(stack)
        driver.giveUpValue()
        guard case .failed(let failure) = end else { return stopped = .deadlineExceeded }
        guard judge(failure) else { return }
        if group.isGenerator {
            let text = "its worker was stopped, and the generator in it cannot begin anew: \(failure.message)"
            return failed(ScriptFailure(message: text), driver.faultyLink)
        }
        isReplaced = true
        for link in links {
            switch link.kind {
            case .script(.scan), .script(.reduce):
                group.run.log("stage \"\(link.name)\" (\(link.place)): its state is the initial one again")
            default: break
            }
        }
    }

    /// The stage goes on with the next value, in a worker started from the same image. At most one is there at a time.
    private func replace() {
        let old = worker!, fresh = makeWorker()
        isReplaced = false
        wasOverdue = false
        driver.isOverdue = false
        references = []
        begun = 0
        state = 0
        lock.withLock { worker = fresh }
        group.run.add(fresh)
        old.end { [group] in
            group.run.remove(old)
            fresh.wake()
        }
    }

    // MARK: The end of the input

    /// What each stage makes when its input has ended, in order: it goes through the stages behind.
    private func finishLink(_ link: Int) {
        if failure != nil || stopped != nil || driver.isClosed || link == links.count { return teardown(0) }
        guard case .script(.reduce) = links[link].kind,
            group.emitsState(ofLink: link, received: driver.received(inLink: link) > 0)
        else { return flush(link) }
        guard pushEmit(stack, link) else {
            failed(Self.noMemory)
            return teardown(0)
        }
        if driver.isChain {
            driver.pushState(stack, link: link)
        } else if state != 0 {
            stack.push(reference: state)
        } else {
            stack.pushNil()
        }
        if stack.isNil(-1) {
            stack.pop(2)
            return flush(link)
        }
        let task = worker.start(
            from: stack, arguments: 1, context: group.context, origin: links[link].place, ports: ports
        ) { [self] _, end in
            settle(end, "", link)
            flush(link)
        }
        if task == nil {
            failed(Self.noMemory)
            teardown(0)
        }
    }

    private func flush(_ link: Int) {
        if failure != nil || stopped != nil || driver.isClosed { return teardown(0) }
        if reference("flush", link) == 0 { return finishLink(link + 1) }
        call("flush", link, ports: ports) { [self] in
            _ = pushEmit($0, link)
        } then: { [self] end in
            settle(end, "in flush: ", link)
            finishLink(link + 1)
        }
    }

    private func settle(_ end: TaskEnd, _ phase: String, _ link: Int) {
        switch end {
        case .returned: stopped = stopped ?? ports.endReason
        case .failed(let failure):
            if driver.isOverdue {
                wasOverdue = true
                driver.giveUpValue()
            }
            failed(ScriptFailure(message: phase + failure.message, traceback: failure.traceback), link)
        case .stopped(let reason): stopped = reason
        }
    }

    // MARK: Failures

    /// A failure that is not one value's: it fails the pipeline.
    private func failed(_ failure: ScriptFailure, _ link: Int = 0) {
        var failure = failure
        failure.message = group.describe(failure, of: links[link], value: nil)
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
        if let value = driver.faultyValue {
            text = value
        } else if let message = driver.message {
            if stack.decode(message) { text = stack.describe(-1, limit: 160) }
            stack.pop()
        }
        let link = driver.faultyLink
        if group.judge(failure, of: links[link], value: text, count: driver.failed(inLink: link)) { return true }
        self.failure = failure
        return false
    }

    // MARK: The end

    private func teardown(_ link: Int) {
        guard link < begun else { return end() }
        guard reference("teardown", link) != 0 else { return teardown(link + 1) }
        let reason =
            wasOverdue
            ? Reason.deadlineExceeded.description : failure != nil ? "failed" : stopped?.description ?? "done"
        // It runs in a context of its own: it may wait a little although the pipeline was cancelled.
        let context = Context(scheduler: group.run.scheduler)
        if failure != nil || stopped != nil || wasOverdue {
            context.end(at: group.run.scheduler.now + Self.teardownLimit)
        }
        call("teardown", link, context: context) {
            $0.push(reason)
        } then: { [self] end in
            if case .failed(let failure) = end {
                let failure = ScriptFailure(message: "in teardown: " + failure.message)
                group.run.log(group.describe(failure, of: links[link], value: nil))
            }
            context.cancel()
            teardown(link + 1)
        }
    }

    private func end() {
        if isReplaced { return replace() }
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
        totals.failed = Int(driver.failed)
        totals.dropped = ports.droppedIn + ports.droppedOut
        if seat.ownsInput, let input = seat.input { totals.dropped += input.closeReading().dropValues() }
        if isKey {
            // What it passed on is still in front of the stage; a value that its end interrupted is lost there.
            totals.received = totals.failed
            totals.dropped += Int(driver.received) - Int(driver.emitted) - totals.failed
            seat.output.close()
        } else {
            totals.received = Int(driver.received) + worker.taken
            totals.emitted = Int(driver.emitted) + worker.put
            totals.filtered = Int(driver.filtered)
            totals.droppedOut = ports.droppedOut
            let lost = valueInHand(totals)
            totals.emitted += lost
            totals.dropped += lost
            totals.droppedOut += lost
        }
        if seat.ownsOutput { seat.output.close() }
        return totals
    }

    /// Whether an early end interrupted a value that would have been passed on, or the wait for room for its result: it
    /// is dropped.
    private func valueInHand(_ totals: StageTotals) -> Int {
        guard !driver.isChain, case .script(let form) = links[0].kind, [.map, .filter, .each, .scan].contains(form)
        else { return 0 }
        return max(0, totals.received - totals.filtered - totals.failed - totals.emitted)
    }

    private func leave() {
        ports.onFailure = nil  // it refers to this stage, which refers to the ports
        ports.onOverflow = nil
        group.run.remove(worker)
    }
}

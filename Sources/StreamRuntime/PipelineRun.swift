// A pipeline that runs: its links, its parts, how they end.
import LuaVM
import StreamCore

/// What starts and ends together: source, stages, sink, and the channels between them.
///
/// Each part, when it ends, closes the channel behind it and gives up the one before it, so an end travels both ways. A
/// failure is recorded once and cancels the pipeline's context. The pipeline has ended when all parts have.
final class PipelineRun: SharedObject, @unchecked Sendable {  // `lock` guards what parts on several threads change
    let run: Run
    let spec: PipelineSpec
    let context: Context
    private let lock = Lock()
    private var partsLeft = 0
    private var failureFound: ScriptFailure?
    private var isOver = false
    /// Why it ended early, as its context said when its last part ended; what the context does later is no matter.
    private var endReason: String?
    private var isHandled = false
    private var followers: [(waiter: Waiter, generation: UInt64)] = []
    private var groups: [StageGroup] = []
    private var hostSource: (any HostSource)?
    /// Where the host's source sends to.
    private var sourceLink: Channel?
    private var pumps: [Pump] = []
    private var draining = false
    private var counted = Account()
    private(set) var collected: LuaTask.TaskResult?

    init(run: Run, spec: PipelineSpec, parent: Context) {
        self.run = run
        self.spec = spec
        context = Context(scheduler: run.scheduler, parent: parent)
    }

    var account: Account { lock.withLock { counted } }
    func count(_ change: (inout Account) -> Void) { lock.withLock { change(&counted) } }

    /// Nil while it runs; then its failure, or success.
    var outcome: Result<Void, LuaProblem>? {
        lock.withLock {
            guard isOver else { return nil }
            if let failureFound { return .failure(LuaProblem(failureFound.message)) }
            if let endReason { return .failure(LuaProblem(endReason)) }
            return .success(())
        }
    }

    /// Someone receives its outcome: a failure is no longer the run's.
    var isReceived: Bool { lock.withLock { isHandled } }
    func handle() { lock.withLock { isHandled = true } }

    /// Ends `waiter`'s wait when the pipeline ends. False: it has ended.
    func follow(_ waiter: Waiter, _ generation: UInt64) -> Bool {
        lock.withLock {
            if isOver { return false }
            followers.append((waiter, generation))
            return true
        }
    }

    func fail(_ failure: ScriptFailure) {
        let isFirst = lock.withLock {
            guard failureFound == nil else { return false }
            failureFound = failure
            return true
        }
        if isFirst { context.cancel(cause: failure.message) }
    }

    func fail(_ message: String) { fail(ScriptFailure(message: message)) }

    /// Sources end as at their natural end.
    func drain() {
        let (source, pumps, groups) = lock.withLock {
            draining = true
            return (hostSource, self.pumps, self.groups)
        }
        source?.stop()
        for case let pump as ValuePump in pumps { pump.stop() }
        for group in groups where group.isSource { group.drain() }
    }

    // MARK: Start, on the declaring worker's thread

    func start(in worker: Worker) {
        partsLeft = 1  // this function, until everything stands
        build(in: worker)
        let start = lock.withLock { (pumps, groups, draining) }
        for pump in start.0 { pump.start() }
        for group in start.1 { group.start() }
        if start.2 { drain() }
        partEnded()
    }

    private func build(in worker: Worker) {
        let scheduler = run.scheduler
        var input: Channel
        var givesBack = false
        // The link behind a part has the queue of the stage that follows it.
        func queue(_ index: Int) -> Int { index < spec.stages.count ? spec.stages[index].split.front : 256 }
        var directOutput: Channel?
        if spec.stages.isEmpty, case .channel = spec.source.kind {
        } else if spec.stages.isEmpty {
            if case .channel(let channel, let close) = spec.sink {
                directOutput = channel
                if close { HostAPI.feed(channel, 1) }
            }
        }
        func link(_ index: Int) -> Channel {
            if index == spec.stages.count, case .channel(let channel, let close) = spec.sink {
                if close && directOutput == nil {
                    directOutput = channel
                    HostAPI.feed(channel, 1)
                }
                return channel
            }
            let name =
                index < spec.stages.count ? "the queue of \"\(spec.stages[index].name)\"" : "the queue of the sink"
            return Channel(capacity: queue(index), name: name)
        }
        switch spec.source.kind {
        case .none: return fail("the pipeline of \(spec.place) has no source")
        case .channel(let channel):
            input = channel
            givesBack = true
        case .connector(let options):
            input = link(0)
            guard let source = make({ () throws(ConnectorError) in try run.environment.makeSource(options) }) else {
                return
            }
            startSource(source, input)
        case .range(let first, let last, let step):
            input = link(0)
            begin(
                ValuePump(
                    first: first, last: last, by: step, scheduler: scheduler, output: input, context: context,
                    done: sourceEnded))
        case .values(let batch):
            input = link(0)
            begin(
                ValuePump(values: batch, scheduler: scheduler, output: input, context: context, done: sourceEnded))
        case .generate(let code, let fused):
            input = link(0)
            var stage = PipelineSpec.StageSpec()
            stage.name = "generate"
            stage.place = spec.place
            stage.code = code
            stage.kind = .process
            stage.fused = fused
            guard group(stage, nil, input, givesBack: false, worker, isSource: true) else { return }
        }
        for (index, stage) in spec.stages.enumerated() {
            let output = link(index + 1)
            switch stage.kind {
            case .take(let n): pump(from: input, to: output, take: n, givesBack: givesBack)
            case .skip(let n): pump(from: input, to: output, skip: n, givesBack: givesBack)
            default:
                guard group(stage, input, output, givesBack: givesBack, worker, isSource: false) else { return }
            }
            input = output
            givesBack = false
        }
        end(input, givesBack: givesBack, worker)
    }

    /// What stands at the end of the chain.
    private func end(_ input: Channel, givesBack: Bool, _ worker: Worker) {
        switch spec.sink {
        case .none: fail("the pipeline of \(spec.place) has no end")
        case .null: pump(from: input, to: nil, givesBack: givesBack)
        case .channel(let channel, let close):
            if spec.stages.isEmpty, givesBack {
                if close { HostAPI.feed(channel, 1) }
                pump(from: input, to: channel, givesBack: true)
            }
        case .connector(let options):
            guard let sink = make({ () throws(ConnectorError) in try run.environment.makeSink(options) }) else {
                return
            }
            addPart()
            StreamCore.start(sink, from: input, scheduler: run.scheduler, context: context) {
                [self] failure, delivered, left in
                count {
                    $0.delivered += delivered
                    $0.dropped += left
                }
                if let failure, !failure.isBrokenPipe { fail(failure.description) }
                partEnded()
            }
        case .function(let code): startSinkTask(.sink, code, input, givesBack, worker)
        case .collect: startSinkTask(.collect, 0, input, givesBack, worker)
        }
    }

    private func make<T>(_ body: () throws(ConnectorError) -> T) -> T? {
        do throws(ConnectorError) { return try body() } catch {
            fail(error.description)
            return nil
        }
    }

    // MARK: Parts

    private func addPart() { lock.withLock { partsLeft += 1 } }

    func partEnded() {
        let told: [(waiter: Waiter, generation: UInt64)]? = lock.withLock {
            partsLeft -= 1
            guard partsLeft == 0 else { return nil }
            isOver = true
            endReason = context.reason.map { context.cause ?? $0.description }
            groups = []
            pumps = []
            hostSource = nil
            defer { followers = [] }
            return followers
        }
        guard let told else { return }
        for follower in told { follower.waiter.end(follower.generation, .done) }
        if let failureFound { run.offer(failureFound, isHandled: { self.lock.withLock { self.isHandled } }) }
        run.ended(self)
    }

    private func begin(_ pump: Pump) {
        addPart()
        lock.withLock { pumps.append(pump) }
    }

    private func sourceEnded(_ pump: Pump) {
        let isDirect = isSink(pump.output!)
        count {
            $0.created += (pump as! ValuePump).created
            $0.dropped += pump.dropped
            if isDirect { $0.delivered += pump.sent }
        }
        close(pump.output!)
        partEnded()
    }

    /// The script's channel in which the pipeline ends.
    private func isSink(_ channel: Channel) -> Bool {
        if case .channel(let sink, _) = spec.sink { sink === channel } else { false }
    }

    /// Closes the channel behind a part that has ended: a link, or a script's channel that nothing feeds any more.
    private func close(_ channel: Channel) {
        if case .channel(let sink, let close) = spec.sink, sink === channel {
            if close && HostAPI.feed(channel, -1) == 0 { channel.close() }
        } else {
            channel.close()
        }
    }

    /// Gives up the channel before a part that has ended; returns how many values were dropped with it. Takes the lock:
    /// not to be called from inside `count`.
    private func giveUp(_ channel: Channel) -> Int {
        if case .channel(let source) = spec.source.kind, source === channel { return 0 }
        let left = channel.closeReading().drop()
        // The source behind it may be waiting for input that nobody wants any more.
        if channel === sourceLink { lock.withLock { hostSource }?.stop() }
        return left
    }

    private func pump(from input: Channel, to output: Channel?, skip: Int = 0, take: Int = .max, givesBack: Bool) {
        let isDirect: Bool = if case .channel(let sink, _) = spec.sink { sink === output } else { output == nil }
        begin(
            ChannelPump(
                from: input, to: output, skip: skip, take: take, givesBack: givesBack, scheduler: run.scheduler,
                context: context, onInputEnd: { [self] in giveUp($0) }
            ) { [self] pump in
                count {
                    $0.filtered += pump.filtered
                    $0.dropped += pump.dropped
                    if isDirect { $0.delivered += pump.sent }
                    if givesBack { $0.created += pump.filtered + pump.sent + pump.dropped }
                }
                if let output { close(output) }
                partEnded()
            })
    }

    private func startSource(_ source: any HostSource, _ output: Channel) {
        addPart()
        lock.withLock { hostSource = source }
        sourceLink = output
        let skips = spec.source.skipsBadInput, isDirect = isSink(output)
        let rejected = Counter()
        let outlet = Outlet(channel: output, scheduler: run.scheduler, context: context) { [run] problem, text in
            guard skips else { return false }
            if rejected.next() <= StageGroup.loggedFailures { run.log("skipped: \(problem): \(text)") }
            return true
        }
        let stopper = SourceStopper(source)
        if !context.add(stopper) { source.stop() }
        StreamCore.start(source, outlet, scheduler: run.scheduler) { [self] failure in
            context.remove(stopper)
            count {
                $0.created += outlet.sent + outlet.dropped
                $0.dropped += outlet.dropped
                if isDirect { $0.delivered += outlet.sent }
            }
            if let failure { fail(failure.description) }
            close(output)
            partEnded()
        }
    }

    private func group(
        _ stage: PipelineSpec.StageSpec, _ input: Channel?, _ output: Channel, givesBack: Bool, _ worker: Worker,
        isSource: Bool
    ) -> Bool {
        let isDirect: Bool = if case .channel(let sink, _) = spec.sink { sink === output } else { false }
        let group = StageGroup(
            run: run, context: context, stage: stage, input: input, output: output, givesBack: givesBack,
            isGenerator: isSource
        ) { [self] group in
            let givenUp = input.map(giveUp) ?? 0  // not under the lock that `count` takes
            count {
                // A stage may make more values than it got, or other ones: the difference is created there.
                let totals = group.totals
                let handled = totals.received - totals.filtered - totals.failed
                $0.created += totals.emitted - handled
                if givesBack { $0.created += totals.received + totals.dropped - totals.droppedOut }
                $0.filtered += totals.filtered
                $0.failed += totals.failed
                $0.dropped += totals.dropped + givenUp
                if isDirect { $0.delivered += totals.emitted - totals.droppedOut }
            }
            close(output)
            partEnded()
        }
        group.pipeline = self
        addPart()
        lock.withLock { groups.append(group) }
        if let problem = group.takeImage(from: worker) {
            fail(ScriptFailure(message: problem, isMisuse: true))
            group.abandon()
            return false
        }
        return true
    }

    /// A sink that is a function, or the collecting one: a task in the declaring worker.
    private func startSinkTask(_ form: StageForm, _ code: Int32, _ input: Channel, _ givesBack: Bool, _ worker: Worker)
    {
        let driver = StageDriver(form)
        let ports = StagePorts(
            driver: driver, input: input, output: nil, scheduler: run.scheduler, inputLimit: givesBack ? 1 : 256,
            givesBack: givesBack)
        let stack = worker.vm.main
        ports.onFailure = { [self] failure in
            var failure = failure
            failure.message = "the sink function of \(spec.place): \(failure.message)"
            fail(failure)
            return false
        }
        guard driver.pushFunction(stack) else { return fail("not enough memory") }
        if code != 0 { stack.push(reference: code) } else { stack.pushNil() }
        addPart()
        let task = worker.start(from: stack, arguments: 1, context: context, origin: spec.place, ports: ports) {
            [self] task, end in
            ports.finish()
            if form == .collect, case .returned = end { collected = HostAPI.result(of: task, count: 1) }
            if case .failed(let failure) = end { fail(failure) }
            if code != 0 { stack.drop(reference: code) }
            let givenUp = giveUp(input)
            count {
                let received = Int(driver.received)
                $0.delivered += received - Int(driver.failed)
                $0.failed += Int(driver.failed)
                $0.dropped += ports.droppedIn + givenUp
                if givesBack { $0.created += received }
            }
            partEnded()
        }
        if task == nil {
            fail("not enough memory")
            partEnded()
        }
    }
}

private final class SourceStopper: ContextListener, Sendable {
    private let source: any HostSource
    init(_ source: any HostSource) { self.source = source }
    func contextEnded(_ reason: Reason) { source.stop() }
}

/// A count that several threads lower or raise.
final class Counter: @unchecked Sendable {  // `lock`
    private let lock = Lock()
    private var value: Int
    private let step: Int

    /// Counts up from 0.
    init() {
        value = 0
        step = 1
    }

    /// Counts down from `value`.
    init(_ value: Int) {
        self.value = value
        step = -1
    }

    func next() -> Int {
        lock.withLock {
            value += step
            return value
        }
    }
}

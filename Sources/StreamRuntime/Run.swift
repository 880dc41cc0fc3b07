// One run of a script: its workers, pipelines, contexts, and how it ends.
import LuaVM
import StreamCore
import Synchronization

/// Where a run's text goes: standard output and standard error.
public protocol TextOutput: AnyObject, Sendable {
    /// Takes whole lines; never blocks.
    func enqueue(_ bytes: UnsafeRawBufferPointer)
    /// Bytes taken and not yet written.
    var pendingBytes: Int { get }
    /// Calls `body` once fewer than `below` bytes are pending; at once if they are.
    func whenDrained(below: Int, _ body: @escaping @Sendable () -> Void)
}

/// A function of the host that scripts call as `host.name(...)`. It gets and returns plain values.
public typealias HostFunction = @Sendable ([HostValue]) throws -> HostValue

/// The options that a script gave to a source or a sink.
public struct ConnectorOptions: Sendable {
    public var kind: String
    public var path: String?
    public var format: String
    public var append = false
    public var follow = false
    /// Of a file that is followed: begin behind what is there.
    public var fromEnd = false
    /// The fields of CSV; none: the header's, or the first record's.
    public var columns: [String] = []
}

/// What a run gets from whoever embeds it.
public struct RunEnvironment: Sendable {
    /// Paths as the script's messages name them; nil: the script is given as text.
    public var scriptPath: String
    public var script: [UInt8]
    public var arguments: [String] = []
    public var output: any TextOutput
    public var errors: any TextOutput
    public var makeSource: @Sendable (ConnectorOptions) throws(ConnectorError) -> any HostSource
    public var makeSink: @Sendable (ConnectorOptions) throws(ConnectorError) -> any HostSink
    public var library: @Sendable (String) -> [UInt8]?
    public var readModule: @Sendable (String) -> (path: String, source: [UInt8])?
    public var functions: [String: HostFunction] = [:]
    /// Sources and sinks of the embedding program: `stream.source(name)`, `stream.sink(name)`.
    public var sourceNames: Set<String> = []
    public var sinkNames: Set<String> = []
    public var wall: @Sendable () -> Double
    /// The test case that is run; nil: a script is.
    public var test: TestCase?
    /// Told of each task that is stopped for good, on its worker's thread, for tests; nil everywhere else.
    package var onStop: (@Sendable (StoppedTask) -> Void)?
    /// Memory limit of a worker, bytes.
    public var workerMemory = 256 << 20
    /// A planted bug, so that the tests can be tested; nil everywhere else.
    package var planted: RunFault?
    /// CPU time and time of one value in a stage that has no limit of its own; nanoseconds, 0: none.
    public var valueCPU: Int64 = 0, valueTimeout: Int64 = 0

    public init(
        scriptPath: String, script: [UInt8], output: any TextOutput, errors: any TextOutput,
        makeSource: @escaping @Sendable (ConnectorOptions) throws(ConnectorError) -> any HostSource,
        makeSink: @escaping @Sendable (ConnectorOptions) throws(ConnectorError) -> any HostSink,
        library: @escaping @Sendable (String) -> [UInt8]?,
        readModule: @escaping @Sendable (String) -> (path: String, source: [UInt8])?,
        wall: @escaping @Sendable () -> Double
    ) {
        self.scriptPath = scriptPath
        self.script = script
        self.output = output
        self.errors = errors
        self.makeSource = makeSource
        self.makeSink = makeSink
        self.library = library
        self.readModule = readModule
        self.wall = wall
    }
}

/// How a run ended.
public struct RunResult: Sendable {
    public enum Status: Sendable { case done, failed, wrong }
    public var status = Status.done
    /// What went wrong, whole messages in order.
    public var failures: [String] = []
    /// What became of the values, summed over all pipelines.
    public var account = Account()
    /// The same pipeline by pipeline, and what did not end in time.
    public var report = RunReport()

    public init() {}
}

/// A run in progress. It ends when the top level, every pipeline and every task have; `onEnd` is called once then.
public final class Run: @unchecked Sendable {  // `lock` guards what many workers change
    /// Nanoseconds that a computing task has to end by itself after its context ended.
    static let grace: Int64 = 100_000_000

    public let scheduler: Scheduler
    public let environment: RunEnvironment
    public let context: Context

    private let lock = Lock()
    /// Called once; it refers to whoever holds this run.
    private var onEnd: (@Sendable (RunResult) -> Void)?
    /// Held while a report reads what everyone waits for: see `fromOutside`.
    private let reporting = Lock()
    private var isDeadlocked = false, isAbandoned = false
    private var live = 0
    private var result = RunResult()
    private var isOver = false
    /// Whatever computes is stopped for good.
    var isStopping: Bool { stopping.load(ordering: .relaxed) }
    private let stopping = Atomic<Bool>(false)
    private var isDraining = false
    private var pipelines = Living<PipelineRun>()
    private var failedPipelines: [PipelineRun] = []
    private var workers = Living<Worker>()
    private var tickers = Living<Ticker>()
    /// Of readers that have no end of their own.
    private var readers = Living<ByteSourceStopper>()
    /// Where the pipeline was declared that reads standard input.
    private var standardInput: (place: String, reader: ObjectIdentifier)?
    private var reports = PipelineReports()
    private var shutdown = Shutdown()
    private let began: Int64
    /// What the checks of the pipelines' accounts have found.
    private var misaccounted: [String] = []
    private var unreceived: [(failure: ScriptFailure, isHandled: () -> Bool)] = []
    /// Of pipelines that have ended.
    private var progressed = RunProgress()
    private var said = SaidOnce()

    public init(
        scheduler: Scheduler, environment: RunEnvironment, onEnd: @escaping @Sendable (RunResult) -> Void
    ) {
        HostAPI.install()
        self.scheduler = scheduler
        self.environment = environment
        self.onEnd = onEnd
        began = scheduler.now
        context = Context(scheduler: scheduler)
        scheduler.onQuiescent = { [weak self] in self?.nothingMoves() }
    }

    /// Starts the script's top level in the main worker.
    public func start() {
        begin()
        let main = Worker(run: self, name: "main") { worker in self.startTopLevel(worker) }
        main.isMain = true
        add(main)
        main.wake()
    }

    private func startTopLevel(_ worker: Worker) {
        guard worker.open(memoryLimit: 0) else { return abort(worker, "not enough memory", misuse: false) }
        let arguments = environment.arguments
        HostAPI.open(worker, arguments: arguments, scriptPath: environment.scriptPath)
        let problem = environment.script.withUnsafeBytes { worker.vm.load($0, name: "@" + environment.scriptPath) }
        if let problem { return abort(worker, problem, misuse: true) }
        let stack = worker.vm.main
        for argument in arguments { stack.push(argument) }
        let task = worker.start(
            from: stack, arguments: Int32(arguments.count), context: context, origin: environment.scriptPath
        ) { [self] _, end in
            worker.startDeclared()
            switch end {
            case .returned:
                HostAPI.reportUnfinished(worker)
                environment.test?.topLevelReturned(worker)
            case .stopped: environment.test?.bodyEnded(worker)
            case .failed(let failure):
                fail(failure)
                environment.test?.bodyEnded(worker)
                context.cancel(cause: failure.message)
            }
            self.end()
        }
        if task == nil { abort(worker, "not enough memory", misuse: false) }
    }

    private func abort(_ worker: Worker, _ message: String, misuse: Bool) {
        fail(ScriptFailure(message: message, isMisuse: misuse))
        context.cancel(cause: message)
        end()
    }

    public static var luaVersion: String { LuaVM.release }
    /// Whether the order of `pairs` over strings can be fixed, as tests do.
    public static let fixesTableOrder: Bool =
        LuaVM(host: HostAPI.host, owner: nil, memoryLimit: 0, seed: 0, hashSeed: 1)?.isHashFixed ?? false
    /// Once each thread of the scheduler.
    public static func attachThread() { LuaVM.attachThread() }

    // MARK: What lives

    func add(_ worker: Worker) { lock.withLock { workers.add(worker) } }
    func remove(_ worker: Worker) { lock.withLock { workers.remove(worker) } }

    /// One more thing without whose end the run does not end.
    func begin() { lock.withLock { live += 1 } }

    /// The same, unless nothing lives any more: then the run ends, whatever comes.
    func beginIfLive() -> Bool {
        lock.withLock {
            guard live > 0 else { return false }
            live += 1
            return true
        }
    }

    func end() {
        let isLast = lock.withLock {
            live -= 1
            return live == 0
        }
        if isLast { finish() }
    }

    func add(_ pipeline: PipelineRun) {
        let stopping = lock.withLock {
            pipelines.add(pipeline)
            live += 1
            return isDraining
        }
        if stopping { pipeline.drain() }
    }

    func ended(_ pipeline: PipelineRun) {
        let report = pipeline.report
        let last = lock.withLock {
            pipelines.remove(pipeline)
            if case .failure = pipeline.outcome {
                failedPipelines.removeAll(where: \.isReceived)
                failedPipelines.append(pipeline)
            }
            result.account.add(pipeline.account)
            reports.add(report)
            misaccounted += pipeline.accountProblems
            progressed.add(pipeline.progress)
            return isDraining && pipelines.isEmpty
        }
        if last { context.cancel() }
        end()
    }

    /// A pipeline that shall not start.
    func withdraw(_ pipeline: PipelineRun) {
        let last = lock.withLock {
            pipelines.remove(pipeline)
            if standardInput?.reader == ObjectIdentifier(pipeline) { standardInput = nil }
            return isDraining && pipelines.isEmpty
        }
        if last { context.cancel() }
        end()
    }

    /// Standard input has one reader in a run. Returns the place of the one that it had before, or nil.
    func readStandardInput(_ pipeline: PipelineRun) -> String? {
        readStandardInput(pipeline, place: pipeline.spec.place)
    }

    func readStandardInput(_ reader: AnyObject, place: String) -> String? {
        lock.withLock {
            if let standardInput { return standardInput.place }
            standardInput = (place, ObjectIdentifier(reader))
            return nil
        }
    }

    /// Starts a ticker, unless sources end now.
    func start(_ ticker: Ticker) {
        let isLate = lock.withLock {
            tickers.add(ticker)
            return isOver || isDraining && ticker.repeats
        }
        if isLate { ticker.stop() } else { ticker.start() }
    }

    func ended(_ ticker: Ticker) { lock.withLock { tickers.remove(ticker) } }

    /// The same of what a reader reads.
    func start(_ reader: ByteSourceStopper) {
        let isLate = lock.withLock {
            readers.add(reader)
            return isDraining
        }
        if isLate { reader.stop() }
    }

    func ended(_ reader: ByteSourceStopper) { lock.withLock { readers.remove(reader) } }

    /// Pipelines that have not ended, and those that failed and nobody has asked.
    var awaitedPipelines: [PipelineRun] {
        lock.withLock { failedPipelines.filter { !$0.isReceived } + pipelines.inOrder }
    }

    /// How far it has come. Any thread; costs a short lock for each queue of each running pipeline.
    public var progress: RunProgress {
        let (ended, running) = lock.withLock { (progressed, pipelines.inOrder) }
        return running.reduce(into: ended) { $0.add($1.progress) }
    }

    // MARK: Failures

    /// A failure for which nobody is responsible but the run.
    func fail(_ failure: ScriptFailure) {
        lock.withLock {
            if result.status != .wrong { result.status = failure.isMisuse ? .wrong : .failed }
            result.failures.append(failure.message + (failure.traceback.isEmpty ? "" : "\n" + failure.traceback))
        }
    }

    /// What has failed so far, whole messages in order.
    public var failures: [String] { lock.withLock { result.failures } }

    /// A failure that someone may still receive; if nobody does, it is the run's.
    func offer(_ failure: ScriptFailure, isHandled: @escaping () -> Bool) {
        lock.withLock { unreceived.append((failure, isHandled)) }
    }

    /// A line on standard error.
    func log(_ text: String) {
        var line = "streamhost: " + text.printable + "\n"
        line.withUTF8 { environment.errors.enqueue(UnsafeRawBufferPointer($0)) }
    }

    /// A line on standard error, unless the run has said it before.
    func logOnce(_ text: String) {
        if lock.withLock({ said.isNew(text) }) { log(text) }
    }

    // MARK: Ends

    /// Does what may wake workers, from a thread that is no activity of the scheduler's. A report of a deadlock reads the
    /// workers' states, so it is waited for, and none begins meanwhile.
    func fromOutside(_ body: () -> Void) {
        scheduler.beginActivity()
        reporting.withLock {}
        body()
        scheduler.endActivity()
    }

    /// Sources end as at their natural end; when all pipelines have, so does the run's context.
    public func drain() { fromOutside(drainNow) }

    private func drainNow() {
        let found: ([PipelineRun], [Ticker], [ByteSourceStopper])? = lock.withLock {
            guard !isDraining else { return nil }
            isDraining = true
            return (pipelines.inOrder, tickers.inOrder, readers.inOrder)
        }
        guard let (running, tickers, readers) = found else { return }
        for pipeline in running { pipeline.drain() }
        for ticker in tickers where ticker.repeats { ticker.stop() }
        for reader in readers { reader.stop() }
        if running.isEmpty { context.cancel() }
    }

    /// Ends the run's context: every wait returns `nil, "canceled"`.
    public func cancel(cause: String? = nil) { fromOutside { context.cancel(cause: cause) } }

    /// Ends it with a failure of the host's.
    public func cancel(failure: String) {
        fail(ScriptFailure(message: failure))
        cancel(cause: failure)
    }

    /// Nobody reads the output any more: everything ends, and that is no failure.
    public func endQuietly() { cancel(cause: "closed") }

    /// Stops whatever computes, for good, and all that goes on computing when it is called again. Any thread; the
    /// running thread has to be interrupted besides.
    public func stopComputing() {
        stopping.store(true, ordering: .relaxed)
        for worker in lock.withLock({ workers.inOrder }) { worker.stopComputing() }
    }

    /// Tasks and parts of pipelines that have not ended, with where they wait; pipelines by their places where these say
    /// nothing. Only while no worker runs.
    public var unfinished: [String] {
        let (all, pipelines) = lock.withLock { (workers.inOrder, self.pipelines.inOrder) }
        let waiting = all.flatMap(\.waiting) + pipelines.flatMap(\.waiting).sorted()
        if !waiting.isEmpty { return waiting }
        return pipelines.map { "\($0.spec.place): this pipeline waits" }.sorted()
    }

    /// In the order in which they came.
    var livingWorkers: [Worker] { lock.withLock { workers.inOrder } }

    /// Places of the pipelines that have not ended, in the order of their declaration.
    public var runningPipelines: [String] { lock.withLock { pipelines.inOrder }.map(\.spec.place) }

    /// What there is to tell of it now: of a run that has not ended, too.
    public func currentReport() -> RunReport { report(isOver: false) }

    private func report(isOver: Bool) -> RunReport {
        let running = lock.withLock { pipelines.inOrder }.map(\.report)
        let now = scheduler.now
        return lock.withLock {
            var report = RunReport()
            report.ending = shutdown.ending == .natural && isDraining ? .drained : shutdown.ending
            report.duration = now - began
            report.pipelines = reports.all + running
            report.stuck = shutdown.stuck?.found(isOver: isOver) ?? []
            report.stopped = shutdown.stopped?.found(isOver: isOver) ?? []
            return report
        }
    }

    /// What has failed so far and what is to be reported, of a run that has to be left.
    public var unfinishedResult: RunResult {
        var result = lock.withLock { self.result }
        result.report = currentReport()
        return result
    }

    /// What lives, in order.
    var living: (workers: [Worker], pipelines: [PipelineRun]) {
        lock.withLock { (workers.inOrder, pipelines.inOrder) }
    }

    /// Under the lock; also told whether the run is over.
    @discardableResult
    func changeShutdown<R>(_ body: (inout Shutdown, _ isOver: Bool) -> R) -> R {
        lock.withLock { body(&shutdown, isOver) }
    }

    /// Everything that waits in contexts that do not end with the run's, and what is about to compute.
    package func dropWhatWaits() {
        let (workers, pipelines) = living
        for pipeline in pipelines { pipeline.context.cancel(cause: "stopped") }
        for worker in workers {
            worker.call { worker in
                worker.dropWaitingTasks()
                worker.dropComputingTasks { _ in true }
            }
        }
    }

    private func nothingMoves() {
        guard let (waiting, hasEnded) = reporting.withLock({ reportWaiting() }) else { return }
        let what =
            hasEnded
            ? "the run has ended, and these wait on, in contexts that do not end with it"
            : "deadlock: everything waits, and nothing can move any more"
        fail(ScriptFailure(message: "\(what)\n  " + Self.summary(of: waiting).joined(separator: "\n  ")))
        if hasEnded {
            let workers = lock.withLock { self.workers.inOrder }, pipelines = lock.withLock { self.pipelines.inOrder }
            for pipeline in pipelines { pipeline.context.cancel(cause: "deadlock") }
            for worker in workers { worker.call { $0.dropWaitingTasks() } }
        } else {
            scheduler.beginActivity()  // where that moves nothing either, this is looked at again
            context.cancel(cause: "deadlock")
            scheduler.endActivity()
        }
    }

    /// Lines of a report at most.
    private static let longestReport = 20

    /// Equal lines as one, and no more than are read.
    static func summary(of lines: [String]) -> [String] {
        var counts: [String: Int] = [:], order: [String] = []
        for line in lines {
            if counts.updateValue((counts[line] ?? 0) + 1, forKey: line) == nil { order.append(line) }
        }
        var result = order.prefix(longestReport).map { counts[$0] == 1 ? $0 : "\($0) (\(counts[$0]!) tasks)" }
        if order.count > longestReport { result.append("and \(order.count - longestReport) more places") }
        return result
    }

    /// What waits where, and whether it does so although the run's context has ended; each once. Nil: nothing is wrong.
    private func reportWaiting() -> (waiting: [String], hasEnded: Bool)? {
        guard scheduler.isQuiescent else { return nil }
        let over = lock.withLock { isOver || live == 0 }
        let hasEnded = context.reason != nil
        if over || (hasEnded ? isAbandoned : isDeadlocked) { return nil }
        let waiting = unfinished
        if waiting.isEmpty { return nil }
        if hasEnded { isAbandoned = true } else { isDeadlocked = true }
        return (waiting, hasEnded)
    }

    private func finish() {
        let late = lock.withLock {
            defer {  // they refer to what refers to the run
                unreceived = []
                failedPipelines = []
            }
            return unreceived
        }
        for entry in late where !entry.isHandled() { fail(entry.failure) }
        // A bug of ours: it must be seen.
        for problem in lock.withLock({ misaccounted }) {
            fail(ScriptFailure(message: "\(problem) (a bug of streamhost's)"))
        }
        let report = report(isOver: true)
        let (result, left, tickers) = lock.withLock {
            isOver = true
            self.result.report = report
            defer { workers = Living() }
            return (self.result, workers.inOrder, self.tickers.inOrder)
        }
        for ticker in tickers { ticker.stop() }
        if let timer = changeShutdown({ shutdown, _ in shutdown.timer.take() }) { scheduler.disarm(timer) }
        // The states are dropped on their own threads, and the end is told after that: nobody runs then.
        let remaining = Counter(left.count)
        if left.isEmpty { tell(result) }
        for worker in left {
            worker.call { worker in
                worker.end { [self] in
                    if remaining.next() == 0 { tell(result) }
                }
            }
        }
    }

    private func tell(_ result: RunResult) { lock.withLock { onEnd.take() }?(result) }
}

/// What lives in a run, in the order in which it came: a seed fixes it.
private struct Living<Element: AnyObject> {
    private var members: [ObjectIdentifier: (order: UInt64, element: Element)] = [:]
    private var arrivals: UInt64 = 0

    var isEmpty: Bool { members.isEmpty }
    var inOrder: [Element] { members.values.sorted { $0.order < $1.order }.map(\.element) }

    mutating func add(_ element: Element) {
        arrivals += 1
        members[ObjectIdentifier(element)] = (arrivals, element)
    }
    mutating func remove(_ element: Element) { members[ObjectIdentifier(element)] = nil }
}

// Test scripts, case by case and seed by seed.
import StreamCore
import StreamHost
import StreamRuntime

/// Runs test scripts: what `streamhost test` does, for programs that embed the host.
///
///     var host = Host()
///     host.function("price") { _ in .integer(3) }
///     let result = TestSuite(host: host).run(["Scripts/orders_test.lua"])
///
/// Each case runs in a run of its own: the file's top level runs again, in fresh Lua states, and then the body of that one
/// case. Under the virtual clock a case runs on one thread, and its seed decides all that may differ from run to run.
public final class TestSuite: Sendable {
    public struct Options: Sendable {
        /// Runs each case under this seed, and under no other unless `schedules` is set.
        public var seed: UInt64?
        /// In place of what the cases say.
        public var schedules: Int?
        /// Only cases whose names contain it.
        public var filter: String?
        /// Ends at the first case that fails.
        public var stopsAtFailure = false

        public init() {}
    }

    public let host: Host
    public let options: Options
    /// The first seed of each case; the others follow from it.
    public let baseSeed: UInt64

    public init(host: Host = Host(), options: Options = Options()) {
        self.host = host
        self.options = options
        baseSeed = options.seed ?? UInt64.random(in: 1...UInt64(UInt32.max))
    }

    /// Whether seeds decide the order of `pairs`: not with every Lua library.
    public static var fixesTableOrder: Bool { Run.fixesTableOrder }

    /// What a suite tells while it runs; on the thread that called it.
    public enum Event: Sendable {
        case fileBegan(path: String, cases: Int)
        case caseBegan(path: String, name: String)
        case scheduleEnded(number: Int, of: Int)
        case caseEnded(CaseResult)
        case fileEnded(FileResult)
    }

    /// The cases that a file declares, all of them; or why it does not load.
    public func declarations(in path: String) -> Result<[TestDeclaration], ConnectorError> {
        let runner = Runner(host: host)
        defer { runner.stop() }
        return runner.open(path).map(\.declarations)
    }

    /// Runs the cases of the files, in order.
    public func run(_ paths: [String], onEvent: (Event) -> Void = { _ in }) -> SuiteResult {
        let runner = Runner(host: host), began = monotonicNow()
        defer { runner.stop() }
        var result = SuiteResult(seed: baseSeed)
        for path in paths {
            let file = run(path, runner, onEvent)
            result.files.append(file)
            onEvent(.fileEnded(file))
            if options.stopsAtFailure, file.problem != nil || file.cases.contains(where: \.hasFailed) { break }
        }
        result.nanoseconds = monotonicNow() - began
        return result
    }

    private func run(_ path: String, _ runner: Runner, _ onEvent: (Event) -> Void) -> FileResult {
        let began = monotonicNow()
        var result = FileResult(path: path)
        switch runner.open(path) {
        case .failure(let problem):
            onEvent(.fileBegan(path: path, cases: 0))
            result.problem = problem.description
        case .success(let (script, declarations)):
            let chosen = declarations.filter { matches($0.name) }
            onEvent(.fileBegan(path: path, cases: chosen.count))
            for declaration in chosen {
                onEvent(.caseBegan(path: path, name: declaration.name))
                let outcome = run(declaration, of: script, runner, onEvent)
                result.cases.append(outcome)
                onEvent(.caseEnded(outcome))
                if outcome.hasFailed && options.stopsAtFailure { break }
            }
        }
        result.nanoseconds = monotonicNow() - began
        return result
    }

    /// Whether a case of this name is to be run.
    public func matches(_ name: String) -> Bool { options.filter.map { $0.isEmpty || name.contains($0) } ?? true }

    private func run(
        _ declaration: TestDeclaration, of script: ScriptFile, _ runner: Runner, _ onEvent: (Event) -> Void
    ) -> CaseResult {
        let began = monotonicNow()
        var result = CaseResult(path: script.path, declaration: declaration)
        let count = declaration.isReal ? 1 : options.schedules ?? (options.seed == nil ? declaration.schedules : 1)
        var seeds = Seeds(base: baseSeed)
        for number in 1...max(1, count) {
            let seed = seeds.next()
            let outcome = runner.run(declaration, of: script, seed: seed)
            result.schedules = number
            result.steps += outcome.steps
            result.virtualNanoseconds = outcome.time
            result.trace = (result.trace ^ outcome.trace) &* 1_099_511_628_211
            onEvent(.scheduleEnded(number: number, of: count))
            if !outcome.failures.isEmpty {
                result.failures = outcome.failures
                result.printed = outcome.printed
                result.seed = declaration.isReal ? nil : seed
                break
            }
        }
        result.nanoseconds = monotonicNow() - began
        return result
    }
}

/// The base seed itself, and then what follows from it: a seed that failed, given as the base, comes first.
struct Seeds {
    private let base: UInt64
    private var rest: SplitMix64
    private var isFirst = true

    init(base: UInt64) {
        self.base = base
        rest = SplitMix64(seed: base)
    }

    mutating func next() -> UInt64 {
        if isFirst {
            isFirst = false
            return base
        }
        return rest.next()
    }
}

/// The threads that cases need.
private final class Runner {
    private let host: Host
    private var thread = RunnerThread()
    private let watchdog = Watchdog()

    init(host: Host) { self.host = host }

    func stop() {
        thread.stop()
        watchdog.stop()
    }

    /// A mailbox between two threads, of which one waits for the other.
    private final class Box: @unchecked Sendable {  // `lock`
        private let lock = Lock()
        private var value: ScheduleOutcome?
        func put(_ outcome: ScheduleOutcome) { lock.withLock { value = outcome } }
        func take() -> ScheduleOutcome? { lock.withLock { value } }
    }

    private func run(_ job: CaseRun, seed: UInt64) -> ScheduleOutcome {
        let box = Box(), thread = self.thread
        let hasReturned = thread.perform {
            box.put(
                job.declaration?.isReal ?? false
                    ? job.runInRealTime() : job.run(seed: seed, onStuck: { thread.abandon() }))
        }
        if hasReturned, let outcome = box.take() { return outcome }
        watchdog.end()
        self.thread = RunnerThread()
        var outcome = ScheduleOutcome()
        outcome.failures = [
            TestFailure(
                message: "it did not end within \(seconds(job.limit)) of real time, and cannot be stopped: a source, a "
                    + "sink or a function of the host does not return (with { clock = \"real\" } these have threads of "
                    + "their own)")
        ]
        return outcome
    }

    func run(_ declaration: TestDeclaration, of file: ScriptFile, seed: UInt64) -> ScheduleOutcome {
        run(CaseRun(host: host, file: file, declaration: declaration, watchdog: watchdog), seed: seed)
    }

    /// Reads a file and finds its cases.
    func open(_ path: String) -> Result<(ScriptFile, declarations: [TestDeclaration]), ConnectorError> {
        do throws(ConnectorError) {
            let file = try ScriptFile(path: path)
            let outcome = run(CaseRun(host: host, file: file, declaration: nil, watchdog: watchdog), seed: 0)
            if let failure = outcome.failures.first { throw ConnectorError(failure.lines.joined(separator: "\n")) }
            guard !outcome.declarations.isEmpty else {
                throw ConnectorError(
                    "\(path): no case is declared: require \"stream.test\" and declare one with "
                        + "test.case(\"name\", function(t) ... end)")
            }
            return .success((file, outcome.declarations))
        } catch { return .failure(error) }
    }
}

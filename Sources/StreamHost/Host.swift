// The façade: a program gives the host a script, and sources, sinks and functions of its own, and runs it.
import Glibc
import StdlibLua
@_exported import StreamCore
import StreamIO
@_exported import StreamRuntime

/// Runs Lua stage scripts.
///
///     var host = Host()
///     host.function("double") { arguments in ... }
///     let result = try await host.run(path: "script.lua")
///
/// One `Host` describes; each `run` starts afresh, and any number may go on at a time.
public struct Host: Sendable {
    public struct Problem: Error, CustomStringConvertible, Sendable {
        public let description: String
        package init(_ description: String) { self.description = description }
    }

    /// Threads that run scripts. Default: one a core.
    public var threads: Int?
    /// Nanoseconds that a script computes at a time before others have their turn. Default: 8 ms.
    public var slice: Int64?
    /// Bytes of memory of each isolated worker.
    public var workerMemory = 256 << 20
    /// CPU time, and time, of one value in a stage that has no such limit of its own; nil: none.
    public var valueCPU: Duration?, valueTimeout: Duration?
    private var functions: [String: HostFunction] = [:]
    private var sources: [String: @Sendable () -> any HostSource] = [:]
    private var sinks: [String: @Sendable () -> any HostSink] = [:]

    public init() {}

    /// Lua's version, as `streamhost --version` names it.
    public static var luaVersion: String { Run.luaVersion }

    /// A Swift function that scripts call as `stream.host.name(...)`. It runs on a thread of the scheduler: it must not
    /// block. What it throws is raised in the script.
    public mutating func function(_ name: String, _ body: @escaping HostFunction) { functions[name] = body }

    /// A source that scripts use as `stream.source("name")`; made anew for each pipeline.
    public mutating func source(_ name: String, _ make: @escaping @Sendable () -> any HostSource) {
        sources[name] = make
    }

    /// A sink that scripts use as `stream.sink("name")`; made anew for each pipeline.
    public mutating func sink(_ name: String, _ make: @escaping @Sendable () -> any HostSink) { sinks[name] = make }

    /// Starts a script given as text; `name` stands in its messages.
    public func start(script: String, name: String = "script", arguments: [String] = []) -> HostRun {
        start(source: Array(script.utf8), path: name, folder: nil, arguments: arguments)
    }

    /// Starts the script at `path`; modules are looked for beside it.
    public func start(path: String, arguments: [String] = []) throws(Problem) -> HostRun {
        switch TextFile.read(path) {
        case .failure(let problem): throw Problem(problem.description)
        case .success(let source):
            return start(source: source, path: path, folder: Self.folder(of: path), arguments: arguments)
        }
    }

    /// Runs the script at `path` to its end.
    public func run(path: String, arguments: [String] = []) async throws -> RunResult {
        await (try start(path: path, arguments: arguments)).result
    }

    /// Runs a script given as text to its end.
    public func run(script: String, name: String = "script", arguments: [String] = []) async -> RunResult {
        await start(script: script, name: name, arguments: arguments).result
    }

    private func start(source: [UInt8], path: String, folder: String?, arguments: [String]) -> HostRun {
        let run = HostRun()
        var configuration = ThreadScheduler.Configuration()
        if let threads { configuration.threads = max(1, threads) }
        if let slice { configuration.slice = max(1_000_000, slice) }
        configuration.interruptSignal = SIGURG
        configuration.onThreadStart = { Run.attachThread() }
        let scheduler = ThreadScheduler(configuration)
        let output = OutputWriter(descriptor: 1, name: "standard output", scheduler: scheduler)
        let errors = OutputWriter(descriptor: 2, name: "standard error", scheduler: scheduler)
        let status = RunStatus(output: output, errors: errors)
        var connectors = StandardConnectors(
            input: { options in
                status?.endWhereTyped()
                let format = TextFormat(rawValue: options.format) ?? .lines
                return FileSource(descriptor: 0, name: "standard input", format: format, columns: options.columns)
            },
            output: { options in
                let format = TextFormat(rawValue: options.format) ?? .lines
                let writer = options.kind == "stdout" ? output : errors
                return FileSink(writer: writer, format: format, columns: options.columns)
            })
        connectors.wall = {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        var environment = environment(
            source: source, path: path, output: output, errors: errors, connectors: connectors,
            readModule: { Self.readModule($0, in: folder) })
        environment.arguments = arguments
        run.status = status
        run.begin(scheduler: scheduler, output: output, errors: errors, environment: environment)
        return run
    }

    // MARK: What a run gets

    /// Standard input, standard output and standard error, and the time of day.
    package struct StandardConnectors: Sendable {
        package var input: @Sendable (ConnectorOptions) -> any HostSource
        /// `kind` is "stdout" or "stderr".
        package var output: @Sendable (ConnectorOptions) -> any HostSink
        /// Seconds since 1970.
        package var wall: @Sendable () -> Double = { 0 }

        package init(
            input: @escaping @Sendable (ConnectorOptions) -> any HostSource,
            output: @escaping @Sendable (ConnectorOptions) -> any HostSink
        ) {
            self.input = input
            self.output = output
        }
    }

    /// What the run of a script gets from this host.
    package func environment(
        source: [UInt8], path: String, output: any TextOutput, errors: any TextOutput, connectors: StandardConnectors,
        readModule: @escaping @Sendable (String) -> (path: String, source: [UInt8])?
    ) -> RunEnvironment {
        let sources = self.sources, sinks = self.sinks
        var environment = RunEnvironment(
            scriptPath: path, script: source, output: output, errors: errors,
            makeSource: { options throws(ConnectorError) in
                switch options.kind {
                case "stdin": return connectors.input(options)
                case "file":
                    let note: @Sendable (String) -> Void = { sentence in
                        var line = "streamhost: \(sentence)\n"
                        line.withUTF8 { errors.enqueue(UnsafeRawBufferPointer($0)) }
                    }
                    return FileSource(
                        path: options.path ?? "", format: TextFormat(rawValue: options.format) ?? .lines,
                        columns: options.columns,
                        following: options.follow ? FileSource.Following(fromEnd: options.fromEnd, note: note) : nil)
                default:
                    if let make = sources[options.kind] { return make() }
                    throw ConnectorError("there is no source '\(options.kind)'")
                }
            },
            makeSink: { options throws(ConnectorError) in
                switch options.kind {
                case "stdout", "stderr": return connectors.output(options)
                case "file":
                    return FileSink(
                        path: options.path ?? "", append: options.append,
                        format: TextFormat(rawValue: options.format) ?? .lines, columns: options.columns)
                default:
                    if let make = sinks[options.kind] { return make() }
                    throw ConnectorError("there is no sink '\(options.kind)'")
                }
            },
            library: { StdlibLua.source($0) }, readModule: readModule, wall: connectors.wall)
        environment.functions = functions
        environment.sourceNames = Set(sources.keys)
        environment.sinkNames = Set(sinks.keys)
        environment.workerMemory = workerMemory
        environment.valueCPU = Self.nanoseconds(valueCPU)
        environment.valueTimeout = Self.nanoseconds(valueTimeout)
        return environment
    }

    private static func nanoseconds(_ duration: Duration?) -> Int64 {
        guard let (seconds, attoseconds) = duration?.components else { return 0 }
        return seconds >= 9_000_000_000 ? .max / 4 : max(0, seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }

    /// The folder of a script: where its modules are.
    package static func folder(of path: String) -> String {
        path.contains("/") ? String(path[...path.lastIndex(of: "/")!]) : "./"
    }

    /// The module `name` beside a script; nil: there is none, or the script has no folder.
    package static func readModule(_ name: String, in folder: String?) -> (path: String, source: [UInt8])? {
        guard let folder else { return nil }
        let file = name.split(separator: ".", omittingEmptySubsequences: false).joined(separator: "/")
        for path in [folder + file + ".lua", folder + file + "/init.lua"] {
            if case .success(let source) = TextFile.read(path) {
                return (path.hasPrefix("./") ? String(path.dropFirst(2)) : path, source)
            }
        }
        return nil
    }
}

extension OutputWriter: TextOutput {}

extension RunResult {
    /// A failure of standard output: the writer tells it, and so does each sink that wrote to it; or nobody, where it
    /// concerned only what the run left to be written.
    fileprivate mutating func tellOnce(_ failure: String) {
        if status == .done { status = .failed }
        guard let first = failures.firstIndex(of: failure) else { return failures.append(failure) }
        failures = failures[...first] + failures[(first + 1)...].filter { $0 != failure }
    }
}

/// A run of a script.
public final class HostRun: @unchecked Sendable {  // `lock` guards the result; the rest is set in `begin`
    private let lock = Lock()
    private var finished: RunResult?
    private var continuations: [CheckedContinuation<RunResult, Never>] = []
    private var callbacks: [@Sendable (RunResult) -> Void] = []
    /// Its scripts have ended, and what they printed is being written.
    private var isWriting = false, isStopping = false
    /// On the scheduler's clock; nil: it was not asked to end.
    private var drainDeadline: Int64?
    private var run: Run!
    private var scheduler: ThreadScheduler!
    private var output: OutputWriter!
    private var errors: OutputWriter!
    /// A line about the run on standard error's terminal; nil where that is none.
    public fileprivate(set) var status: RunStatus?

    fileprivate func begin(
        scheduler: ThreadScheduler, output: OutputWriter, errors: OutputWriter, environment: RunEnvironment
    ) {
        self.output = output
        self.errors = errors
        self.scheduler = scheduler
        run = Run(scheduler: scheduler, environment: environment) { [self] result in
            // On one of the scheduler's threads, which cannot stop itself.
            spawnDetached(stack: 256 << 10) { [self] in
                var result = result
                writeRest(&result.report)
                scheduler.stop()
                if let failure = output.failure, !failure.isBrokenPipe {
                    result.tellOnce(failure.description)
                }
                end(result)
            }
        }
        output.onFailure = { [weak self] failure in self?.outputFailed(failure) }
        scheduler.start()
        run.start()
    }

    /// Nanoseconds that what is left to be written has, of a run that was cancelled.
    private static let cutTime: Int64 = 500_000_000

    /// A slow reader gets all of a run that ended by itself; what nobody reads does not keep one that shall end.
    private func writeRest(_ report: inout RunReport) {
        let deadline = lock.withLock {
            isWriting = true
            return drainDeadline
        }
        if report.ending != .natural && report.ending != .drained {
            limitOutput(to: Self.cutTime)
        } else if let deadline {
            limitOutput(to: max(Self.cutTime, deadline - now))
        }
        if !output.drain(timeout: .max), output.failure == nil {
            let state = "waiting for a reader, with \(output.pendingBytes) bytes that were not written"
            report.stuck.append(RunReport.Stuck("standard output", state: state))
            if report.ending == .natural || report.ending == .drained {
                report.ending = lock.withLock { isStopping } ? .canceled : .drainTimeout
            }
        }
        errors.drain(timeout: .max)
    }

    private var now: Int64 { scheduler.now }

    private func limitOutput(to nanoseconds: Int64) {
        output.limitDrain(to: nanoseconds)
        errors.limitDrain(to: nanoseconds)
    }

    private func outputFailed(_ failure: ConnectorError) {
        if failure.isBrokenPipe {
            run.endQuietly()
        } else {
            run.cancel(failure: failure.description)
        }
    }

    private func end(_ result: RunResult) {
        let (waiting, told) = lock.withLock {
            finished = result
            defer {
                continuations = []
                callbacks = []
            }
            return (continuations, callbacks)
        }
        for body in told { body(result) }
        for continuation in waiting { continuation.resume(returning: result) }
    }

    /// How it ended; waits for that.
    public var result: RunResult {
        get async {
            await withCheckedContinuation { continuation in
                let now: RunResult? = lock.withLock {
                    if finished == nil { continuations.append(continuation) }
                    return finished
                }
                if let now { continuation.resume(returning: now) }
            }
        }
    }

    /// Calls `body` once when it has ended.
    public func onEnd(_ body: @escaping @Sendable (RunResult) -> Void) {
        let now: RunResult? = lock.withLock {
            if finished == nil { callbacks.append(body) }
            return finished
        }
        if let now { body(now) }
    }

    /// How far it has come: values in, values out, the fullest queue. Any thread, at any time.
    public var progress: RunProgress { run.progress }

    /// Sources end as at their natural end; what is under way is still delivered.
    public func drain() { run.drain() }

    /// The same; what goes on after so many nanoseconds is cancelled, and what goes on `Run.cleanupTime` later is stopped
    /// for good. What it has printed and nobody has read by then is dropped.
    public func drain(timeout: Int64) {
        let isLate = lock.withLock {
            drainDeadline = min(drainDeadline ?? .max, timeout > .max - now ? .max : now + timeout)
            return isWriting
        }
        if isLate { limitOutput(to: timeout) }
        run.drain(timeout: timeout)
    }

    /// Cancels at once, and stops for good what goes on `Run.cleanupTime` later.
    public func stop(cause: String? = nil) {
        let isLate = lock.withLock {
            isStopping = true
            return isWriting
        }
        if isLate { limitOutput(to: Self.cutTime) }
        run.stop(cause: cause)
    }

    /// What has failed so far and what became of the values, of a run that does not end.
    public var unfinishedResult: RunResult { run.unfinishedResult }

    /// Ends every wait with `nil, "canceled"`.
    public func cancel(cause: String? = nil) { run.cancel(cause: cause) }
}

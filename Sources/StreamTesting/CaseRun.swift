// One case under one seed: a run of its own, on one thread, with a virtual clock.
import Glibc
import StreamCore
import StreamHost
import StreamIO
import StreamRuntime

/// What came of a case under one seed.
struct ScheduleOutcome: Sendable {
    /// Nothing failed: none.
    var failures: [TestFailure] = []
    /// What it printed, to standard output and standard error.
    var printed = ""
    /// A hash of every choice of the scheduler's: the same seed gives the same one.
    var trace: UInt64 = 0
    var steps = 0
    /// Nanoseconds that passed on its clock.
    var time: Int64 = 0
    var declarations: [TestDeclaration] = []
}

/// Runs one case, or the file's top level alone.
struct CaseRun {
    /// The virtual clock's beginning for `os.time` and `os.date`, seconds since 1970: midnight of 2000-01-01, UTC.
    static let epoch = 946_684_800.0
    /// Nanoseconds of real time that a stopped case has to take itself down.
    static let patience: Int64 = 2_000_000_000

    let host: Host
    let file: ScriptFile
    /// Nil: only to find what the file declares.
    let declaration: TestDeclaration?
    let watchdog: Watchdog

    var limit: Int64 { declaration?.limit ?? TestDeclaration(name: "", place: "").limit }

    /// What the run and the watchdog tell the thread that drives it.
    final class State: @unchecked Sendable {  // `gate`
        let gate = Gate()
        private var result_: RunResult?
        private var isBodyOver_ = false
        private var isOverdue_ = false

        var result: RunResult? { gate.read { result_ } }
        var isBodyOver: Bool { gate.read { isBodyOver_ } }
        var isOverdue: Bool { gate.read { isOverdue_ } }
        /// The body is over, or the run, or it took too long.
        var isAfterBody: Bool { gate.read { result_ != nil || isBodyOver_ || isOverdue_ } }

        func end(_ result: RunResult) { gate.change { result_ = result } }
        func endBody() { gate.change { isBodyOver_ = true } }
        func setOverdue() { gate.change { isOverdue_ = true } }
        func waitForBody() { gate.wait { result_ != nil || isBodyOver_ || isOverdue_ } }
        func waitForEnd(until deadline: Int64) -> Bool { gate.wait(until: deadline) { result_ != nil } }
    }

    func environment(
        test: TestCase, recorder: TextRecorder, wall: (@Sendable () -> Double)?
    ) -> RunEnvironment {
        var connectors = Host.StandardConnectors(
            input: { options in
                FileSource(path: "/dev/null", format: TextFormat(rawValue: options.format) ?? .lines)
            },
            output: { options in
                FileSink(format: TextFormat(rawValue: options.format) ?? .lines, columns: options.columns) {
                    recorder.enqueue($0)
                }
            })
        connectors.wall = wall ?? { Double(time(nil)) }
        let file = self.file
        var environment = host.environment(
            source: file.source, path: file.path, output: recorder, errors: recorder, connectors: connectors,
            readModule: { file.module($0) })
        environment.test = test
        return environment
    }

    /// Blocks until the case has ended. Called on a runner thread.
    /// - Parameter onStuck: called from elsewhere when the thread does not come back from what it runs.
    func run(seed: UInt64, onStuck: @escaping @Sendable () -> Void) -> ScheduleOutcome {
        let scheduler = SeededScheduler(seed: seed)
        let recorder = TextRecorder(), state = State(), test = TestCase(declaration?.name)
        test.onBodyEnd = { state.endBody() }
        let environment = environment(
            test: test, recorder: recorder, wall: { Self.epoch + Double(scheduler.now) / 1e9 })
        let run = Run(scheduler: scheduler, environment: environment) { state.end($0) }
        let thread = pthread_self()
        watchdog.begin(limit: limit) { overdue in
            state.setOverdue()
            if overdue > Self.patience + 1_000_000_000 { onStuck() }
            run.stopComputing()
            pthread_kill(thread, SIGURG)
        }
        defer { watchdog.end() }
        run.start()
        scheduler.run(until: { state.isAfterBody })

        var outcome = ScheduleOutcome()
        outcome.declarations = test.declarations
        outcome.time = scheduler.now
        var late = lateness(state, test, run, scheduler)
        var leaked: [String] = []
        let running = run.runningPipelines
        if state.isBodyOver {
            if let declaration, declaration.reportsLeaks, !state.isOverdue {
                scheduler.settle(until: { state.isOverdue || state.result != nil })
                leaked = run.unfinished
            }
            run.cancel()
            scheduler.endActivity()
        } else if state.isOverdue {
            run.cancel(cause: "canceled")
        }
        scheduler.run(until: { state.result != nil || state.isOverdue })
        if state.isOverdue, late == nil, state.result == nil || test.stopPlace != nil {
            late = lateness(state, test, run, scheduler, afterBody: true)
        }
        if state.isOverdue && state.result == nil {
            let deadline = monotonicNow() + Self.patience
            run.cancel(cause: "canceled")
            scheduler.run(until: { state.result != nil || monotonicNow() > deadline })
        }
        outcome.trace = scheduler.trace
        outcome.steps = scheduler.steps
        // Its workers close: until then they are in the scheduler's queue, and it is in their hands.
        if state.result != nil { scheduler.run(until: { state.isOverdue }) }
        outcome.printed = recorder.text
        outcome.failures = judge(
            test, run, state.result, late: late, leaked: leaked, waiting: state.result == nil ? run.unfinished : [],
            cut: running)
        return outcome
    }

    /// Why it is too late, if it is: where it computes, or what goes on for ever.
    private func lateness(
        _ state: State, _ test: TestCase, _ run: Run, _ scheduler: SeededScheduler, afterBody: Bool = false
    ) -> TestFailure? {
        guard state.isOverdue else { return nil }
        let after = afterBody ? " after its body had returned" : ""
        var failure = TestFailure(message: "it did not end within \(seconds(limit)) of real time\(after)")
        if let place = test.stopPlace, !place.isEmpty {
            failure.message += ": it computes at \(place)"
            if afterBody { failure.message += " (a loop over waits has to end when one returns nil, \"canceled\")" }
            failure.place = place
        } else {
            let passed = scheduler.now
            failure.message += "; on its clock \(seconds(passed)) have passed"
            if passed == 0 { failure.message += ", which moves only when nothing has work left" }
            let waiting = run.unfinished
            if !waiting.isEmpty { failure.message += "\n  " + waiting.joined(separator: "\n  ") }
        }
        return failure
    }
}

/// `10 s`, `0.25 s`.
func seconds(_ nanoseconds: Int64) -> String {
    let milliseconds = nanoseconds / 1_000_000
    if milliseconds % 1000 == 0 { return "\(milliseconds / 1000) s" }
    let digits = String(1000 + milliseconds % 1000).dropFirst()
    return "\(milliseconds / 1000).\(digits.reversed().drop { $0 == "0" }.reversed().map(String.init).joined()) s"
}

// Runs one script under signals, and turns how it ended into an exit status.
import Glibc
import StreamHost
import StreamRuntime

struct ScriptRunner {
    /// Nanoseconds.
    let drainTimeout: Int64
    var host = Host()
    /// What shows how the run goes on; nil: nothing does.
    var progress: Progress?
    /// Where the report goes as JSON; nil: nowhere.
    var reportPath: String?

    /// Blocks until the run has ended; returns the exit status.
    func run(_ path: String, arguments: [String]) -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)  // a file over `ulimit -f` is an error of the write
        // Every thread inherits this mask: signals come to the one thread that asks for them.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &signals, nil)

        let file: ReportFile?
        do throws(Host.Problem) { file = try reportPath.map(ReportFile.init(path:)) } catch {
            report(error.description)
            return 2
        }
        let run: HostRun
        do throws(Host.Problem) { run = try host.start(path: path, arguments: arguments) } catch {
            report(error.description)
            var result = RunResult()
            result.status = .wrong
            result.failures = [error.description]
            if let problem = file?.write(result.json(script: path, signal: nil, exitStatus: 2), isHurried: { false }) {
                report(problem)
            }
            return 2
        }
        let ending = Ending(path, file)
        watchSignals(signals, run, ending)
        run.onEnd { ending.finish($0) }
        if Progress.canShow(term: Self.variable("TERM")) { progress?.show(run) }
        let (result, signal) = ending.wait()
        guard ending.claim() else { while true { pause() } }  // another thread is leaving
        run.status?.end()
        let status = Self.exitStatus(result, signal)
        let errors = PatientOutput(2) { ending.signal != nil }
        for failure in result.failures { report(failure, errors) }
        tell(result.report, signal, errors)
        let text = result.json(script: path, signal: signal.map(Self.name), exitStatus: status)
        if let problem = file?.write(text, isHurried: { ending.signal != nil }) {
            report(problem, errors)
            return status == 0 ? 1 : status
        }
        return status
    }

    private static func exitStatus(_ result: RunResult, _ signal: Int32?) -> Int32 {
        if let signal, result.status == .done || result.failures.isEmpty { return 128 + signal }
        switch result.status {
        case .done: return 0
        case .failed: return 1
        case .wrong: return 2
        }
    }

    private static func name(_ signal: Int32) -> String { signal == SIGINT ? "SIGINT" : "SIGTERM" }

    /// What became of the values, after an end that came from outside.
    private func tell(_ outcome: RunReport, _ signal: Int32?, _ errors: PatientOutput) {
        guard signal != nil || outcome.ending != .natural else { return }
        if outcome.pipelines.isEmpty && outcome.stuck.isEmpty && outcome.stopped.isEmpty { return }
        report(outcome.lines(signal: signal.map(Self.name)).joined(separator: "\n"), errors)
    }

    fileprivate func report(_ text: String, _ errors: PatientOutput = PatientOutput(2) { false }) {
        let isColoured =
            isatty(2) == 1 && Self.variable("TERM") != "dumb" && (Self.variable("NO_COLOR") ?? "").isEmpty
        let line = (isColoured ? "\u{1B}[31mstreamhost:\u{1B}[0m " : "streamhost: ") + text.printable + "\n"
        errors.write(line)
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private func watchSignals(_ signals: sigset_t, _ run: HostRun, _ ending: Ending) {
        let timeout = drainTimeout
        spawnDetached(stack: 256 << 10) {
            var signals = signals
            var received: Int32 = 0
            sigwait(&signals, &received)
            ending.signal = received
            run.drain(timeout: timeout)
            Self.leaveLate(run, ending, after: timeout)
            sigwait(&signals, &received)
            run.stop(cause: "signal")
            Self.leaveLate(run, ending, after: 0)
            sigwait(&signals, &received)
            Self.leave(run, ending, "left at the third signal")
        }
    }
}

extension ScriptRunner {
    /// A run that neither ends when it is cancelled nor can be stopped does not keep the process.
    fileprivate static func leaveLate(_ run: HostRun, _ ending: Ending, after time: Int64) {
        let most = Int64.max / 2
        let whole = min(time, most) + Run.cleanupTime + 2_000_000_000
        spawnDetached(stack: 64 << 10) {
            var time = timespec(tv_sec: Int(whole / 1_000_000_000), tv_nsec: Int(whole % 1_000_000_000))
            while clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nil) == EINTR {}
            leave(run, ending, "something does not stop; leaving it")
        }
    }

    /// Ends the process while the run goes on, with a report of what that is.
    fileprivate static func leave(_ run: HostRun, _ ending: Ending, _ why: String) {
        guard ending.claim(), let signal = ending.signal else { return }
        run.status?.end()
        let runner = ScriptRunner(drainTimeout: 0), status = 128 + signal
        let errors = PatientOutput(2) { true }
        runner.report(why, errors)
        let result = run.unfinishedResult
        for failure in result.failures { runner.report(failure, errors) }
        runner.tell(result.report, signal, errors)
        let text = result.json(script: ending.script, signal: name(signal), exitStatus: status)
        if let problem = ending.file?.write(text, isHurried: { true }) { runner.report(problem, errors) }
        _exit(status)
    }
}

/// The end of the run, awaited by the main thread.
private final class Ending: @unchecked Sendable {  // `mutex` guards the rest
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var result: RunResult?
    private var received: Int32?
    private var isClaimed = false
    let script: String
    let file: ReportFile?

    init(_ script: String, _ file: ReportFile?) {
        self.script = script
        self.file = file
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    var signal: Int32? {
        get {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            return received
        }
        set {
            pthread_mutex_lock(mutex)
            received = newValue
            pthread_mutex_unlock(mutex)
        }
    }

    /// True, once: whoever asked tells how it ended, and ends the process.
    func claim() -> Bool {
        pthread_mutex_lock(mutex)
        defer {
            isClaimed = true
            pthread_mutex_unlock(mutex)
        }
        return !isClaimed
    }

    func finish(_ result: RunResult) {
        pthread_mutex_lock(mutex)
        self.result = result
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    func wait() -> (RunResult, Int32?) {
        pthread_mutex_lock(mutex)
        while result == nil { pthread_cond_wait(condition, mutex) }
        let result = result!
        pthread_mutex_unlock(mutex)
        return (result, signal)
    }
}

// Runs one script under signals, and turns how it ended into an exit status.
import Glibc
import StreamHost
import StreamRuntime

struct ScriptRunner {
    /// Nanoseconds.
    let drainTimeout: Int64
    /// Nanoseconds; nil: the host's.
    var slice: Int64?
    /// What shows how the run goes on; nil: nothing does.
    var progress: Progress?

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

        let run: HostRun
        var host = Host()
        host.slice = slice
        do throws(Host.Problem) { run = try host.start(path: path, arguments: arguments) } catch {
            report(error.description)
            return 2
        }
        let ending = Ending()
        watchSignals(signals, run, ending)
        run.onEnd { ending.finish($0) }
        if Progress.canShow(term: Self.variable("TERM")) { progress?.show(run) }
        let (result, signal) = ending.wait()
        run.status?.end()
        for failure in result.failures { report(failure) }
        if !result.account.isBalanced { report("the account does not balance: \(result.account)") }
        if let signal, result.status == .done || result.failures.isEmpty { return 128 + signal }
        switch result.status {
        case .done: return 0
        case .failed: return 1
        case .wrong: return 2
        }
    }

    fileprivate func report(_ text: String) {
        let isColoured =
            isatty(2) == 1 && Self.variable("TERM") != "dumb" && (Self.variable("NO_COLOR") ?? "").isEmpty
        let line = (isColoured ? "\u{1B}[31mstreamhost:\u{1B}[0m " : "streamhost: ") + text.printable + "\n"
        var bytes = Array(line.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(2, $0.baseAddress!, $0.count) }
            if count <= 0 && errno != EINTR { return }
            bytes = bytes.dropFirst(max(0, count))
        }
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private func watchSignals(_ signals: sigset_t, _ run: HostRun, _ ending: Ending) {
        let timeout = drainTimeout
        spawnDetached(stack: 256 << 10) {
            var signals = signals
            var received: Int32 = 0
            sigwait(&signals, &received)
            ending.signal = received
            let status = 128 + received
            run.drain()
            spawnDetached(stack: 64 << 10) {
                var time = timespec(tv_sec: Int(timeout / 1_000_000_000), tv_nsec: Int(timeout % 1_000_000_000))
                while clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nil) == EINTR {}
                run.cancel(cause: "drain timeout")
                Self.exitLate(run, status)
            }
            sigwait(&signals, &received)
            run.cancel(cause: "signal")
            // A script that cannot be stopped, or a third signal, does not keep the process.
            spawnDetached(stack: 64 << 10) { Self.exitLate(run, status) }
            sigwait(&signals, &received)
            run.status?.end()
            _exit(128 + received)
        }
    }
}

extension ScriptRunner {
    /// Leaves what does not stop although everything was cancelled two seconds ago.
    fileprivate static func exitLate(_ run: HostRun, _ status: Int32) {
        sleep(2)
        run.status?.end()
        ScriptRunner(drainTimeout: 0).report("something does not stop; leaving it")
        _exit(status)
    }
}

/// The end of the run, awaited by the main thread.
private final class Ending: @unchecked Sendable {  // `mutex` guards the rest
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var result: RunResult?
    private var received: Int32?

    init() {
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

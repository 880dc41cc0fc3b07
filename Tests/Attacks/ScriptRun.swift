// One run of a script on real threads, which may not end.
import Dispatch
import Glibc
import StdlibLua
import StreamCore
import StreamRuntime
import Synchronization

package final class ScriptRun: Sendable {
    package let output = AttackRecorder(
        marks: [
            "inside", "returned", "cancelled", "ended", "passed", "account", "others", "missing", "widest",
        ])
    package let errors = AttackRecorder(marks: ["streamhost: skipped"])
    private let run: Run
    private let result = Mutex<RunResult?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    package init(_ script: String, on scheduler: ThreadScheduler) {
        let environment = RunEnvironment(
            scriptPath: "attack.lua", script: Array(script.utf8), output: output, errors: errors,
            makeSource: { options throws(ConnectorError) in throw ConnectorError("there is no source '\(options.kind)'")
            },
            makeSink: { options throws(ConnectorError) in throw ConnectorError("there is no sink '\(options.kind)'") },
            library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
        let box = Box()
        run = Run(scheduler: scheduler, environment: environment) { box.run?.end($0) }
        box.run = self
    }

    /// The run is made before what is told of its end.
    private final class Box: @unchecked Sendable {  // written once, before the run starts
        weak var run: ScriptRun?
    }

    private func end(_ result: RunResult) {
        self.result.withLock { $0 = result }
        ended.signal()
    }

    package func start() { run.start() }

    /// False: it has not ended within that time.
    package func wait(seconds: Double) -> Bool {
        if result.withLock({ $0 != nil }) { return true }
        return ended.wait(timeout: .now() + seconds) == .success
    }

    package var outcome: RunResult? { result.withLock { $0 } }

    /// Ends it by force: what computes is stopped, what waits is cancelled.
    package func stop() {
        run.stopComputing()
        run.cancel()
    }

    package static func scheduler(threads: Int = 2) -> ThreadScheduler {
        var configuration = ThreadScheduler.Configuration(threads: threads)
        configuration.interruptSignal = SIGURG
        configuration.onThreadStart = { Run.attachThread() }
        return ThreadScheduler(configuration)
    }
}

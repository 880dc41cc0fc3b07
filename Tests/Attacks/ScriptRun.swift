// One run of a script on real threads, which may not end.
import AttackMeter
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

    /// Ends it by force, as the last phase of a shutdown does: what waits is dropped, and what computes is stopped, again and
    /// again. False: it goes on.
    package func stop(seconds: Double) -> Bool {
        let patience = attack_now() + Int64(seconds * 1e9)
        run.cancel()
        repeat {
            run.stopComputing()
            run.dropWhatWaits()
        } while !wait(seconds: 0.02) && attack_now() < patience
        return outcome != nil
    }

    package static func scheduler(threads: Int = 2) -> ThreadScheduler {
        var configuration = ThreadScheduler.Configuration(threads: threads)
        configuration.interruptSignal = SIGURG
        if attack_is_sanitized() { configuration.stackSize = 1 << 30 }  // whose frames are several times as large
        configuration.onThreadStart = { Run.attachThread() }
        return ThreadScheduler(configuration)
    }
}

// A worker's end.
import Synchronization
import Testing

@testable import StreamCore
@testable import StreamRuntime

@Suite struct WorkerEndTests {
    /// Guards against a run that waited for ever: its end calls each worker that it still knows, and one that had ended
    /// on another thread a moment before did nothing any more.
    @Test func call_afterTheEnd_isDone() {
        let scheduler = SeededScheduler(seed: 1)
        let text = TextRecorder()
        let environment = RunEnvironment(
            scriptPath: "script.lua", script: [], output: text, errors: text,
            makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
            makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") }, library: { _ in nil },
            readModule: { _ in nil }, wall: { 0 })
        let run = Run(scheduler: scheduler, environment: environment) { _ in }
        var log: [String] = []
        let worker = Worker(run: run, name: "worker") { _ = $0.open(memoryLimit: 0) }
        worker.call { worker in
            worker.end { log.append("first end") }
            worker.end { log.append("second end") }
        }
        scheduler.run(limit: 100)
        #expect(log == ["first end", "second end"])
        worker.call { $0.end { log.append("late end") } }
        scheduler.run(limit: 100)
        #expect(log == ["first end", "second end", "late end"])
    }
}

// Scripts in which something waits for ever, in contexts that do not end with the run's: drained, cancelled, stopped.
import StdlibLua
import StreamCore
import StreamRuntime
import Synchronization

/// One run of a pipeline that hangs at a place that the seed decides, ended at a step that the seed decides.
package final class StopRun {
    package private(set) var trace: UInt64 = 0
    package private(set) var failures: [String] = []
    private let seed: UInt64
    private var random: SplitMix64

    /// Where it hangs, with the part that the report has to name.
    private static let places: [(part: String, text: String)] = [
        (
            "stage \"hangs\"",
            "stream.from(stream.range(1, 9)):map('hangs', function(v) hang() return v end):to(stream.null_sink())"
        ),
        (
            "stage \"hangs\"",
            """
            stream.from(stream.range(1, 9)):map('hangs', { setup = hang, process = function(v) return v end })
              :to(stream.null_sink())
            """
        ),
        (
            "stage \"hangs\"",
            """
            stream.from(stream.range(1, 9)):map('hangs', { process = function(v) return v end, flush = hang })
              :to(stream.null_sink())
            """
        ),
        (
            "stage \"hangs\"",
            "stream.from(stream.range(1, 9)):stage('hangs', function(input) hang() end):to(stream.null_sink())"
        ),
        (
            "stage \"generate\"",
            "stream.from(stream.generate(function(emit) emit(1) hang() end)):to(stream.null_sink())"
        ),
        ("the sink function", "stream.from(stream.range(1, 9)):to(function(v) hang() end)"),
    ]

    package init(seed: UInt64) {
        self.seed = seed
        random = SplitMix64(seed: seed &* 31 &+ 5)
    }

    package func run() {
        let place = Self.places[Int(random.next() % UInt64(Self.places.count))]
        let scheduler = SeededScheduler(seed: seed), result = Mutex<RunResult?>(nil), box = Box(result)
        let text = """
            local stream = require "stream"
            local function hang()
              local keep = stream.context():without_cancel()
              keep:run(function() while true do stream.sleep("\(1 + random.next() % 400)ms") end end)
            end
            \(place.text)
            """
        let recorder = TextRecorder()
        let environment = RunEnvironment(
            scriptPath: "script.lua", script: Array(text.utf8), output: recorder, errors: recorder,
            makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
            makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") },
            library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
        let run = Run(scheduler: scheduler, environment: environment) { end in box.value.withLock { $0 = end } }
        let hasEnded = { box.value.withLock { $0 != nil } }
        run.start()
        scheduler.run(limit: 60 + Int(random.next() % 300), until: hasEnded)
        let began = scheduler.now, timeout = [0, 1, 1000][Int(random.next() % 3)] * 1_000_000 as Int64
        let isAtOnce = random.next() % 3 == 0
        if isAtOnce { run.stop(cause: "enough") } else { run.drain(timeout: timeout) }
        if random.next() % 2 == 0 { run.stop(cause: "again") }
        scheduler.run(limit: 200_000, until: hasEnded)
        let took = scheduler.now - began
        if hasEnded() { scheduler.run(limit: 100_000) }
        trace = scheduler.trace
        guard let result = box.value.withLock({ $0 }) else { return failures.append("\(place.text): it does not end") }
        check(result, place.part, took, timeout)
        if scheduler.armedTimers > 0 { failures.append("\(scheduler.armedTimers) timers are armed after the end") }
    }

    private func check(_ result: RunResult, _ part: String, _ took: Int64, _ timeout: Int64) {
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) {
            if !holds { failures.append("\(part): \(text())") }
        }
        expect(result.status == .done, "it failed: \(result.failures)")
        expect(result.account.isBalanced, "the account does not balance: \(result.account)")
        // the graces of what computes, and of a teardown, are far below a second
        let most = timeout + Run.cleanupTime + 1_000_000_000
        expect(took <= most, "it took \(took) ns")
        // Ended before the part had begun to hang, or hanging from then on: then it is named, in both lists.
        guard result.report.ending == .stopped else { return }
        expect(took >= Run.cleanupTime, "it was stopped after \(took) ns")
        expect(
            result.report.stopped.contains {
                $0.part.hasPrefix(part) && !$0.isPassive && $0.place.hasPrefix("script.lua:")
            },
            "the report does not name it: \(result.report.stopped)")
    }

    private final class Box: Sendable {
        let value: Mutex<RunResult?>
        init(_ value: consuming Mutex<RunResult?>) { self.value = value }
    }
}

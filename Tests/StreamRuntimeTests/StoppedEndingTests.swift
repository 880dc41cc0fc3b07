// What `on_end` was asked for in a worker that is stopped for a limit, or replaced: it runs once, in that worker.
import LuaVM
import Schedules
import StdlibLua
import StreamCore
import Synchronization
import Testing

@testable import StreamRuntime

@Suite struct StoppedEndingTests {
    /// Which limit stops the worker at the value 3.
    enum Limit: String, CaseIterable {
        case memory, output
        var option: String {
            switch self {
            case .memory: "memory = \"2MB\""
            case .output: "max_output = 1000"
            }
        }
        var deed: String {
            switch self {
            case .memory: "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end"
            case .output: "for _ = 1, 100 do print(('x'):rep(100)) end"
            }
        }
    }

    /// When the context ends whose end is waited for.
    enum Moment: String, CaseIterable {
        case byTeardown, before

        var setup: String {
            switch self {
            case .byTeardown: "c = stream.context():without_cancel():with_cancel() c:on_end(tell)"
            case .before: ""
            }
        }
        var before: String {
            self == .before ? "local e = stream.context():with_cancel() e:on_end(tell) e:cancel()" : ""
        }
    }

    @Test(arguments: Limit.allCases, Moment.allCases)
    func onEnd_runsOnce(_ limit: Limit, _ moment: Moment) throws {
        for seed in UInt64(1)...10 {
            let (result, lines) = run(
                """
                local stream = require "stream"
                local c
                local function tell(reason) stream.host.say("ended " .. reason) end
                stream.from(stream.range(1, 5)):each("stage", {
                  setup = function() \(moment.setup) end,
                  process = function(v)
                    if v == 3 then \(moment.before) \(limit.deed) end
                  end,
                  teardown = function(reason) stream.host.say("teardown " .. reason) if c then c:cancel() end end,
                }, { \(limit.option), on_error = "skip" }):to(stream.null_sink())
                """, seed: seed)
            #expect(result?.status == .done && result?.failures == [], "seed \(seed)")
            #expect(result?.account.isBalanced ?? false)
            let ended = lines.filter { $0 == "ended canceled" }.count
            let workers = lines.filter { $0.hasPrefix("teardown") }.count
            #expect(workers == 2, "seed \(seed): \(lines)")
            // One that stands in `setup` is of each of the two workers, one of the value 3 of the first alone.
            #expect(ended == (moment == .before ? 1 : 2), "seed \(seed): \(lines)")
        }
    }

    @Test func onEnd_thatGoesOnForEver_isStopped() {
        for seed in UInt64(1)...5 {
            let (result, lines) = run(
                """
                local stream = require "stream"
                local c
                stream.from(stream.range(1, 5)):each("stage", {
                  setup = function()
                    c = stream.context():without_cancel():with_cancel()
                    c:on_end(function(reason)
                      stream.host.say("begun")
                      stream.context():without_cancel():run(function() stream.sleep("1h") end)
                    end)
                  end,
                  process = function(v) if v == 3 then local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end end,
                  teardown = function() if c then c:cancel() c = nil end end,
                }, { memory = "2MB", on_error = "skip" }):to(stream.null_sink())
                stream.host.say("declared")
                """, seed: seed)
            // Of the fresh worker, which nothing stops, it is waited for: an hour of the run's own clock.
            #expect(result?.status == .done && result?.failures == [], "seed \(seed)")
            #expect(lines.filter { $0 == "begun" }.count == 2, "seed \(seed): \(lines)")
        }
    }

    private final class Ended: Sendable {
        let result = Mutex<RunResult?>(nil)
    }

    private func run(_ script: String, seed: UInt64) -> (RunResult?, [String]) {
        let scheduler = SeededScheduler(seed: seed)
        let said = TextRecorder(), errors = TextRecorder()
        var environment = RunEnvironment(
            scriptPath: "script.lua", script: Array(script.utf8), output: TextRecorder(), errors: errors,
            makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
            makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") },
            library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
        environment.functions = [
            "say": { arguments in
                if case .string(let text) = arguments[0] {
                    let line = Array((text + "\n").utf8)
                    line.withUnsafeBytes { said.enqueue($0) }
                }
                return .null
            }
        ]
        let ended = Ended()
        let run = Run(scheduler: scheduler, environment: environment) { end in ended.result.withLock { $0 = end } }
        run.start()
        scheduler.run(limit: 500_000)
        return (ended.result.withLock { $0 }, said.lines)
    }
}

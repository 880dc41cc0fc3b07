import Schedules
// Sources are asked to end at any moment.
import StdlibLua
import Synchronization
import Testing

@testable import StreamCore
@testable import StreamRuntime

@Suite struct DrainTests {
    private static func run(
        _ script: String, seed: UInt64, drainAfter steps: Int?
    ) -> (result: RunResult?, output: [String]) {
        let scheduler = SeededScheduler(seed: seed)
        let output = TextRecorder(), errors = TextRecorder()
        let held = Held()
        var environment = RunEnvironment(
            scriptPath: "script.lua", script: Array(("local stream = require 'stream'\n" + script).utf8),
            output: output, errors: errors,
            makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
            makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") },
            library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
        environment.functions["drain"] = { _ in
            held.run.withLock { $0 }?.drain()
            return .null
        }
        let run = Run(scheduler: scheduler, environment: environment) { end in held.result.withLock { $0 = end } }
        held.run.withLock { $0 = run }
        run.start()
        if let steps {
            scheduler.run(limit: steps)
            run.drain()
        }
        scheduler.run(limit: 100_000, until: { held.result.withLock { $0 != nil } })
        held.run.withLock { $0 = nil }
        scheduler.run(limit: 100_000)  // the workers close
        return (held.result.withLock { $0 }, output.lines)
    }

    private final class Held: Sendable {
        let run = Mutex<Run?>(nil)
        let result = Mutex<RunResult?>(nil)
    }

    /// Endless sources of each kind: the run ends, and its account balances, whenever they are asked to end.
    @Test(arguments: [
        "stream.generate(function(emit) local i = 0 while emit(i) do i = i + 1 end end)",
        "stream.range(1, math.huge)",
    ])
    func drain_atAnyMoment_endsTheRun(_ source: String) throws {
        for steps in 0..<60 {
            let outcome = Self.run(
                """
                local n = 0
                stream.from(\(source))
                  :map("a", function(v) return v end, { workers = 2, ordered = true, queue = 8 })
                  :tee(function(branch) branch:batch { size = 3, within = "1ms" }:to(stream.null_sink()) end)
                  :to(function() end)
                """, seed: UInt64(steps), drainAfter: steps)
            let result = try #require(outcome.result, "no end after a drain at step \(steps)")
            #expect(result.status == .done, "step \(steps): \(result)")
            #expect(result.account.isBalanced, "step \(steps): \(result.account)")
        }
    }

    /// Guards against a run that went on after a drain: the only pipeline was taken back, not ended, so nobody ended the
    /// run's context.
    @Test func pipelineTakenBackAfterADrain_isNotWaitedFor() throws {
        let outcome = Self.run(
            """
            local routed = stream.from(stream.range(1, 3)):route {
              { when = function() return true end, to = function(branch) branch:to(stream.null_sink()) end },
              otherwise = function(branch) branch:to(stream.null_sink()) end,
            }
            stream.host.drain()
            routed:map(function(v) return v end)
            local naps = 0
            while stream.sleep("1s") do naps = naps + 1 if naps == 5 then break end end
            print(naps)
            """, seed: 1, drainAfter: nil)
        #expect(outcome.output == ["0"])
        #expect(outcome.result?.status == .done)
    }
}

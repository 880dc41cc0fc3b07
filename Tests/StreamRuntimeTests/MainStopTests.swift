// The worker of the top level, stopped where the machine has no more memory: nothing in it goes on.
import LuaVM
import Schedules
import StdlibLua
import StreamCore
import Synchronization
import Testing

@testable import StreamRuntime

@Suite struct MainStopTests {
    private final class Ended: Sendable {
        let result = Mutex<RunResult?>(nil), stops = Mutex(0)
    }

    /// Guards against a run that was done although its main worker was stopped, as the only one that would have been told
    /// waited there too, and against one that waited for what cannot come.
    @Test func whereverItIsStopped_theRunFails_andEnds() {
        var stopped = 0
        for seed in UInt64(1)...400 {
            let scheduler = SeededScheduler(seed: seed)
            let text = TextRecorder()
            var environment = RunEnvironment(
                scriptPath: "script.lua", script: Array(Self.script.utf8), output: text, errors: text,
                makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
                makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") },
                library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
            let ended = Ended()
            environment.onStop = { _ in ended.stops.withLock { $0 += 1 } }
            let run = Run(scheduler: scheduler, environment: environment) { end in ended.result.withLock { $0 = end } }
            run.start()
            defer { scheduler.run(limit: 100_000) }  // it ends, and its workers close
            scheduler.run(limit: Int(seed % 40))
            guard run.strike(seed &* 0x9E37_79B9, .memory, after: 1 + Int(seed % 97), among: .main) != nil else {
                continue
            }
            scheduler.run(limit: 100_000)
            let result = ended.result.withLock { $0 }
            guard ended.stops.withLock({ $0 }) > 0 else { continue }
            stopped += 1
            #expect(result?.status == .failed, "seed \(seed)")
            #expect(result?.failures.count == 1, "seed \(seed): \(result?.failures ?? [])")
            #expect(result?.failures.first?.hasSuffix("not enough memory") == true, "\(result?.failures ?? [])")
            #expect(result?.account.isBalanced == true, "seed \(seed)")
        }
        #expect(stopped > 50)
    }

    private static let script = """
        local stream = require "stream"
        local feed, out = stream.chan(1), stream.chan(1)
        local tasks = {}
        tasks[1] = stream.go(function() for i = 1, 20 do feed:send(i) end feed:close() end)
        tasks[2] = stream.go(function()
          local group = stream.group()
          for _ = 1, 3 do group:go(function() for i = 1, 50 do if i % 10 == 0 then stream.sleep("1ms") end end end) end
          group:wait()
        end)
        tasks[3] = stream.go(function() for _ in out:range() do end end)
        local p = stream.from(feed):map("m", function(v) return v end):tee(function(b) b:to(out) end):to(function(v) end)
        p:wait()
        for _, t in ipairs(tasks) do t:wait() end
        """
}

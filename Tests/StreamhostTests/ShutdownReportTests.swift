// The end of a run that comes from outside, and what is told of it: on standard error, and as JSON with --report.
import Foundation
import Testing

@Suite struct ShutdownReportTests {
    private struct Report: Decodable {
        struct Account: Decodable {
            var created, delivered, consumed, filtered, failed, dead_lettered, returned, dropped: Int
            var drops: [String: Int]
            var isBalanced: Bool {
                created == delivered + consumed + filtered + failed + dead_lettered + returned + dropped
                    && dropped == drops.values.reduce(0, +)
            }
        }
        struct Limit: Decodable {
            var limit: Double
            var current, peak: Double?
            var stopped: Int?
        }
        struct Fused: Decodable {
            var name: String
            var limits: [String: Limit]
        }
        struct Stage: Decodable {
            var name: String
            var limits: [String: Limit]?
            var fused: [Fused]?
            var received, emitted, filtered, failed, dropped, restarts, capacity: Int
            var drops: [String: Int]
        }
        struct Pipeline: Decodable {
            var place, outcome: String
            var runs: Int
            var reason: String?
            var account: Account
            var stages: [Stage]
        }
        struct Part: Decodable {
            var part, place, state: String
            var value: String?
            var passive: Bool
        }
        var version: Int, script: String, status: String, exit_status: Int32, signal: String?, ending: String
        var duration: Double, account: Account, pipelines: [Pipeline], stuck: [Part], stopped: [Part],
            failures: [String]
    }

    private final class Reported {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("streamhost-\(UUID().uuidString)")
        let running: Running
        var path: String { folder.appendingPathComponent("report.json").path }

        init(_ script: String, options: [String] = []) throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            running = try Running(
                script: script, options: ["--report", folder.appendingPathComponent("report.json").path] + options)
        }
        deinit { try? FileManager.default.removeItem(at: folder) }

        func finish() throws -> (Outcome, Report) {
            let outcome = running.finish()
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            return (outcome, try JSONDecoder().decode(Report.self, from: data))
        }
    }

    @Test func ordinaryRun_isQuiet_andReportsWhatItDid() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            for _ = 1, 3 do
              assert(stream.from(stream.range(1, 10)):filter("even", function(v) return v % 2 == 0 end)
                :to(stream.null_sink()):wait())
            end
            stream.from(stream.range(1, 4)):flat_map("twice", function(v, emit) emit(v) emit(v) end):to(stream.null_sink())
            """)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 0 && outcome.errors == "")
        #expect(report.version == 1 && report.status == "done" && report.exit_status == 0 && report.signal == nil)
        #expect(report.ending == "end" && report.stuck.isEmpty && report.stopped.isEmpty && report.failures.isEmpty)
        #expect(report.pipelines.map(\.place) == ["script.lua:3", "script.lua:6"])
        #expect(report.pipelines.map(\.runs) == [3, 1])
        #expect(report.pipelines.map(\.outcome) == ["done", "done"])
        let even = report.pipelines[0], twice = report.pipelines[1]
        #expect(even.account.created == 30 && even.account.filtered == 15 && even.account.delivered == 15)
        #expect(even.stages.map(\.name) == ["even"])
        #expect(even.stages[0].received == 30 && even.stages[0].emitted == 15)
        #expect(twice.account.created == 4 + 8 && twice.account.consumed == 4 && twice.account.delivered == 8)
        #expect(report.account.isBalanced && report.account.delivered == 23)
    }

    @Test func limits_areReported_asStatsTellsThem() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            local function over(v) while v == 2 do pcall(function() while true do end end) end return v end
            for _ = 1, 2 do
              local p = stream.from(stream.range(1, 3))
                :map("work", over, { memory = "16MB", cpu = "50ms", max_value = "1KB", on_error = "skip" })
                :take(3)
                :map("first", function(v) return v end, { timeout = "5s", max_value = false })
                :map("second", function(v) return v end, { isolated = false, max_output = "1MB", max_value = false })
                :to(stream.null_sink())
              p:wait()
              for _, stage in ipairs(p:stats().stages) do
                for _, part in ipairs { stage, table.unpack(stage.fused or {}) } do
                  for name, use in pairs(part.limits or {}) do
                    print(part.name or stage.name, name, use.limit, use.current or "-", use.stopped or "-")
                  end
                end
              end
            end
            """)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 0)
        let stages = report.pipelines[0].stages
        try #require(report.pipelines[0].runs == 2 && stages.count == 3, "\(outcome.errors)")
        let work = stages[0].limits ?? [:]
        #expect(Set(work.keys) == ["memory", "cpu", "max_value"])
        #expect(work["memory"]?.limit == 16_777_216 && work["memory"]?.stopped == 0 && work["memory"]?.current == 0)
        #expect((work["memory"]?.peak ?? 0) > 10_000)  // a state
        #expect(work["cpu"]?.limit == 0.05 && work["cpu"]?.stopped == 2)
        #expect((work["cpu"]?.peak ?? 0) > 0.05)
        #expect(work["max_value"]?.limit == 1024 && work["max_value"]?.stopped == nil)
        #expect(stages[0].fused == nil && stages[1].limits == nil)
        #expect(stages[2].limits?["timeout"]?.limit == 5 && stages[2].limits?["max_output"] == nil)
        #expect(stages[2].fused?.map(\.name) == ["second"])
        #expect(stages[2].fused?.first?.limits["max_output"]?.limit == 1_048_576)
        // what `p:stats()` names, no more and no less
        var named: Set<String> = []
        for stage in stages {
            for name in (stage.limits ?? [:]).keys { named.insert("\(stage.name) \(name)") }
            for fused in stage.fused ?? [] { for name in fused.limits.keys { named.insert("\(fused.name) \(name)") } }
        }
        let lines = outcome.output.split(separator: "\n").map { $0.split(separator: "\t") }
        #expect(Set(lines.map { "\($0[0]) \($0[1])" }) == named, "\(outcome.output)")
    }

    @Test func failedRun_reportsItsFailure() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 3)):map("bad", function(v) error("no \\"way\\"") end):to(stream.null_sink())
            """)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 1 && report.exit_status == 1 && report.status == "failed")
        #expect(report.failures.count == 1 && report.failures[0].contains("no \"way\""))
        #expect(report.pipelines[0].outcome == "failed" && report.pipelines[0].account.failed == 1)
        #expect(report.account.isBalanced)
    }

    @Test func unwritableReport_isAnErrorBeforeTheScriptStarts() throws {
        let outcome = try CommandLine.shell(
            "$STREAMHOST run --report /nowhere/report.json script.lua", script: "print 'ran'")
        #expect(outcome.status == 2 && outcome.output == "")
        #expect(
            outcome.errors == "streamhost: --report: cannot write /nowhere/report.json: No such file or directory\n")
    }

    @Test func missingScript_isReported() throws {
        let outcome = try CommandLine.shell("$STREAMHOST run --report - nothing.lua", script: "")
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("\"status\": \"wrong\""))
    }

    @Test func stageThatComputes_isNamedWithItsLineAndValue() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 1000)):each("loop", function(v)
              if v == 3 then
                print("begun")
                while true do
                  v = v + 1
                end
              end
            end):map("next", function(v) return v end):to(stream.null_sink())
            """, options: ["--drain-timeout", "200ms"])
        #expect(reported.running.awaitOutput("begun"))
        reported.running.send(SIGINT)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 130 && report.exit_status == 130 && report.signal == "SIGINT")
        #expect(report.ending == "drain timeout")
        let roots = report.stuck.filter { !$0.passive }
        #expect(roots.map(\.part) == ["stage \"loop\""])
        #expect(["script.lua:5", "script.lua:6", "script.lua:7"].contains(roots.first?.place))
        #expect(roots.first?.state == "computing" && roots.first?.value == "3")
        #expect(report.account.isBalanced && report.account.delivered == 2)
        #expect(outcome.errors.contains("stage \"loop\" is computing, with the value 3 in hand"))
        #expect(!outcome.errors.contains("stage \"next\""))
    }

    /// Code of which one instruction takes all the time, and the line that it stands in.
    static let loops: [(code: String, line: Int)] = [
        ("v = v + 1\nwhile true do\nend", 6),
        ("pcall(function()\nv = v + 1\nwhile true do\nend\nend)", 7),
        ("coroutine.wrap(function()\nv = v + 1\nwhile true do\nend\nend)()", 7),
        ("local s = ('a'):rep(30000)\nv = v + 1\ns:find(('a-'):rep(20) .. 'b')\nv = v + 1", 7),
    ]

    /// Guards against the line before: of code that was preempted, Lua names the instruction that has run.
    @Test(arguments: loops.indices) func lineThatComputes_isTheOneThatIsNamed(_ index: Int) throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 10)):each("loop", function(v)
              if v == 3 then
                print("begun")
                \(Self.loops[index].code.replacing("\n", with: "\n    "))
              end
            end, { cpu = false }):to(stream.null_sink())
            """, options: ["--drain-timeout", "200ms"])
        #expect(reported.running.awaitOutput("begun"))
        reported.running.send(SIGINT)
        let (_, report) = try reported.finish()
        #expect(report.stuck.filter { !$0.passive }.map(\.place) == ["script.lua:\(Self.loops[index].line)"])
    }

    @Test(arguments: ["setup", "flush"]) func phaseThatWaits_isNamed(_ phase: String) throws {
        let process = phase == "setup" ? "process" : "setup"
        let reported = try Reported(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 2)):map("slow", {
              \(process) = function(v) return v end, \(phase == "setup" ? "" : "process = function(v) return v end,")
              \(phase) = function() print("begun") stream.sleep(1000) end }):to(stream.null_sink())
            """, options: ["--drain-timeout", "200ms"])
        #expect(reported.running.awaitOutput("begun"))
        reported.running.send(SIGTERM)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 143 && report.ending == "drain timeout")
        let roots = report.stuck.filter { !$0.passive }
        #expect(roots.map(\.part) == ["stage \"slow\""] && roots.first?.state == "sleeping")
        #expect(roots.first?.place == "script.lua:4")
        #expect(report.account.isBalanced)
    }

    /// Guards against a report that a full disk swallowed.
    @Test func reportThatCannotBeWritten_isSaid() throws {
        let outcome = try Running(script: "print 'done'", options: ["--report", "/dev/full"]).finish()
        #expect(outcome.output == "done\n")
        #expect(outcome.errors == "streamhost: --report: cannot write /dev/full: No space left on device\n")
        #expect(outcome.status == 1)
    }

    /// Guards against a stage that tried all values of its batch in vain, each wait of its function refused.
    @Test func functionWhoseWaitWasEnded_getsNoMoreValues() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 1000)):map("slow", function(v)
              if v == 6 then print("begun") end
              stream.sleep(v < 6 and 0 or 1000)
              return v
            end):to(stream.null_sink())
            """, options: ["--drain-timeout", "200ms"])
        #expect(reported.running.awaitOutput("begun"))
        reported.running.send(SIGTERM)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 143 && report.ending == "drain timeout")
        #expect(report.pipelines.first?.stages.map(\.received) == [6])
        #expect(report.account.isBalanced)
    }

    /// Guards against a stop that dropped the teardown which it had called for.
    @Test func stageThatIsStoppedForGood_isTornDown() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 3)):map("hangs", {
              process = function(v)
                print("begun")
                stream.context():without_cancel():run(stream.sleep, "1h")
                return v
              end,
              teardown = function(reason) stream.sleep("1ms") print("teardown", reason) end,
            }):to(stream.null_sink())
            """, options: ["--drain-timeout", "0s"])
        #expect(reported.running.awaitOutput("begun"))
        reported.running.send(SIGTERM)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 143 && report.ending == "stopped")
        #expect(outcome.lines == ["begun", "teardown\tcanceled"])
        #expect(report.account.isBalanced && report.account.delivered == 0)
    }

    @Test func twoSignalsWithinAMillisecond_endItAtOnce() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            print("begun")
            stream.from(stream.generate(function(emit) emit(1) stream.sleep(1000) end)):to(stream.null_sink())
            """)
        #expect(reported.running.awaitOutput("begun"))
        Thread.sleep(forTimeInterval: 0.2)
        reported.running.send(SIGINT)
        usleep(500)
        reported.running.send(SIGINT)
        let (outcome, report) = try reported.finish()
        // The second may have come before the first was taken: then it was one, and the sleep is cut at the drain timeout.
        #expect(outcome.status == 130 && report.account.isBalanced && report.account.created == 1)
        #expect(["canceled", "drained", "drain timeout"].contains(report.ending))
    }

    @Test func whatIgnoresTheCancellation_isStopped() throws {
        let reported = try Reported(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 5)):each("stays", function(v)
              stream.context():without_cancel():run(function()
                print("begun")
                while true do stream.sleep("50ms") end
              end)
            end):to(stream.null_sink())
            """)
        #expect(reported.running.awaitOutput("begun"))
        reported.running.send(SIGINT)
        Thread.sleep(forTimeInterval: 0.2)
        reported.running.send(SIGINT)
        let (outcome, report) = try reported.finish()
        #expect(outcome.status == 130 && report.ending == "stopped")
        #expect(
            report.stopped.contains { $0.part == "stage \"stays\"" && $0.place == "script.lua:5" && $0.value == "1" })
        #expect(report.account.isBalanced && report.account.drops == ["ended": 5] && report.account.created == 5)
        #expect(outcome.errors.contains("stopped for good"))
    }
}

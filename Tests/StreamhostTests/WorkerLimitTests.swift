// Limits of a stage's workers: memory, CPU time, size and output of a value, over each policy and each kind of stage.
import Foundation
import Testing

@Suite struct WorkerLimitTests {
    private static let head = """
        local stream = require 'stream'
        local function check(p)
          local s = p:stats()
          assert(s.created == s.delivered + s.consumed + s.filtered + s.failed + s.dropped, "account")
          return s
        end
        local kept = {}
        -- What does not end by itself, and catches what it can.
        local function greedy() while true do pcall(function() kept[#kept + 1] = { #kept } end) end end
        local function busy() while true do pcall(function() while true do end end) end end

        """

    private static func run(_ script: String, _ options: [String] = []) throws -> Outcome {
        let folder = try ScriptFolder(head + script)
        return try CommandLine.execute(["run"] + options + ["script.lua"], folder: folder.url)
    }

    /// An option, what is over it, in which line (nil: its own), and what is said.
    static let limits: [(option: String, code: String, line: Int?, text: String)] = [
        ("memory = '1MB'", "greedy()", 9, "memory limit of 1MB exceeded (memory = \"2MB\" would raise it)"),
        ("cpu = '30ms'", "busy()", 10, "cpu limit of 30ms exceeded (cpu = \"60ms\" would raise it)"),
        (
            "max_output = '2KB'", "while true do pcall(print, ('x'):rep(1000)) end", nil,
            "output limit of 2KB for one value exceeded (max_output = \"4KB\" would raise it)"
        ),
    ]
    /// A stage that passes its values on, but the second: `OPTIONS` and `CODE`.
    static let stages = [
        "map('work', function(v) if v == 2 then CODE end return v end, { OPTIONS })",
        "filter('work', function(v) if v == 2 then CODE end return true end, { OPTIONS })",
        "each('work', function(v) if v == 2 then CODE end end, { OPTIONS })",
        "flat_map('work', function(v, emit) if v == 2 then CODE end emit(v) end, { OPTIONS })",
        "scan('work', 0, function(s, v) if v == 2 then CODE end return v end, { OPTIONS })",
        "map('work', function(v) if v == 2 then CODE end return v end, { queue = 0, OPTIONS })",
        "map('work', function(v) if v == 2 then CODE end return v end, { workers = 2, ordered = true, OPTIONS })",
        "map('work', function(v) if v == 2 then CODE end return v end, { workers = 2, ordered = true, key = function(v) return v end, OPTIONS })",
        "map('work', function(v) return v end, { OPTIONS }):map('second', function(v) return v end, { isolated = false })"
            .replacingOccurrences(
                of: "function(v) return v end, { OPTIONS",
                with: "function(v) if v == 2 then CODE end return v end, { OPTIONS"),
    ]

    private static func stage(_ index: Int, _ limit: Int, _ policy: String) -> String {
        stages[index].replacingOccurrences(of: "CODE", with: limits[limit].code)
            .replacingOccurrences(of: "OPTIONS", with: "\(limits[limit].option), on_error = '\(policy)'")
    }

    @Test(arguments: stages.indices, limits.indices) func skip_losesTheValue_andAFreshWorkerGoesOn(
        _ index: Int, _ limit: Int
    ) throws {
        let outcome = try Self.run(
            """
            local got = {}
            local p = stream.from(stream.range(1, 5)):\(Self.stage(index, limit, "skip")):to(function(v) got[#got + 1] = v end)
            local ok = p:wait()
            table.sort(got)
            print(ok, table.concat(got, " "), check(p).failed)
            """)
        #expect(outcome.lines.last == "true\t1 3 4 5\t1", "\(outcome.output.suffix(300))\(outcome.errors)")
        let text = "script.lua:\(Self.limits[limit].line ?? 12): \(Self.limits[limit].text) (value: 2)"
        #expect(outcome.errors.contains("skipped: stage \"work\" (script.lua:12): \(text)"), "\(outcome.errors)")
        #expect(outcome.status == 0)
    }

    /// What has been used is also looked at when a task comes back: here it waits, and has been over its limit for long.
    @Test func aStop_thatIsFoundAtAWait_namesTheLineOfThat() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 5)):map("work", function(v)
              stream.sleep(0.001)
              for _ = 1, 10000000 do end
              stream.sleep(1)
              return v
            end, { cpu = "5ms" }):to(stream.null_sink())
            print(p:wait())
            """, ["--slice", "60s"])
        let text =
            "stage \"work\" (script.lua:11): script.lua:14: cpu limit of 5ms exceeded (cpu = \"10ms\" would raise it)"
        #expect(outcome.lines.last == "nil\t\(text) (value: 1)", "\(outcome.output)\(outcome.errors)")
    }

    @Test(arguments: stages.indices, limits.indices) func stop_failsThePipeline(_ index: Int, _ limit: Int) throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 5)):\(Self.stage(index, limit, "stop")):to(stream.null_sink())
            local ok, why = p:wait()
            check(p)
            print(ok, why)
            """)
        let last = outcome.lines.last ?? ""
        #expect(last.hasPrefix("nil\tstage \"work\" (script.lua:11): script.lua:"), "\(last)\(outcome.errors)")
        #expect(last.hasSuffix("\(Self.limits[limit].text) (value: 2)"), "\(last)")
    }

    /// `CODE` when the second value has come.
    static let processes = [
        "stage('work', function(input, output) for v in input:range() do if v == 2 then CODE end output:send(v) end end, { OPTIONS })",
        "stage('work', function(input, output) for v in input:range() do if v == 2 then stream.go(function() CODE end) stream.sleep(60) end output:send(v) end end, { OPTIONS })",
        "stage('work', function(input, output) while true do local i, v = stream.select { { recv = input } } if v == nil then return end if v == 2 then CODE end output:send(v) end end, { OPTIONS })",
    ]

    @Test(arguments: processes.indices, limits.indices) func process_failsThePipeline(_ index: Int, _ limit: Int) throws
    {
        let stage = Self.processes[index].replacingOccurrences(of: "CODE", with: Self.limits[limit].code)
            .replacingOccurrences(of: "OPTIONS", with: Self.limits[limit].option)
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 5)):\(stage):to(stream.null_sink())
            local ok, why = p:wait()
            check(p)
            print(ok, why)
            """)
        let last = outcome.lines.last ?? ""
        #expect(last.hasPrefix("nil\tstage \"work\" (script.lua:11): script.lua:"), "\(last)\(outcome.errors)")
        #expect(last.hasSuffix("\(Self.limits[limit].text) (value: 2)"), "\(last)")
    }

    @Test func generator_failsThePipeline() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.generate(function(emit) emit(1) emit(2) greedy() end)):to(stream.null_sink())
            local ok, why = p:wait()
            print(ok, why, check(p).delivered)
            """, ["--memory", "1MB"])
        let last = outcome.lines.last ?? ""
        #expect(
            last.contains("stage \"generate\" (script.lua:11): script.lua:9: memory limit of 1MB exceeded"), "\(last)")
    }

    @Test func chain_blamesTheStageWhoseValueRuns() throws {
        for (option, code) in [("memory = '1MB'", "greedy()"), ("cpu = '30ms'", "busy()")] {
            let own = option.hasPrefix("cpu") ? option + "," : ""
            let outcome = try Self.run(
                """
                local p = stream.from(stream.range(1, 4)):flat_map("outer", function(v, emit) emit({ n = v }) end,
                    { \(option.hasPrefix("cpu") ? "" : option), on_error = "stop" })
                  :map("inner", function(v) if v.n == 2 then \(code) end return v.n end,
                    { isolated = false, \(own) on_error = "skip" }):to(function(v) print(v) end)
                print(p:wait())
                print(check(p).failed)
                """.replacingOccurrences(of: "{ , ", with: "{ "))
            #expect(outcome.lines == ["1", "3", "4", "true", "1"], "\(outcome.output)\(outcome.errors)")
            #expect(
                outcome.errors.contains("skipped: stage \"inner\" (script.lua:11): script.lua:"), "\(outcome.errors)")
            #expect(outcome.errors.contains("(value: {n = 2})"), "\(outcome.errors)")
        }
    }

    @Test func taskOfTheStage_overTheLimitBetweenValues_costsNoValue() throws {
        let outcome = try Self.run(
            """
            local input = stream.chan(0)
            local p = stream.from(input):map("work", function(v)
              if v == 1 then stream.go(function() stream.sleep(0.05) greedy() end) end
              return v
            end, { memory = "1MB", on_error = "skip" }):to(function(v) print(v) end)
            input:send(1)
            stream.sleep(0.5)
            input:send(2)
            input:close()
            print(p:wait())
            print(check(p).failed, p:stats().stages[1].limits.memory.stopped)
            """)
        #expect(outcome.lines == ["1", "2", "true", "0\t1"], "\(outcome.output)\(outcome.errors)")
    }

    @Test func teardown_runsOnceInEachStoppedWorker_andStateIsInitialAgain() throws {
        let outcome = try Self.run(
            """
            local log = stream.chan(100)
            local p = stream.from(stream.range(1, 4)):map("work", {
              setup = function() log:send("setup") end,
              process = function(v) if v % 2 == 0 then greedy() end return v end,
              teardown = function(reason) log:send(reason .. #("x"):rep(1000)) end,
            }, { memory = "1MB", on_error = "skip" }):scan("sum", 0, function(s, v)
              if v == 3 then busy() end return s + v
            end, { cpu = "20ms", on_error = "skip" }):collect()
            print(table.concat(p, " "))
            log:close()
            for line in log:range() do print(line) end
            """)
        #expect(
            outcome.lines == ["1", "setup", "failed1000", "setup", "failed1000", "setup", "done1000"],
            "\(outcome.output)\(outcome.errors)")
        #expect(outcome.errors.contains("its state is the initial one again"))
    }

    @Test func teardown_isNotRunWhereMemoryWasRefused() throws {
        // What string.byte returns needs a stack of 14 MB.
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 3)):map("work", {
              process = function(v)
                local s = ("x"):rep(9e5)
                if v == 2 then pcall(string.byte, s, 1, -1) end
                return v
              end,
              teardown = function(reason) print(reason) end,
            }, { memory = "2MB", on_error = "skip" }):to(function(v) print(v) end)
            print(p:wait(), check(p).failed)
            """)
        #expect(outcome.lines.sorted() == ["1", "3", "done", "true\t1"], "\(outcome.output)\(outcome.errors)")
        #expect(outcome.errors.contains("stage \"work\" (script.lua:11): teardown was not run"), "\(outcome.errors)")
    }

    /// What the host keeps for a worker, made for ever.
    @Test(arguments: [
        "local t = {} for i = 1, 1e9 do t[i] = stream.chan(1) end",
        "for i = 1, 1e9 do stream.after(3600) end",
        "for i = 1, 1e9 do stream.go(stream.sleep, 1e6) end",
        "local g = stream.group() for i = 1, 1e9 do g:go(stream.sleep, 1e6) end",
        "local c = stream.chan(1e9) for i = 1, 1e9 do c:send(('x'):rep(1000) .. i) end",
        "local c, s = stream.chan(0), ('x'):rep(1e6) for i = 1, 1e9 do stream.go(c.send, c, s) stream.sleep(0) end",
        "local c = stream.context() for i = 1, 1e9 do c = c:with_value('k', i) end",
        "for i = 1, 1e9 do stream.worker('w', stream.sleep):start(1e6) end",
    ]) func whatTheHostHoldsForIt_countsAsItsMemory(_ code: String) throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 3)):map("work", function(v)
              if v == 2 then pcall(function() \(code) end) end
              return v
            end, { memory = "4MB", on_error = "skip" }):to(function(v) print(v) end)
            local ok = p:wait()
            local l = check(p).stages[1].limits.memory
            print(ok, p:stats().failed, l.stopped, l.peak < 16 << 20)
            error("enough")
            """)
        #expect(outcome.lines == ["1", "3", "true\t1\t1\ttrue"], "\(outcome.output)\(outcome.errors)")
    }

    @Test func permitsOfAStoppedWorker_areTakenBack() throws {
        let outcome = try Self.run(
            """
            local gate = stream.concurrency { limit = 1 }
            local p = stream.from(stream.range(1, 3)):map("work", function(v)
              local permit = gate:acquire()
              if v == 2 then greedy() end
              permit:release()
              return v
            end, { memory = "1MB", on_error = "skip" }):to(function(v) print(v) end)
            print(p:wait(), gate:available())
            """)
        #expect(outcome.lines == ["1", "3", "true\t1"], "\(outcome.output)\(outcome.errors)")
    }

    // MARK: Size of a value

    static let bomb = "local t = { 1 } for i = 1, 60 do t = { t, t } end"

    @Test(arguments: [
        ("map('work', function(v) BOMB if v == 2 then return { a = { t } } end return v end, OPTIONS)", "value.a[1]"),
        ("map('work', function(v) if v == 2 then return ('x'):rep(2e6) end return v end, OPTIONS)", "value"),
        (
            "map('work', function(v) if v == 2 then local t = {} for i = 1, 2e5 do t[i] = i end return t end return v end, OPTIONS)",
            "value"
        ),
        ("flat_map('work', function(v, emit) BOMB if v == 2 then emit({ t }) end emit(v) end, OPTIONS)", "value[1]"),
        ("each('work', function(v) BOMB if v == 2 then stream.chan(1):send({ t }) end end, OPTIONS)", "value[1]"),
        (
            "each('work', function(v) BOMB if v == 2 then stream.select { { send = stream.chan(1), value = { t } } } end end, OPTIONS)",
            "value[1]"
        ),
    ]) func valueThatIsTooLarge_isAMistake(_ stage: String, _ path: String) throws {
        let code = stage.replacingOccurrences(of: "BOMB", with: Self.bomb).replacingOccurrences(
            of: "OPTIONS", with: "{ max_value = '1MB', on_error = 'skip' }")
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 3)):\(code):to(function(v) print(v) end)
            print(p:wait())
            print(check(p).failed)
            """)
        #expect(outcome.lines == ["1", "3", "true", "1"], "\(outcome.output.prefix(300))\(outcome.errors)")
        #expect(outcome.errors.contains("cannot send \(path)"), "\(outcome.errors)")
        #expect(
            outcome.errors.contains("the value is larger than 1MB, the most that max_value allows"), "\(outcome.errors)"
        )
    }

    @Test func valueThatIsTooLarge_canBeCaught_andTheDefaultIs64MB() throws {
        let outcome = try Self.run(
            """
            local w = stream.worker("w", function()
              local ch = stream.chan(1)
              print(pcall(ch.send, ch, ("x"):rep(65 << 20)))
              print(pcall(ch.send, ch, ("x"):rep(60 << 20)))
            end, { memory = "1GB" })
            w:start():wait()
            local ch = stream.chan(1)
            print(ch:send(("x"):rep(70 << 20)))
            """)
        #expect(outcome.lines.count == 3)
        #expect(
            outcome.lines.first?.hasSuffix(
                "cannot send value: the value is larger than 64MB, the most that max_value allows")
                == true, "\(outcome.lines)")
        #expect(Array(outcome.lines.dropFirst()) == ["true\ttrue", "true"])
    }

    @Test func whatWasReadAndIsPassedOn_isOfAnySize() throws {
        let folder = try ScriptFolder(
            """
            local stream = require "stream"
            stream.from(stream.file { path = "in.json", format = "json" })
              :map("pass", function(v) return v end, { max_value = "10KB" })
              :filter("too", function(v) return v.a end, { max_value = "10KB" })
              :to(function(v) print(#v.a) end)
            """,
            files: [
                "in.json": "{\"a\":\"" + String(repeating: "x", count: 100_000) + "\"}\n"
            ])
        let outcome = try CommandLine.execute(["run", "script.lua"], folder: folder.url)
        #expect(outcome.lines == ["100000"], "\(outcome.errors)")
    }

    // MARK: Defaults, workers, what is told

    @Test func defaultsOfTheRun_areForStagesWithoutTheirOwn_andNotForTheMainWorker() throws {
        let outcome = try Self.run(
            """
            local t = {} for i = 1, 1e5 do t[i] = {} end -- 6 MB in the main worker
            local began = os.clock()
            repeat until os.clock() - began > 0.1
            local function times(p) local l = p:stats().stages[1].limits return l.memory.limit, l.cpu.limit, l.timeout.limit end
            local p = stream.from(stream.range(1, 2)):map("a", function(v) return v end):to(stream.null_sink())
            print(p:wait(), times(p))
            p = stream.from(stream.range(1, 2)):map("b", function(v) return v end, { memory = "3MB", cpu = 9, timeout = "8s" })
              :to(stream.null_sink())
            print(p:wait(), times(p))
            p = stream.from(stream.range(1, 2)):map("c", function(v) if v == 2 then busy() end return v end,
              { on_error = "skip", timeout = false }):to(stream.null_sink())
            print(p:wait(), p:stats().failed, p:stats().stages[1].limits.timeout)
            """, ["--memory", "1MB", "--cpu", "50ms", "--timeout", "1h"])
        #expect(
            outcome.lines == [
                "true\t1048576\t0.05\t3600.0", "true\t3145728\t9.0\t8.0", "true\t1\tnil",
            ], "\(outcome.output)\(outcome.errors)")
    }

    @Test(arguments: [
        (["--memory", "lots"], "--memory expects a size of at least 64KB", "got 'lots'"),
        (["--memory", "1KB"], "--memory expects a size of at least 64KB", "got '1KB'"),
        (["--cpu", "0"], "--cpu expects a duration over 0", "got '0'"),
        (["--cpu", "5 parsecs"], "--cpu expects a duration over 0", "got '5 parsecs'"),
        (["--timeout", "soon"], "--timeout expects a duration over 0", "got 'soon'"),
    ]) func badDefault_isAWrongCommandLine(_ options: [String], _ expected: String, _ got: String) throws {
        let outcome = try Self.run("print 'never'", options)
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains(expected) && outcome.errors.contains(got), "\(outcome.errors)")
        #expect(outcome.output == "")
    }

    @Test(arguments: [
        ("{ memory = '1KB' }", "memory of stage \"m\" expected a size of at least \"64KB\""),
        ("{ cpu = 0 }", "cpu of stage \"m\" expected a duration over 0, the CPU time for one value"),
        ("{ cpu = {} }", "cpu of stage \"m\" expected a duration over 0"),
        ("{ max_value = 'big' }", "max_value of stage \"m\" expected a size"),
        ("{ max_output = 0 }", "max_output of stage \"m\" expected a size"),
        ("{ max_ouput = 1 }", "did you mean 'max_output'?"),
    ]) func badOption_isAMistake(_ options: String, _ expected: String) throws {
        let outcome = try Self.run("stream.from(stream.range(1, 2)):map('m', print, \(options))")
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains(expected), "\(outcome.errors)")
    }

    @Test func workerOverItsLimit_endsWithTheReason_andTheRunGoesOn() throws {
        let outcome = try Self.run(
            """
            for _, case in ipairs { { greedy, { memory = "1MB" } }, { busy, { cpu = "20ms" } },
              { function() stream.go(greedy) stream.sleep(60) end, { memory = "1MB" } } } do
              print(stream.worker("w", case[1], case[2]):start():wait())
            end
            print("on")
            """)
        #expect(outcome.lines.count == 4, "\(outcome.lines)")
        let texts = ["memory limit of 1MB exceeded", "cpu limit of 20ms exceeded", "memory limit of 1MB exceeded"]
        for (line, text) in zip(outcome.lines, texts) {
            #expect(line.hasPrefix("nil\tworker \"w\" (script.lua:") && line.contains(text), "\(line)")
        }
        #expect(outcome.lines.last == "on")
        #expect(outcome.status == 0)
    }

    @Test func stats_tellLimitCurrentAndPeak() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 4)):map("work", function(v)
              if v == 2 then greedy() elseif v == 3 then busy() elseif v == 4 then print(("x"):rep(99)) stream.sleep(0.05) end
              return v
            end, { memory = "2MB", cpu = "30ms", timeout = "1h", max_output = "1KB", on_error = "skip" }):to(stream.null_sink())
            assert(p:wait())
            local l = check(p).stages[1].limits
            assert(l.memory.limit == 2 << 20 and l.memory.peak >= 7 << 18 and l.memory.peak <= 9 << 20 and l.memory.current == 0)
            assert(l.cpu.limit == 0.03 and l.cpu.peak >= 0.03 and l.cpu.peak < 10)
            assert(l.timeout.limit == 3600 and l.timeout.peak >= 0.05 and l.timeout.peak < 60)
            assert(l.max_output.limit == 1024 and l.max_output.peak >= 100 and l.max_output.peak < 200, l.max_output.peak)
            assert(l.max_value.limit == 64 << 20)
            print(l.memory.stopped, l.cpu.stopped, l.timeout.stopped, l.max_output.stopped)
            """)
        #expect(outcome.lines.last == "1\t1\t0\t0", "\(outcome.output)\(outcome.errors)")
    }
}

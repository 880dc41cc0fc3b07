// Waits anywhere, and workers that compute for ever beside others.
import Testing

@Suite struct SchedulingTests {
    private static let begin = "local stream = require \"stream\"\n"

    @Test func sleep_worksInStagesCoroutinesAndPcall() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local began = stream.now()
                print(pcall(function() stream.sleep(0.02) return "in pcall" end))
                print(select(2, pcall(function() stream.sleep(0.02) error("after", 0) end)))
                local co = coroutine.wrap(function(a)
                  local b = coroutine.yield(a + 1)
                  print(stream.sleep("20ms"))
                  coroutine.yield(b * 2)
                  return "end"
                end)
                print(co(1), co(21), co())
                for v in coroutine.wrap(function() for i = 1, 2 do stream.sleep(0.01) coroutine.yield(i) end end) do
                  print(v)
                end
                print(setmetatable({}, { __index = function(_, k) stream.sleep(0.01) return k end }).field)
                local values = stream.from(stream.range(1, 5)):map("slow", function(v)
                  stream.sleep(0.01)
                  return select(2, pcall(coroutine.wrap(function() stream.sleep(0.01) return v * 10 end)))
                end):collect()
                print(table.concat(values, " "))
                local took = stream.now() - began
                print(took > 0.19)
                """)
        #expect(outcome.errors == "")
        #expect(
            outcome.output
                == "true\tin pcall\nafter\ntrue\n2\t42\tend\n1\n2\nfield\n10 20 30 40 50\ntrue\n")
        #expect(outcome.status == 0)
    }

    @Test func waitInAComparatorAndACallback() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local list = { 3, 1, 2, 5, 4 }
                table.sort(list, function(a, b) stream.sleep(0.001) return a > b end)
                print(table.concat(list, " "))
                print(("a b c"):gsub("%a", function(letter) stream.sleep(0.001) return letter:upper() end))
                """)
        #expect(outcome.output == "5 4 3 2 1\nA B C\t3\n")
        #expect(outcome.status == 0)
    }

    @Test func waitInAMetamethodOfCCode_saysThatItCannot() throws {
        let outcome = try CommandLine.run(
            Self.begin + "tostring(setmetatable({}, { __tostring = function()\nstream.sleep(0.01) return '' end }))")
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains("script.lua:3:"))
        #expect(outcome.errors.contains("sleep"))
        #expect(outcome.errors.contains("cannot") && outcome.errors.contains("wait"))
    }

    @Test func tasks_sleepAtTheSameTime() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local began, tasks = stream.now(), {}
                for i = 1, 1000 do tasks[i] = stream.go(function() stream.sleep(0.3) return i end) end
                local sum = 0
                for i = 1, 1000 do sum = sum + tasks[i]:wait() end
                print(sum, stream.now() - began < 30)
                """)
        #expect(outcome.output == "500500\ttrue\n")
    }

    @Test func endlessStages_keepNobodyWaitingAndCanBeCancelled() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local function loop() while true do end end
                local a = stream.from(stream.values { 1 }):each("a", loop):to(stream.null_sink())
                local b = stream.from(stream.values { 1 }):each("b", loop):to(stream.null_sink())
                local worst = 0
                for _ = 1, 40 do
                  local due = stream.now() + 0.02
                  stream.sleep(0.02)
                  worst = math.max(worst, stream.now() - due)
                end
                a:cancel("enough")
                b:cancel()
                print(a:wait())
                print(b:wait())
                if worst >= 0.5 then print("late", worst) end
                """)
        #expect(outcome.output == "nil\tenough\nnil\tcanceled\n")
        #expect(outcome.errors == "")
        #expect(outcome.status == 0)
    }

    /// Places that Lua cannot leave before the function returns; there are more of them than threads.
    @Test func loopsInsideFunctionsThatLuaCannotLeave_keepNobodyWaitingAndCanBeCancelled() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local function loop() while true do end end
                local lying = setmetatable({}, { __index = loop, __len = function() return 3 end, __tostring = loop })
                local less = { __lt = loop }
                local loops = {
                  function() table.sort({ 3, 1, 2 }, loop) end,
                  function() table.sort { setmetatable({}, less), setmetatable({}, less) } end,
                  function() return (("x"):gsub("x", loop)) end,
                  function() tostring(lying) end,
                  function() ("%s"):format(lying) end,
                  function() load(loop) end,
                  function() table.concat(lying) end,
                }
                local running = {}
                for i, body in ipairs(loops) do
                  running[i] = stream.from(stream.values { 1 }):each("loop " .. i, body):to(stream.null_sink())
                end
                stream.sleep("50ms")
                local sum = stream.from(stream.range(1, 1000)):map("plus", function(v) return v + 1 end)
                  :reduce("sum", 0, function(a, v) return a + v end):collect()[1]
                print(sum)
                for _, pipeline in ipairs(running) do pipeline:cancel("enough") end
                for _, pipeline in ipairs(running) do print(pipeline:wait()) end
                """)
        #expect(outcome.output == "501500\n" + String(repeating: "nil\tenough\n", count: 7))
        #expect(outcome.errors == "")
        #expect(outcome.status == 0)
    }

    @Test func task_canBeCancelled() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local task = stream.go(function() local ok, reason = stream.sleep(100) return ok, reason end)
                print(task:status())
                stream.sleep(0.02)
                task:cancel()
                print(task:wait())
                print(stream.go(function() stream.sleep(100) end):wait(0.02))
                local quick = stream.go(function(...) return select("#", ...), ... end, 1, nil, "x")
                print(quick:wait())
                print(quick:status())
                stream.context():cancel()
                """)
        #expect(outcome.lines.dropFirst() == ["nil\tcanceled", "nil\ttimeout", "3\t1\tnil\tx", "done"])
        #expect(outcome.status == 0, "\(outcome.errors)")
    }

    /// Guards against loops that ran for ever after a cancel: with more of them than threads, most are between two slices
    /// when their grace period ends.
    @Test func cancelledLoops_allEnd() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local loops = {}
                for i = 1, 12 do
                  loops[i] = stream.from(stream.generate(function(emit) while true do emit(1) end end))
                    :to(stream.null_sink())
                end
                stream.sleep("20ms")
                for _, loop in ipairs(loops) do loop:cancel("enough") end
                for _, loop in ipairs(loops) do assert(select(2, loop:wait()) == "enough") end
                print("over")
                """)
        #expect(outcome.output == "over\n")
        #expect(outcome.status == 0)
    }
}

// The stage option `timeout`, where a function computes past its value's deadline: in real time.
import Foundation
import Testing

@Suite struct TimeoutTests {
    private static let head = """
        local stream = require 'stream'
        local function check(p)
          local s = p:stats()
          assert(s.created == s.delivered + s.consumed + s.filtered + s.failed + s.dropped + s.dead_lettered + s.returned, "account")
          return s
        end

        """

    private static func run(_ script: String) throws -> Outcome { try CommandLine.run(head + script) }

    /// What a function does for ever.
    static let loops = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function again() return pcall(again) or again() end again() while true do pcall(again) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do pcall(table.sort, { 1, 2, 3, 4 }, function() while true do end end) end",
        "table.sort({ 1, 2, 3, 4 }, function() while true do end end)",
        "while true do pcall(tostring, setmetatable({}, { __tostring = function() while true do end end })) end",
        "while true do pcall(string.gsub, 'abc', '.', function() while true do end end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do coroutine.wrap(function() pcall(table.sort, { 3, 2, 1 }, function() while true do end end) end)() end",
        "local t <close> = setmetatable({}, { __close = function() while true do end end }) error('out')",
        "local t = setmetatable({}, { __index = function(t, k) while true do end end }) return t.x",
        "while true do pcall(stream.sleep, 0) end",
        "while true do stream.context():without_cancel():run(stream.sleep, 0.001) while stream.now() >= 0 do end end",
    ]

    @Test(arguments: loops.indices) func valueThatComputesForEver_isLost_andTheNextComes(_ index: Int) throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 4)):map("work", function(v)
              if v == 2 then \(Self.loops[index]) end
              return v
            end, { timeout = "20ms", on_error = "skip" }):to(function(v) print(v) end)
            print(p:wait())
            print(check(p).delivered, p:stats().failed)
            """)
        #expect(outcome.lines == ["1", "3", "4", "true", "3\t1"], "\(outcome.errors)")
        #expect(
            outcome.errors.contains(
                "skipped: stage \"work\" (script.lua:7): script.lua:8: deadline exceeded (value: 2)"))
        #expect(outcome.status == 0)
    }

    @Test func stop_failsThePipeline_namingStageLineAndValue() throws {
        let outcome = try Self.run(
            """
            stream.from(stream.range(1, 4)):map("work", function(v)
              if v == 3 then
                while true do pcall(function() while true do end end) end
              end
              return { n = v }
            end, { timeout = "20ms" }):to(stream.stdout { format = "json" })
            """)
        #expect(outcome.lines == [#"{"n":1}"#, #"{"n":2}"#])
        #expect(outcome.errors.contains("stage \"work\" (script.lua:7): script.lua:9: deadline exceeded (value: 3)"))
        #expect(outcome.status == 1)
    }

    @Test func workerThatWasStopped_isReplacedByAFreshOne() throws {
        let outcome = try Self.run(
            """
            local log, n = stream.chan(100), 0
            local p = stream.from(stream.range(1, 6)):map("work", {
              setup = function() log:send("setup") end,
              process = function(v)
                n = n + 1
                if v % 3 == 2 then
                  stream.go(function() stream.sleep(1e6) end)
                  while true do end
                end
                return v .. ":" .. n
              end,
              teardown = function(reason) log:send(reason) end,
            }, { timeout = "20ms", on_error = "skip" }):to(function(v) print(v) end)
            print(p:wait())
            check(p)
            log:close()
            for line in log:range() do print(line) end
            """)
        #expect(
            outcome.lines == [
                "1:1", "3:1", "4:2", "6:1", "true", "setup", "deadline exceeded", "setup", "deadline exceeded", "setup",
                "done",
            ], "\(outcome.errors)")
        #expect(outcome.status == 0)
    }

    @Test func teardownOfAStoppedWorker_isLimitedToo() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 3)):map("work", {
              process = function(v) if v == 2 then while true do end end return v end,
              teardown = function(reason)
                print(reason)
                if reason ~= "done" then while true do pcall(function() while true do end end) end end
              end,
            }, { timeout = "20ms", on_error = "skip" }):to(function(v) print(v) end)
            print(p:wait())
            """)
        #expect(outcome.lines.sorted() == ["1", "3", "deadline exceeded", "done", "true"], "\(outcome.errors)")
    }

    @Test func setupThatFailsInAFreshWorker_failsThePipeline() throws {
        let outcome = try Self.run(
            """
            local once = stream.chan(1)
            local p = stream.from(stream.range(1, 3)):map("work", {
              setup = function() if not once:try_send(1) then error("no second time") end end,
              process = function(v) if v == 2 then while true do end end return v end,
            }, { timeout = "20ms", on_error = "skip" }):to(stream.null_sink())
            print(p:wait())
            check(p)
            """)
        #expect(
            outcome.lines.first?.contains("nil\tstage \"work\" (script.lua:8): in setup: script.lua:9: no second time")
                == true, "\(outcome.lines)")
    }

    @Test func stateOfAScan_isTheInitialOneAgain_andLogged() throws {
        let outcome = try Self.run(
            """
            for _, op in ipairs { "scan", "reduce" } do
              local p = stream.from(stream.range(1, 5))
              local t = p[op](p, "sum", 0, function(s, v)
                if v == 3 then while true do end end
                return s + v
              end, { timeout = "20ms", on_error = "skip" }):collect()
              print(table.concat(t, " "))
            end
            """)
        #expect(outcome.lines == ["1 3 4 9", "9"], "\(outcome.errors)")
        #expect(
            outcome.errors.components(separatedBy: "stage \"sum\" (script.lua:9): its state is the initial one again")
                .count
                == 3, "\(outcome.errors)")
    }

    @Test(arguments: [
        "{}", "{ workers = 3 }", "{ workers = 3, ordered = true }",
        "{ workers = 3, key = function(v) return v end }",
        "{ workers = 2, ordered = true, key = function(v) return v % 7 end }",
        "{ queue = 0 }", "{ queue = 1 }",
    ])
    func severalWorkers_loseTheValuesThatTookTooLong_andNoOther(_ options: String) throws {
        let outcome = try Self.run(
            """
            local options = \(options)
            options.timeout, options.on_error = "20ms", "skip"
            local got, last, n = {}, 0, 0
            local p = stream.from(stream.range(1, 1000)):map("work", function(v)
              if v % 250 == 0 then while true do pcall(function() while true do end end) end end
              return v
            end, options):to(function(v)
              assert(v % 250 ~= 0 and not got[v])
              got[v], n = true, n + 1
              if options.ordered or not options.workers then assert(v > last) last = v end
            end)
            print(p:wait())
            local s = check(p)
            print(n, s.delivered, s.failed, s.dropped)
            """)
        #expect(outcome.lines == ["true", "996\t996\t4\t0"], "\(outcome.errors)")
        #expect(outcome.status == 0)
    }

    @Test func whatFlatMapEmittedInTime_hasLeft() throws {
        let outcome = try Self.run(
            """
            for _, q in ipairs { 0, 1, 256 } do
              local p = stream.from(stream.range(1, 3)):flat_map("many", function(v, emit)
                emit(v) emit(-v)
                if v == 2 then while true do pcall(function() while true do end end) end end
                emit(v * 10)
              end, { timeout = "20ms", on_error = "skip" })
              local t = p:map("behind", function(v) return v end, { queue = q }):collect()
              print(table.concat(t, " "))
            end
            """)
        #expect(outcome.lines == Array(repeating: "1 -1 10 2 -2 3 -3 30", count: 3), "\(outcome.errors)")
    }

    @Test func emitThatEndsAtTheDeadline_isNoRest() throws {
        let outcome = try Self.run(
            """
            for _, q in ipairs { 0, 1 } do
              local full = stream.chan(q)
              local p = stream.from(stream.range(1, 1)):flat_map("many", function(v, emit) while true do emit(v) end end,
                { timeout = "20ms", on_error = "skip" }):to(full)
              print(p:wait())
              print(check(p).failed)
            end
            """)
        #expect(outcome.lines == ["true", "1", "true", "1"], "\(outcome.errors)")
    }

    @Test func stagesOfOneWorker_blameTheOneWhoseTimeIsOver() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 4)):flat_map("outer", function(v, emit) emit(v) emit({ n = v }) end,
                { timeout = "1h", on_error = "skip" })
              :map("inner", function(v)
                if type(v) == "table" and v.n == 2 then while true do pcall(function() while true do end end) end end
                return type(v) == "table" and v.n * 10 or v
              end, { timeout = "20ms", isolated = false, on_error = "skip" }):to(function(v) print(v) end)
            print(p:wait())
            print(check(p).failed)
            """)
        #expect(outcome.lines == ["1", "10", "2", "3", "30", "4", "40", "true", "1"], "\(outcome.errors)")
        #expect(
            outcome.errors.contains(
                "skipped: stage \"inner\" (script.lua:7): script.lua:10: deadline exceeded (value: {n = 2})"),
            "\(outcome.errors)")
    }

    @Test func generatorInTheSameWorker_cannotBeginAnew() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.generate(function(emit) for i = 1, 5 do emit(i) end end))
              :map("work", function(v) if v == 3 then while true do end end return v end,
                { timeout = "20ms", isolated = false, on_error = "skip" }):to(function(v) print(v) end)
            print(p:wait())
            """)
        #expect(outcome.lines.last?.contains("nil\tstage \"work\" (script.lua:7): its worker was stopped") == true)
        #expect(
            outcome.lines.last?.contains("the generator in it cannot begin anew: script.lua:8: deadline exceeded")
                == true)
    }

    /// The loop ends when it sees the deadline; a machine that is busy may take the grace away from some, not from all.
    @Test func valueReturnedWithinTheGrace_passesOn() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 20)):map("work", function(v)
              local deadline = stream.context():deadline()
              repeat until stream.now() > deadline
              return v
            end, { timeout = "5ms", on_error = "skip" }):to(stream.null_sink())
            print(p:wait())
            print(check(p).delivered > 0)
            """)
        #expect(outcome.lines == ["true", "true"], "\(outcome.errors)")
    }

    @Test func cancelledMeanwhile_endsWithItsOwnReason() throws {
        let outcome = try Self.run(
            """
            local p = stream.from(stream.range(1, 1e9)):map("work", function(v)
              if v % 2 == 0 then while true do pcall(function() while true do end end) end end
              return v
            end, { timeout = "5ms", on_error = "skip", workers = 2 }):to(stream.null_sink())
            stream.sleep(0.1)
            p:cancel("enough")
            print(p:wait())
            check(p)
            """)
        #expect(outcome.lines == ["nil\tenough"], "\(outcome.errors)")
        #expect(outcome.status == 0)
    }

    @Test func testCaseWithARealClock_seesItToo() throws {
        let folder = try ScriptFolder(
            "",
            files: [
                "a_test.lua": """
                local stream, test = require "stream", require "stream.test"
                test.case("stopped", { clock = "real" }, function(t)
                  local list = stream.from(stream.range(1, 3)):map("work", function(v)
                    if v == 2 then while true do end end
                    return v
                  end, { timeout = "20ms", on_error = "skip" }):collect()
                  t.equal(list, { 1, 3 })
                end)
                """
            ])
        let outcome = try CommandLine.execute(["test", "a_test.lua"], folder: folder.url)
        #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
    }
}

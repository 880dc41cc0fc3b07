// Seeds: a race is found under many, and happens again under one; two processes do the same.
import Foundation
import Testing

@Suite struct TestCommandSeedTests {
    /// Two tasks read, wait, and write: an update is lost when both read before one writes.
    static let lostUpdate = """
        test.case("two deposits", { schedules = 200 }, function(t)
          local balance, gate = 0, stream.chan(2)
          stream.from(stream.values { "a", "b" }):each("deposit", function(v) gate:send(v) end, { workers = 2 })
            :to(stream.null_sink())
          local function deposit()
            gate:recv()
            local seen = balance
            if math.random(8) == 1 then stream.sleep("1ms") end
            balance = seen + 1
          end
          local first, second = stream.go(deposit), stream.go(deposit)
          first:wait() second:wait()
          t.equal(balance, 2)
        end)
        """

    @Test func aLostUpdate_isFound_andItsSeedRepeatsIt() throws {
        let found = try TestRun(Self.lostUpdate)
        #expect(found.status == 1, "\(found.output)")
        #expect(found.output.contains("expected 2, got 1"))
        let seed = try #require(found.seed)
        for _ in 1...3 {
            let again = try TestRun(Self.lostUpdate, ["--seed", seed, "--filter", "two deposits"])
            #expect(again.status == 1)
            #expect(again.output.contains("x_test.lua:14: expected 2, got 1"))
            #expect(again.seed == seed)
        }
    }

    @Test func aBase_givesTheSameSchedules() throws {
        let runs = try (1...2).map { _ in try TestRun(Self.lostUpdate, ["--seed", "99", "--schedules", "300"]) }
        #expect(runs[0].seed != nil)
        #expect(runs[0].seed == runs[1].seed)
        #expect(runs[0].output.firstMatch(of: /schedule \d+/)?.0 == runs[1].output.firstMatch(of: /schedule \d+/)?.0)
    }

    /// Prints all that a seed decides: orders of tables, of workers and of tasks, random numbers, and a file's lines.
    static let everything = """
        local helper = require "helper"
        local function order()
          local set, names = {}, {}
          for i = 1, 40 do set["key" .. i * 7] = i end
          for _, all in ipairs { set, math, _G, helper } do
            for name in pairs(all) do names[#names + 1] = tostring(name) end
          end
          return table.concat(names, " ")
        end
        test.case("all that a seed decides", function(t)
          print(order())
          print(math.random(1 << 40), os.time(), os.clock(), stream.now())
          local log = {}
          local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
          local p = stream.from(stream.range(1, 30)):map("a", function(v)
            return { v = v, random = math.random(1000), order = order():sub(1, 60), [order():sub(1, 5)] = v }
          end, { workers = 3 }):to(function(r) for k, v in pairs(r) do note(k, v) end end)
          local q = stream.from(stream.file { path = "x_test.lua" }):map("b", function(l) return #l end, { workers = 2 })
            :to(function(n) note("line", n) end)
          for i = 1, 5 do stream.go(function() stream.sleep(i / 1000) note("task", i, stream.now()) end) end
          p:wait() q:wait() stream.sleep(1)
          print(table.concat(log, "\\n"))
          stream.from(stream.values { 1, { b = 1, a = 2 }, "x" }):to(stream.stdout { format = "json" }):wait()
          t.fail("shown")
        end)
        """

    private func printed(_ seed: String, _ more: [String: String] = [:], _ arguments: [String] = []) throws -> [String]
    {
        var files = more
        files["helper.lua"] = "local t = {} for i = 1, 20 do t['h' .. i] = i end return t"
        files["x_test.lua"] = TestRun.head + Self.everything
        let run = try TestRun(files: files, arguments + ["x_test.lua", "--seed", seed])
        return run.outcome.lines.filter { $0.hasPrefix("      | ") }
    }

    @Test func twoProcesses_doTheSameUnderOneSeed() throws {
        let first = try printed("4711"), second = try printed("4711")
        #expect(first.count > 100)
        #expect(first == second)
        // And whatever ran before in the process.
        let other = [
            "a_test.lua": TestRun.head
                + "test.case('a', { schedules = 5 }, function(t) t.equal(zeta, nil) zeta = { q = 1, r = 2 } end)"
        ]
        #expect(try printed("4711", other, ["a_test.lua"]) == first)
    }

    @Test func seeds_differ() throws {
        let outputs = try (1...6).map { try printed("\($0)") }
        for line in 0...1 { #expect(Set(outputs.map { $0[line] }).count == 6, "line \(line) hardly differs") }
        #expect(Set(outputs).count == 6)
    }

    @Test func hexAndDecimal_areTheSameSeed() throws {
        #expect(try printed("255") == printed("0xFF"))
    }

    @Test func realClock_isNoSeedsMatter() throws {
        let run = try TestRun(
            """
            test.case("real", { clock = "real" }, function(t)
              local began = stream.now()
              t.equal(stream.sleep("30ms"), true)
              t.is_true(stream.now() - began >= 0.03)
              t.is_true(os.time() > 1700000000)
              t.equal(stream.from(stream.range(1, 100)):map("m", function(v) return v end, { workers = 2 }):reduce(0,
                function(a, b) return a + b end):collect(), { 5050 })
            end)
            test.case("late", { clock = "real", limit = "100ms" }, function(t)
              t.is_true(true)
              while true do pcall(function() while true do end end) end
            end)
            """)
        #expect(run.output.contains("  ok      real"), "\(run.output)")
        #expect(
            run.output.contains("x_test.lua:12: it did not end within 0.1 s of real time: it computes at x_test.lua:12")
        )
        #expect(!run.output.contains("--seed"))
        #expect(run.status == 1)
    }
}

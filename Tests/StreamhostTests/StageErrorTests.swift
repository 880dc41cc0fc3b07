// Errors that stages and tasks raise: who is told, what it says, how the run ends.
import Foundation
import Testing

@Suite struct StageErrorTests {
    private static let begin = "local stream = require \"stream\"\n"

    @Test(arguments: ["", ", { on_error = { restart = 1 } }"])
    func processThatRaises_namesTheValueThatItHasInHand(_ options: String) throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            stream.from(stream.values { { n = 1 }, { n = 2 } }):stage('s', function(input, output)
              for v in input:range() do
                if v.n == 2 then error('two') end
                output:send(v)
              end
            end\(options)):to(stream.null_sink())
            """)
        #expect(outcome.errors.contains("script.lua:4: two (value: {n = 2})"), "\(outcome.errors)")
    }

    @Test func processThatRaisesBetweenValues_namesNone() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            stream.from(stream.range(1, 2)):stage('s', function(input, output)
              for v in input:range() do output:send(v) end
              error('end')
            end):to(stream.null_sink())
            """)
        #expect(outcome.errors.contains("script.lua:4: end") && !outcome.errors.contains("(value"), "\(outcome.errors)")
    }

    @Test func errorInProcess_namesStagePlaceAndValue() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.values { { id = 7, name = "first" } }):map("parse", function(v)
                  error("no good")
                end):to(stream.null_sink())
                """)
        #expect(outcome.status == 1)
        for part in ["stage \"parse\"", "script.lua:3: no good", "id", "7"] {
            #expect(outcome.errors.contains(part), "\(part): \(outcome.errors)")
        }
    }

    @Test func errorAtALateValue_namesItAndDeliversNothingAfterIt() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.range(1, 200000)):map("late", function(v)
                  if v == 100000 then error("no good") end
                  return v
                end):to(stream.stdout())
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("stage \"late\""))
        #expect(outcome.errors.contains("script.lua:3: no good"))
        #expect(outcome.errors.contains("100000"))
        let numbers = outcome.lines.map { Int($0) }
        #expect(numbers == (0..<numbers.count).map { $0 + 1 })
        #expect(numbers.count < 100_000)
    }

    @Test func longValue_isShownShortened() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.values { ("x"):rep(100000) }):each("long", function() error("no good") end)
                  :to(stream.null_sink())
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("xxxxxxxx"))
        #expect(outcome.errors.utf8.count < 2000)
    }

    @Test func errorInSetup_failsThePipeline() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.range(1, 10)):map("prepare", {
                  setup = function() error("no table") end,
                  process = function(v) return v end,
                  teardown = function(reason) print("teardown", reason) end,
                }):to(stream.stdout())
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("stage \"prepare\""))
        #expect(outcome.errors.contains("setup"))
        #expect(outcome.errors.contains("script.lua:3: no table"))
        #expect(outcome.output == "teardown\tfailed\n")
    }

    @Test func errorInFlush_failsThePipeline() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.range(1, 3)):map("sum", {
                  process = function(v) return v end,
                  flush = function(emit) error("no rest") end,
                  teardown = function(reason) print("teardown", reason) end,
                }):to(stream.null_sink())
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("flush"))
        #expect(outcome.errors.contains("script.lua:4: no rest"))
        #expect(outcome.output == "teardown\tfailed\n")
    }

    @Test func errorInTeardown_isOnlyLogged() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.range(1, 3)):map("tidy", {
                  process = function(v) return v end,
                  teardown = function() error("no broom") end,
                }):to(stream.stdout())
                """)
        #expect(outcome.status == 0)
        #expect(outcome.output == "1\n2\n3\n")
        #expect(outcome.errors.contains("stage \"tidy\""))
        #expect(outcome.errors.contains("script.lua:4: no broom"))
    }

    @Test func errorWithATable_isDescribed() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.range(1, 3)):map("odd", function() error({ code = 42 }) end):to(stream.null_sink())
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("stage \"odd\""))
        #expect(outcome.errors.contains("code"))
        #expect(outcome.errors.contains("42"))
        let top = try CommandLine.run("error({ code = 42 })")
        #expect(top.status == 1)
        #expect(top.errors.contains("42"))
        let empty = try CommandLine.run("error()")
        #expect(empty.status == 1)
        #expect(empty.errors != "")
    }

    @Test func skip_logsAndGoesOn() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local p = stream.from(stream.range(1, 6)):map("even", function(v)
                  if v % 2 == 1 then error("odd") end
                  return v
                end, { on_error = "skip" }):to(stream.stdout())
                print(p:wait(), p:stats().failed, p:stats().delivered)
                """)
        #expect(outcome.status == 0)
        #expect(Set(outcome.lines) == ["2", "4", "6", "true\t3\t3"])
        #expect(outcome.errors.components(separatedBy: "script.lua:3: odd").count == 4)
    }

    @Test func skipOfTheSource_isTheDefaultOfItsStages() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.values { 1, 2, 3 }, { on_error = "skip" })
                  :map("a", function(v) if v == 2 then error("two") end return v end)
                  :map("b", function(v) if v == 3 then error("three") end return v end, { on_error = "stop" })
                  :to(stream.null_sink())
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("two"))
        #expect(outcome.errors.contains("three"))
    }

    @Test func valueThatCannotBeSent_isNamedWithItsPath() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.range(1, 3)):map("wrap", function(v)
                  return { items = { v, { go = print } } }
                end):to(stream.null_sink())
                """)
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains("cannot send value.items[2].go: a function stays in the worker that made it"))
        #expect(outcome.errors.contains("stage \"wrap\""))
    }

    @Test func syntaxOfLoadedCode_isAnErrorLikeAnyOther() throws {
        let outcome = try CommandLine.run("print(load('x ='))\nlocal ok, e = pcall(error, 'e', 0) print(ok, e)")
        #expect(outcome.status == 0)
        #expect(outcome.lines.last == "false\te")
    }

    // MARK: Received and not

    @Test func failureThatNobodyReceived_failsTheRun() throws {
        let outcome = try CommandLine.run(
            Self.begin + "stream.go(function()\nerror('lost') end)\nstream.sleep(0.05) print('after')")
        #expect(outcome.status == 1)
        #expect(outcome.output == "after\n")
        #expect(outcome.errors.contains("script.lua:3: lost"))
    }

    @Test func failureThatWasReceived_isHandled() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local ok, reason = stream.go(function() error("found") end):wait()
                print(ok, reason)
                local bad = function() error("bad") end
                print(stream.from(stream.range(1, 3)):map("bad", bad):to(stream.null_sink()):wait())
                print(stream.from(stream.range(1, 3)):map("bad", bad):collect())
                stream.from(stream.range(1, 3)):map("bad", bad):to(stream.null_sink())
                print(stream.run())
                """)
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(outcome.errors == "")
        let lines = outcome.lines
        #expect(lines.count == 4)
        #expect(lines[0] == "nil\tscript.lua:2: found")
        for line in lines.dropFirst() {
            #expect(line.hasPrefix("nil\t"))
            #expect(line.contains("stage \"bad\""))
            #expect(line.contains("script.lua:4: bad"))
        }
    }

    @Test func errorAtTheTopLevel_failsTheRun() throws {
        let outcome = try CommandLine.run("local function f()\n  error('deep')\nend\nprint('one')\nf()")
        #expect(outcome.status == 1)
        #expect(outcome.output == "one\n")
        #expect(outcome.errors.contains("script.lua:2: deep"))
        #expect(outcome.errors.contains("script.lua:5:"))
    }

    @Test func stackOverflow_isAnError() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                stream.from(stream.range(1, 2)):map("deep", function(v)
                  local function f(n) return 1 + f(n + 1) end
                  return f(1)
                end):to(stream.null_sink())
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("stack overflow"))
        #expect(outcome.errors.utf8.count < 8000)
    }

    // MARK: Deadlock

    @Test func receiveThatNobodySendsTo_isADeadlock() throws {
        let outcome = try CommandLine.run(Self.begin + "local c = stream.chan(0)\n\nprint(c:recv())")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("deadlock"))
        #expect(outcome.errors.contains("script.lua:4"))
    }

    @Test func deadlock_namesEachTaskAndItsLine() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local a, b = stream.chan(0), stream.chan(0)
                stream.go(function() a:recv() b:send(1) end)
                stream.go(function()
                  b:recv()
                  a:send(1)
                end)
                """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("deadlock"))
        #expect(outcome.errors.contains("script.lua:3"))
        #expect(outcome.errors.contains("script.lua:5"))
    }

    @Test func sleepingTask_isNoDeadlock() throws {
        let outcome = try CommandLine.run(
            Self.begin + """
                local c = stream.chan(0)
                stream.go(function() stream.sleep(0.3) c:send("late") end)
                print(c:recv())
                """)
        #expect(outcome.output == "late\n")
        #expect(outcome.status == 0)
    }
}

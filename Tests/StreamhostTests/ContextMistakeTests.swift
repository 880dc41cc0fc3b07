// What a script gets that uses contexts, tasks, groups, workers wrongly: the words, and that it names the line.
import Foundation
import Testing

@Suite struct ContextMistakeTests {
    private static let head = "local stream = require 'stream'\nlocal ctx = stream.context()\n"

    @Test(
        arguments: [
            (
                "ctx:with_timeout('5 parsecs')",
                "argument 1 of with_timeout expected a duration: seconds (0.8) or text such as"
            ),
            ("ctx:with_timeout(-1)", "expected a duration"), ("ctx:with_timeout(0/0)", "expected a duration"),
            ("ctx:with_timeout()", "got nil"),
            (
                "ctx:with_deadline('1s')",
                "argument 1 of with_deadline expected a time, in seconds as stream.now() gives them"
            ),
            (
                "ctx:with_value({}, 1)",
                "argument 1 of with_value expected a key, a string, a number or a boolean, got {}"
            ),
            ("ctx:with_value(nil, 1)", "got nil"), ("ctx:with_value(0/0, 1)", "expected a key"),
            ("ctx:with_value('k', nil)", "cannot send value: nil"),
            ("ctx:with_value('k', print)", "cannot send value: a function"),
            ("ctx:value()", "argument 1 of value expected a key"),
            ("ctx:done():close()", "close of a context's done channel, which its end closes: use ctx:cancel()"),
            ("ctx:run(5)", "argument 1 of run expected a function, got number"),
            ("ctx.run(5, print)", "run expected a context, got number: call it as ctx:run(...)"),
            ("ctx:cancel({})", "argument 1 of cancel expected a cause, a string, got table"),
            ("ctx:on_end('x')", "argument 1 of on_end expected a function, got string"),
            ("ctx:with_timout(1)", "a context has no method 'with_timout'"),
            ("stream.any_context()", "any_context expected at least one context"),
            ("stream.any_context(ctx, 1)", "argument 2 of any_context expected a context, got number"),
            ("stream.go()", "argument 1 of go expected a function, got no value"),
            ("stream.go('x')", "argument 1 of go expected a function, got string"),
            ("stream.go(print):wait('5 parsecs')", "argument 1 of wait expected a duration"),
            ("stream.go(print).wait()", "call it as task:wait()"),
            ("stream.sleep('5 parsecs')", "argument 1 of sleep expected a duration: seconds (0.8) or text such as"),
            ("stream.sleep(-1)", "expected a duration"), ("stream.ticker(0)", "expected a duration above 0"),
            ("tostring(setmetatable({}, { __tostring = function() stream.sleep(1) end }))", "sleep cannot wait here"),
            ("stream.group { limit = 0 }", "limit of group expected a whole number from 1"),
            ("stream.group { limits = 1 }", "unknown option of group: 'limits' (did you mean 'limit'?)"),
            ("stream.group(5)", "group expected a context or a table of options"),
            ("stream.group():go(1)", "argument 1 of go expected a function, got number"),
            (
                "local g = stream.group() g:go(function() g:wait() end) local ok, why = g:wait() error(why, 0)",
                "a task of a group cannot wait for the group"
            ),
            ("stream.worker('w')", "worker \"w\" expected a function"),
            ("stream.worker(5, print)", "argument 1 of worker expected a name, got 5"),
            (
                "stream.worker('w', print, { memory = '1' })",
                "memory of worker \"w\" expected a size of at least \"64KB\""
            ),
            (
                "local co = coroutine.create(print) stream.worker('w', function() return co end):start()",
                "worker \"w\" captures 'co', a coroutine, which cannot leave its worker"
            ),
            ("stream.worker('w', print):start(1, print)", "argument 2 of start: cannot send value: a function"),
            ("stream.worker('w', print):run()", "unknown method of a worker: 'run'"),
            ("stream.once(1)", "argument 1 of once expected a function, got 1"),
            ("stream.once(print)(1)", "a once function takes no arguments"),
            (
                "stream.once(function() return print end)()",
                "result 1 of a once function: cannot send value: a function"
            ),
        ] as [(String, String)])
    func mistake_isNamedWithItsLine(_ line: String, _ says: String) throws {
        let outcome = try CommandLine.run(Self.head + line)
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains(says), "\(outcome.errors)")
        #expect(outcome.errors.contains("script.lua:3: "), "\(outcome.errors)")
    }

    @Test func contextAfterItsEnd_answersAll_andWaitsEndAtOnce() throws {
        let outcome = try CommandLine.run(
            Self.head + """
                local c = ctx:with_value("k", { 1 }):with_timeout("1h")
                c:cancel("why") c:cancel("later")
                print(c:err(), c:cause(), c:value("k")[1], c:deadline() > 3000, c:done():recv())
                local child = c:with_timeout(1)
                print(child:err(), child:cause(), c:without_cancel():err())
                local ch = stream.chan(1)
                print(c:run(function() return ch:send(1), ch:recv() end))
                print(c:run(function() return ch:recv() end))
                print(c:run(stream.sleep, 0))
                print(c:run(function() return stream.go(stream.sleep, 5):wait() end))
                do local again <close> = c end
                """)
        #expect(
            outcome.lines == [
                "canceled\twhy\t1\ttrue\tnil\tclosed", "canceled\twhy\tnil", "true\t1", "nil\tcanceled",
                "nil\tcanceled", "nil\tcanceled",
            ])
        #expect(outcome.status == 0 && outcome.errors.isEmpty)
    }

    @Test func computingInARun_getsTheReasonAtItsLine_andMayGoOnOutside() throws {
        let outcome = try CommandLine.run(
            Self.head + """
                local c = ctx:with_timeout("5ms")
                print(pcall(c.run, c, function() while true do end end))
                print(stream.sleep("1ms"))
                local stubborn = stream.go(function()
                  local c = stream.context():with_timeout("5ms")
                  c:run(function() while true do pcall(function() while true do end end) end end)
                end)
                print(stubborn:wait()) print(stubborn:status())
                local began = os.clock()
                c:without_cancel():run(function() while os.clock() - began < 0.35 do end end)
                print "not stopped"
                """)
        #expect(
            outcome.lines == [
                "false\tdeadline exceeded", "true", "nil\tdeadline exceeded", "deadline exceeded", "not stopped",
            ])
        #expect(outcome.status == 0)
    }

    @Test func closeVariable_closesTickersAndChannels_andWhatIsClosedStaysSo() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local ticker, channel, closed
            do
              local t <close> = stream.ticker("1ms")
              local c <close> = stream.chan(1)
              local d <close> = stream.chan(1)
              ticker, channel, closed = t, c, d
              assert(t:recv())
              c:send(7)
              d:close()
            end
            print(ticker:is_closed(), channel:recv(), closed:is_closed())
            """)
        #expect(outcome.output == "true\t7\ttrue\n" && outcome.status == 0, "\(outcome.errors)")
    }

    @Test func errorInOnEnd_namesItsLine_andStopsNoOther() throws {
        let outcome = try CommandLine.run(
            Self.head + """
                local c = ctx:with_cancel()
                for i = 1, 3 do c:on_end(function() print(i) error("bad") end) end
                c:cancel()
                """)
        #expect(outcome.output == "1\n2\n3\n" && outcome.status == 1)
        #expect(outcome.errors.components(separatedBy: "script.lua:4: bad").count == 4)
    }

    @Test func deadlock_namesEachPlaceOnce_withItsTasks() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local ch = stream.chan(0)
            for i = 1, 1000 do stream.go(function() ch:recv() end) end
            local w = stream.worker("stuck", function() ch:recv() end):start()
            w:wait()
            """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("deadlock"))
        #expect(
            outcome.errors.contains("script.lua:3: main is receiving from the channel of script.lua:2 (1000 tasks)"))
        #expect(outcome.errors.contains("script.lua:4: worker \"stuck\" is receiving from the channel of script.lua:2"))
        #expect(outcome.errors.contains("script.lua:5: main is waiting for worker \"stuck\" (script.lua:4)"))
    }

    /// Guards against a run that never ended: the deadlock's cancel did not reach the pipeline.
    @Test func pipelineThatNobodyReads_inAContextThatDoesNotEnd_isADeadlockToo() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            stream.context():without_cancel():run(function()
              stream.from(stream.range(1, 100)):to(stream.chan(5))
            end)
            """)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("deadlock"))
        #expect(outcome.errors.contains("script.lua:3: "), "\(outcome.errors)")
    }
}

// What people who are new to it try first: it works, or it is told what to do.
import Testing

@Suite struct NewcomerTests {
    /// Guards against a generator that never ends, since few look at what emit returns.
    @Test(arguments: ["emit(1)", "emit(1) stream.sleep(0.001)", "if emit(1) then end"])
    func aGeneratorThatDoesNotListen_ends(body: String) throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local p = stream.from(stream.generate(function(emit) while true do \(body) end end))
              :take(3):to(stream.stdout())
            print(p:wait())
            """)
        #expect(outcome.output == "1\n1\n1\ntrue\n")
        #expect(outcome.errors == "")
        #expect(outcome.status == 0)
    }

    @Test func anErrorOfAGenerator_isStillTold() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.generate(function(emit) while emit(1) do end error("late") end)):take(1):to(stream.null_sink())
            """)
        #expect(outcome.errors.contains("late"))
        #expect(outcome.status == 1)
    }

    @Test(arguments: [
        ("stream.form()", "unknown function of stream: 'form' (did you mean 'from'?)"),
        (#"stream.stdin "json""#, #"stream.stdin expected a table of options, got "json""#),
        ("stream.from(stream.range(1, 3)):to(stream.stdout)", "call it, as in :to(stream.stdout())"),
        ("stream.from(stream.range(1, 3)):merge(stream.range(1, 3))", "wrap it in stream.from(...)"),
        ("local v = stream.null; print(v.name)", "attempt to index JSON null (field 'name')"),
        (#"stream.log.info("x", "y")"#, #"fields of log.info expected a table, got "y""#),
    ])
    func aMistake_isToldWithItsRemedy(line: String, message: String) throws {
        let outcome = try CommandLine.run("local stream = require \"stream\"\n" + line)
        #expect(outcome.errors.contains("script.lua:2: "))
        #expect(outcome.errors.contains(message))
        #expect(outcome.status != 0)
    }

    @Test func logFields_areWrittenAsJSON() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.log.info("started", { port = 80, name = "a b" })
            stream.log.warn({ x = 1 })
            """)
        #expect(
            outcome.errors == """
                streamhost: info: started {"name":"a b","port":80}
                streamhost: warn: {"x":1}

                """)
    }

    @Test func aSinkThatFails_saysWhichPipelineItEnds() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.values { 1 }):map(function(v) return v / 0 end)
              :to(stream.stdout { format = "json" })
            """)
        #expect(outcome.errors == "streamhost: the sink of script.lua:2: cannot write value as JSON: inf\n")
        #expect(outcome.status == 1)
    }

    /// Options, limits and what follows a failure, as they are first written.
    @Test(arguments: [
        (":map('m', f, { retry = 3 })", "stage \"m\" has no option 'retry': it goes into on_error = { retry = 3 }"),
        (":map('m', f, { within = 3 })", "it goes into on_error = { restart = 5, within = \"1m\" }"),
        (
            ":map('m', f, { on_error = { to = 'dead.json' } })",
            "got \"dead.json\": a file is to = stream.file { path = \"dead.json\", format = \"json\" }"
        ),
        (
            ":map('m', f, { on_error = { to = stream.stderr } })",
            "got a function: call it, as in to = stream.stderr(...)"
        ),
        (
            ":map('m', f, { memory = 64 })",
            "expected a size of at least \"64KB\": bytes or text such as \"64MB\", \"1GB\"; got 64"
        ),
        (":take(2, { max_value = 3 })", "argument 2 of take: it takes a number of values and nothing else"),
        (":to(stream.null_sink(), { on_error = 'skip' })", "argument 2 of to: only a channel takes options"),
        (":collect('5s')", "collect takes no arguments, got \"5s\""),
        (
            ":merge(stream.from(stream.generate(f, { timeout = '1s' })))",
            "generate expected a function and no options, got {timeout = \"1s\"}"
        ),
        (":skip(2, { on_error = 'skip' })", "argument 2 of skip: it takes a number of values and nothing else"),
    ])
    func anOptionInTheWrongPlace_isToldWithItsRemedy(stage: String, message: String) throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local function f(v) return v end
            stream.from(stream.range(1, 3))\(stage):to(stream.null_sink())
            """)
        #expect(outcome.errors.hasPrefix("streamhost: script.lua:3: "), "\(outcome.errors)")
        #expect(outcome.errors.contains(message), "\(outcome.errors)")
        #expect(outcome.status == 2)
    }

    @Test func aScriptWithoutASubcommand_isToldHowToRunIt() throws {
        let outcome = try CommandLine.execute(["script.lua"])
        #expect(outcome.errors.contains("streamhost run script.lua"), "\(outcome.errors)")
        #expect(outcome.status == 2)
    }

    /// A process over a limit is replaced as after any failure, and the value that it had is lost.
    @Test func aProcessOverItsLimit_goesOnWithRestart() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local p = stream.from(stream.range(1, 5)):stage("s", function(input, output)
              for v in input:range() do
                if v == 2 then while true do end end
                output:send(v)
              end
            end, { cpu = "50ms", on_error = { restart = 1 } }):to(stream.stdout())
            print(p:wait())
            """)
        #expect(outcome.lines == ["1", "3", "4", "5", "true"], "\(outcome.errors)")
        #expect(
            outcome.errors.contains("restarted: stage \"s\" (script.lua:2): script.lua:4: cpu limit of 50ms exceeded"))
        #expect(outcome.status == 0)
    }
}

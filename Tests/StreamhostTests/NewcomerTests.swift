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
}

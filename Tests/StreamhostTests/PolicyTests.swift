// `on_error` as a table: mistakes in it, dead letters of sources and to files, workers that are stopped.
import Foundation
import Testing

@Suite struct PolicyTests {
    /// Options, and what the error says of them.
    static let mistakes: [(stage: String, text: String)] = [
        (
            ":map('m', f, { on_error = 'skp' })",
            "on_error of stage \"m\" expected \"stop\", \"skip\" or a table such as { retry = 3, backoff = \"100ms\" }, got \"skp\""
        ),
        (
            ":map('m', f, { on_error = { retrys = 3 } })",
            "unknown option of on_error of stage \"m\": 'retrys' (did you mean 'retry'?)"
        ),
        (":map('m', f, { on_error = {} })", "on_error of stage \"m\" is an empty table"),
        (
            ":map('m', f, { on_error = { retry = -1 } })",
            "retry of on_error of stage \"m\" expected a whole number from 0 to 1000000, got -1"
        ),
        (
            ":map('m', f, { on_error = { retry = 1, backoff = 'soon' } })",
            "backoff of on_error of stage \"m\" expected a duration: seconds (0.8) or text such as \"800ms\""
        ),
        (
            ":map('m', f, { on_error = { backoff = 1 } })",
            "backoff of on_error of stage \"m\" goes with retry = n or restart = n"
        ),
        (":map('m', f, { on_error = { within = '1m' } })", "within of on_error of stage \"m\" goes with restart = n"),
        (
            ":map('m', f, { on_error = { restart = 0 } })",
            "restart of on_error of stage \"m\" expected a whole number from 1 to 1000000, got 0"
        ),
        (
            ":map('m', f, { on_error = { restart = 1, within = 0 } })",
            "within of on_error of stage \"m\" expected a duration above 0"
        ),
        (
            ":map('m', f, { on_error = { otherwise = 'retry' } })",
            "otherwise of on_error of stage \"m\" expected \"stop\" or \"skip\", got \"retry\""
        ),
        (
            ":map('m', f, { on_error = { to = f } })",
            "to of on_error of stage \"m\" expected a sink (stream.stdout, stderr, file, null_sink) or a channel, got a function"
        ),
        (":map('m', f, { on_error = { to = stream.stdin() } })", "to of on_error of stage \"m\" expected a sink"),
        (
            ":stage('s', f, { on_error = { retry = 1 } })",
            "stage \"s\": on_error of a :stage expected \"stop\" or { restart = n, within = t }"
        ),
        (":stage('s', f, { on_error = 'skip' })", "stage \"s\": on_error of a :stage expected \"stop\""),
    ]

    @Test(arguments: mistakes.indices) func mistake_isTold(_ index: Int) throws {
        let (stage, text) = Self.mistakes[index]
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local function f() end
            stream.from(stream.range(1, 2))\(stage):to(stream.null_sink())
            """)
        #expect(outcome.errors.contains("script.lua:3: " + text), "\(outcome.errors)")
        #expect(outcome.status == 2)
    }

    @Test func restartInAGeneratorsWorker_isAMistake() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            stream.from(stream.generate(function(emit) emit(1) end))
              :map('m', function(v) return v end, { isolated = false, on_error = { restart = 1 } }):to(stream.null_sink())
            """)
        #expect(
            outcome.errors.contains(
                "script.lua:2: stage \"m\": restart of on_error expected a worker that can begin anew"))
        #expect(outcome.status == 2)
    }

    @Test func lineThatTheSourceCannotRead_isADeadLetterAsText() throws {
        let long = String(repeating: "x", count: 5000)
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local letters = stream.stderr { format = 'json' }
            local p = stream.from(stream.stdin { format = 'json' }, { on_error = { to = letters } })
              :map('n', function(v) if v.n == 3 then error('three') end return v end)
              :to(stream.stdout { format = 'json' })
            assert(p:wait())
            local s = p:stats()
            print(s.created, s.delivered, s.dead_lettered)
            """, input: "{\"n\":1}\n{\"n\":\n{\"n\":3}\n\(long)\n")
        #expect(outcome.lines == ["{\"n\":1}", "4\t1\t3"], "\(outcome.errors)")
        #expect(outcome.status == 0)
        let written = try outcome.errors.split(separator: "\n").map {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
        }
        #expect(written.count == 3)
        let lines = written.compactMap { $0["value"] as? String }.sorted { $0.count < $1.count }
        #expect(lines == ["{\"n\":", long])
        let stage = written.first { $0["stage"] as? String == "n" }
        #expect((stage?["value"] as? [String: Int]) == ["n": 3])
        #expect((stage?["error"] as? String)?.hasSuffix("three") == true)
        let now = Date().timeIntervalSince1970
        #expect(written.allSatisfy { abs(($0["time"] as? Double ?? 0) - now) < 120 })
    }

    @Test func letterThatCannotBeWritten_failsThePipeline() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local p = stream.from(stream.range(1, 3)):map('m', function(v) error('no') end,
              { on_error = { to = stream.file { path = '/nonexistent/letters' } } }):to(stream.null_sink())
            print(p:wait())
            local s = p:stats()
            print(s.created == s.delivered + s.consumed + s.filtered + s.failed + s.dropped + s.dead_lettered + s.returned)
            """)
        #expect(outcome.lines.count == 2 && outcome.lines[0].contains("/nonexistent/letters"), "\(outcome.output)")
        #expect(outcome.lines.last == "true")
    }

    @Test func valueOfAStoppedWorker_isTriedAgain_thenADeadLetter() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local letters, starts = stream.chan(10), stream.chan(100)
            local p = stream.from(stream.range(1, 4)):map('m', {
              setup = function() starts:send(1) end,
              process = function(v)
                if v == 2 or v == 3 and #starts < 5 then while true do pcall(function() while true do end end) end end
                return v
              end,
            }, { timeout = '20ms', on_error = { retry = 2, backoff = '1ms', to = letters } }):to(function(v) print(v) end)
            print(p:wait())
            for letter in letters:range() do print(letter.value, letter.error:match('deadline exceeded')) end
            local s = p:stats()
            print(s.delivered, s.dead_lettered, s.failed, #starts)
            """)
        // one worker at first, one after each of three tries of 2, one more for the first try of 3
        #expect(
            outcome.lines == ["1", "3", "4", "true", "2\tdeadline exceeded", "3\t1\t0\t5"],
            "\(outcome.output) \(outcome.errors)")
    }

    /// What is raised where the library called is told as raised where the script called the library.
    @Test func errorAsTheFunctionOfABreaker_namesTheCallersLine() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local breaker = stream.breaker { failures = 5, within = 1, reset = 1 }
            local function raise(level)
              error('own', level)
            end
            print(pcall(function()
              breaker:run(error, 'x')
            end))
            print(pcall(function()
              breaker:run(raise, 1)
            end))
            print(pcall(function()
              breaker:run(raise, 2)
            end))
            print(pcall(error, 'plain'))
            print(pcall(error, { 1 } == nil, 2))
            print(select(2, pcall(error, setmetatable({}, { __name = 'mine' }))) ~= nil, pcall(error))
            """)
        #expect(
            outcome.lines == [
                "false\tscript.lua:7: x", "false\tscript.lua:4: own", "false\tscript.lua:13: own", "false\tplain",
                "false\tfalse", "true\tfalse\tnil",
            ], "\(outcome.output)\(outcome.errors)")
    }

    static let breakerMistakes = [
        ("stream.breaker { failures = 1 }", "breaker needs within: stream.breaker {"),
        (
            "stream.breaker { failures = 0, within = 1, reset = 1 }",
            "failures of breaker expected a whole number from 1"
        ),
        ("stream.breaker { failures = 1, within = 0, reset = 1 }", "within of breaker expected a duration above 0"),
        ("stream.breaker { failures = 1, within = 1, reset = 'x' }", "reset of breaker expected a duration above 0"),
        (
            "stream.breaker { failures = 1, within = 1, rest = 1 }",
            "unknown option of breaker: 'rest' (did you mean 'reset'?)"
        ),
        (
            "stream.breaker { failures = 1, within = 1, reset = 1 }:run(3)",
            "argument 1 of run expected a function, got 3"
        ),
        ("stream.breaker { failures = 1, within = 1, reset = 1 }:report('x')", "argument 1 of report expected true"),
    ]

    @Test(arguments: breakerMistakes.indices) func mistakeWithABreaker_isTold(_ index: Int) throws {
        let (code, text) = Self.breakerMistakes[index]
        let outcome = try CommandLine.run("local stream = require 'stream'\n" + code)
        #expect(outcome.errors.contains("script.lua:2: " + text), "\(outcome.errors)")
        #expect(outcome.status == 2)
    }
}

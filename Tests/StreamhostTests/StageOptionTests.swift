// Options of stages: what is refused, and how the message helps.
import Foundation
import Testing

@Suite struct StageOptionTests {
    private static let from = "stream.from(stream.range(1, 2))"

    /// What follows `stream.from(stream.range(1, 2))` (or a whole line), and what the message must contain.
    static let mistakes: [(String, [String])] = [
        (":map('m', print, { workers = 0 })", ["workers of stage \"m\"", "from 1 to 4096", "0"]),
        (":map('m', print, { workers = -1 })", ["workers of stage \"m\"", "from 1 to 4096", "-1"]),
        (":map('m', print, { workers = 1e9 })", ["workers of stage \"m\"", "from 1 to 4096", "1000000000.0"]),
        (":map('m', print, { workers = 2.5 })", ["workers of stage \"m\"", "whole number", "2.5"]),
        (":map('m', print, { workers = '2' })", ["workers of stage \"m\"", "whole number"]),
        (":map('m', print, { capacity = 10 })", ["stage \"m\"", "'capacity'", "queue = n"]),
        (":map('m', print, { orderd = true })", ["stage \"m\"", "'orderd'", "did you mean 'ordered'?"]),
        (":map('m', print, { ordered = 1 })", ["ordered of stage \"m\"", "true or false", "1"]),
        (":map('m', print, { isolated = 'no' })", ["isolated of stage \"m\"", "true or false", "no"]),
        (
            ":map('m', print, { workers = 2, key = '' })",
            ["key of stage \"m\"", "name of a field or a function", "empty"]
        ),
        (":map('m', print, { workers = 2, key = {} })", ["key of stage \"m\"", "name of a field or a function"]),
        (":map('m', print, { timeout = 0 })", ["timeout of stage \"m\"", "duration over 0", "\"800ms\"", "got 0"]),
        (":map('m', print, { timeout = -1 })", ["timeout of stage \"m\"", "duration over 0", "got -1"]),
        (":map('m', print, { timeout = 0/0 })", ["timeout of stage \"m\"", "duration over 0", "nan"]),
        (":filter('m', print, { timeout = '5 parsecs' })", ["timeout of stage \"m\"", "seconds (0.8)", "5 parsecs"]),
        (":each('m', print, { timeout = '0ms' })", ["timeout of stage \"m\"", "duration over 0", "0ms"]),
        (":scan('m', 0, print, { timeout = {} })", ["timeout of stage \"m\"", "duration over 0", "{}"]),
        (":flat_map('m', print, { timeout = true })", ["timeout of stage \"m\"", "duration over 0", "true"]),
        (":map('m', print, { timout = 1 })", ["stage \"m\"", "'timout'", "did you mean 'timeout'?"]),
        (
            ":stage('p', print, { timeout = 1 })",
            ["stage \"p\"", "timeout is the time for one value", ":stage process", "ctx:with_timeout"]
        ),
        (":map('m', print, { key = 1 })", ["key of stage \"m\"", "name of a field or a function", "1"]),
        (":scan('s', 0, math.max, { workers = 2 })", ["stage \"s\": scan over several workers needs key"]),
        (":reduce('r', 0, math.max, { workers = 3 })", ["stage \"r\": reduce over several workers needs key"]),
        (
            ":map('m', tostring, { workers = 2 }):reduce('r', 0, math.max, { isolated = false })",
            ["stage \"r\": reduce over several workers needs key"]
        ),
        (":stage('p', print, { workers = 2, ordered = true })", ["stage \"p\"", "ordered", ":stage process"]),
        (
            ":map('m', print, { isolated = false })",
            ["stage \"m\"", "isolated = false", "right before it", "the source range"]
        ),
        (":take(1):map('m', print, { isolated = false })", ["stage \"m\"", "right before it", "take"]),
        (":skip(1):map('m', print, { isolated = false })", ["stage \"m\"", "right before it", "skip"]),
        (
            ":stage('p', print):map('m', print, { isolated = false })", ["stage \"m\"", "right before it", "stage"]
        ),
        (":map(tostring):stage('p', print, { isolated = false })", ["stage \"p\"", ":stage process", "isolated"]),
        (
            ":map('a', tostring):map('m', print, { isolated = false, workers = 2 })",
            ["stage \"m\"", "the workers of stage \"a\"", "give workers there"]
        ),
        (":map('a', tostring):map('m', print, { isolated = false, ordered = true })", ["the ordered of stage \"a\""]),
        (":map('a', tostring):map('m', print, { isolated = false, key = 'user' })", ["the key of stage \"a\""]),
        (":map('a', tostring):map('m', print, { isolated = false, queue = 1 })", ["the queue of stage \"a\""]),
        (":map('a', tostring):map('m', print, { isolated = false, memory = '1MB' })", ["the memory of stage \"a\""]),
        (
            "stream.from(stream.generate(print)):map('m', print, { isolated = false, queue = 1 })",
            ["stage \"m\"", "the queue of the generator"]
        ),
    ]

    @Test(arguments: mistakes.indices) func mistake_namesTheStageAndTheRemedy(_ index: Int) throws {
        let (text, parts) = Self.mistakes[index]
        let line = text.hasPrefix(":") ? Self.from + text : text
        let outcome = try CommandLine.run("local stream = require 'stream'\n" + line + "\nprint('never')")
        #expect(outcome.status == 2, "\(line): \(outcome.errors)")
        for part in ["script.lua:2:"] + parts { #expect(outcome.errors.contains(part), "\(line): \(outcome.errors)") }
        #expect(outcome.output == "", "\(line)")
    }

    @Test func oneWorkerTakesKeyAndOrdered_withoutEffect() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            stream.from(stream.range(1, 3)):map("m", function(v) return v end, { key = "user", ordered = true })
              :scan("s", 0, function(s, v) return s + v end, { key = function() error("never") end })
              :to(stream.stdout())
            """)
        #expect(outcome.errors == "")
        #expect(outcome.lines == ["1", "3", "6"])
    }

    @Test func keysOfJSONRecords_areFoundInTheText() throws {
        let outcome = try CommandLine.run(
            #"""
            local stream = require 'stream'
            stream.from(stream.stdin { format = "json" })
              :reduce("count", {}, function(n, r) n[r.user] = (n[r.user] or 0) + 1 return n end,
                { workers = 4, key = "user" })
              :flat_map("each", function(n, emit) for user, count in pairs(n) do emit(user .. "=" .. count) end end)
              :reduce("sort", {}, function(all, line) all[#all + 1] = line return all end)
              :map("join", function(all) table.sort(all) return table.concat(all, " ") end)
              :to(stream.stdout())
            """#,
            input: (0..<300).map { i in
                switch i % 3 {
                case 0: #"{"v":\#(i),"user":"ann"}"#
                case 1: #"{"inner":{"user":"x"},"\u0075ser":"\u0061nn"}"#
                default: #"{ "user" : "bob" }"#
                }
            }.joined(separator: "\n"))
        #expect(outcome.errors == "")
        #expect(outcome.lines == ["ann=200 bob=100"])
    }

    @Test func valueWithoutKey_endsThePipelineAndIsShown() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            stream.from(stream.stdin { format = "json" })
              :map("count", function(r) return r end, { workers = 2, key = "user" }):to(stream.stdout { format = "json" })
            """, input: #"{"name":"ann"}"#)
        #expect(outcome.status == 1)
        #expect(
            outcome.errors.contains(
                #"stage "count" (script.lua:2): key "user" of the value is nil (value: {name = "ann"})"#),
            "\(outcome.errors)")
    }

    @Test func capturedVariablesStayShared_amongFusedStages() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local n = 0
            stream.from(stream.range(1, 3)):each("count", function() n = n + 1 end)
              :map("read", function(v) return v * 100 + n end, { isolated = false }):to(stream.stdout())
            stream.run()
            print(n)
            """)
        #expect(outcome.lines == ["101", "202", "303", "0"])
    }

    @Test func captureThatCannotLeave_namesTheFusedStage() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local reader = coroutine.create(print)
            stream.from(stream.range(1, 3)):map("a", function(v) return v end)
              :map("b", function(v) return reader end, { isolated = false }):to(stream.stdout())
            """)
        #expect(outcome.status == 2)
        #expect(
            outcome.errors.contains("script.lua:3: stage \"b\" captures 'reader', a coroutine"), "\(outcome.errors)")
    }

    @Test func fusedStages_thatComputeForEverAreStopped() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local p = stream.from(stream.range(1, 1)):flat_map("a", function(v, emit) pcall(emit, v) emit(v) end)
              :each("forever", function() while true do pcall(function() while true do end end) end end,
                { isolated = false }):to(stream.null_sink())
            stream.sleep(0.05)
            print("others go on")
            p:cancel("enough")
            print(p:wait())
            """)
        #expect(outcome.lines == ["others go on", "nil\tenough"], "\(outcome.errors)")
        #expect(outcome.status == 0)
    }
}

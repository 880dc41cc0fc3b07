// The warning where a stage assigns a captured variable.
import Testing

@Suite struct AssignmentWarningTests {
    /// What a script prints on standard error after it ended well.
    private func errors(
        _ script: String, files: [String: String] = [:], location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let outcome = try CommandLine.run(script, files: files)
        #expect(outcome.status == 0, sourceLocation: location)
        return outcome.errors
    }

    private func warning(_ line: Int, _ name: String, file: String = "script.lua") -> String {
        "streamhost: warning: \(file): line \(line): '\(name)' changes only in this stage's copy; "
            + "use reduce, a metric or :to(function)\n"
    }

    @Test func assignedCapture_isNamedOnceWithItsLine() throws {
        let script = """
            local stream = require "stream"
            local total = 0
            stream.from(stream.range(1, 1000))
              :map("double", function(v) return v * 2 end, { workers = 3 })
              :each("sum", function(v) total = total + v end)
              :to(stream.null_sink())
            stream.run()
            print(total)
            """
        let outcome = try CommandLine.run(script)
        #expect(outcome.errors == warning(5, "total"))
        #expect(outcome.output == "0\n")
    }

    @Test func everyVariableOfEveryStage_isNamed() throws {
        let script = """
            local stream = require "stream"
            local helpers = require "helpers"
            local bump = helpers.bump
            local made, seen, last = 0, 0, nil
            local function pipeline()
              stream.from(stream.generate(function(emit) made = made + 1 emit(made) end))
                :each("seen", { process = function() seen = seen + 1 end, flush = function() last = seen end })
                :each("bump", function() bump() end)
                :to(stream.null_sink())
              stream.run()
            end
            pipeline()
            pipeline()
            """
        let module = "local count = 0\nreturn { bump = function()\n  count = count + 1\nend }\n"
        #expect(
            try errors(script, files: ["helpers.lua": module])
                == warning(6, "made") + warning(7, "seen") + warning(7, "last")
                + warning(3, "count", file: "helpers.lua"))
    }

    /// A key's function, and stages that share a worker: what one of them sets up is the worker's own.
    @Test func partsOfAGroup_areLookedAtTogether() throws {
        let script = """
            local stream = require "stream"
            local calls, cache, last = 0, nil, nil
            stream.from(stream.range(1, 100))
              :map("spread", function(v) return v end,
                { workers = 2, key = function(v) calls = calls + 1 return v % 7 end })
              :map("first", { setup = function() cache = {} end, process = function(v) return v end })
              :map("second", function(v) cache = cache or {} last = v return v end, { isolated = false })
              :to(stream.null_sink())
            """
        #expect(try errors(script) == warning(5, "calls") + warning(7, "last"))
    }

    @Test func whatIsTheStagesOwn_isNotNamed() throws {
        let script = """
            local stream = require "stream"
            local handle, count, total = nil, 0, 0
            local seen = {}
            stream.from(stream.range(1, 10))
              :map("own", {
                setup = function() handle = "open" count = 0 end,
                process = function(v)
                  local n = 0
                  for i = 1, v do n = n + i end
                  count = count + 1
                  seen[v] = true
                  return n
                end,
                teardown = function() handle = nil end,
              })
              :reduce("sum", 0, function(sum, v) return sum + v end)
              :to(function(v) total = total + v end)
            stream.run()
            print(total, handle)
            """
        #expect(try errors(script) == "")
    }
}

// `<close>` variables of a stage's functions that raise: each runs once, with the error.
import Schedules
import Testing

@Suite struct CloseVariableTests {
    /// Functions of a pipeline that raise, as the chain that has them.
    static let raising = [
        "generator": "stream.from(stream.generate(function(emit) emit(1) fall() end))",
        "generator of a chain":
            "stream.from(stream.generate(function(emit) emit(1) fall() end)):each('e', print, { isolated = false })",
        "setup": "stream.from(stream.range(1, 1)):each('s', { setup = fall, process = function(v) end })",
        "function": "stream.from(stream.range(1, 1)):map('s', fall)",
        "process":
            "stream.from(stream.range(1, 1)):stage('s', function(input) for v in input:range() do fall() end end)",
        "flush": "stream.from(stream.range(1, 1)):map('s', { process = function(v) return v end, flush = fall })",
        "flush of a chain":
            """
        stream.from(stream.range(1, 1)):map('r', function(v) return v end)
          :map('s', { process = function(v) return v end, flush = fall }, { isolated = false })
        """,
        "flush that emits":
            "stream.from(stream.range(1, 1)):map('s', { process = function(v) return v end, flush = function(emit) emit(2) fall() end })",
        "teardown": "stream.from(stream.range(1, 1)):each('s', { process = function(v) end, teardown = fall })",
    ]

    /// Guards against a generator and a flush that raised and left open what they had to close.
    @Test(arguments: raising.keys.sorted()) func whatRaises_closesItsVariables(_ name: String) {
        let outcome = runSeeded(
            """
            local stream = require "stream"
            local function fall()
              local first <close> = setmetatable({}, { __close = function(_, e) print("first", e) end })
              local second <close> = setmetatable({}, { __close = function(_, e) print("second", e) end })
              error("fell", 0)
            end
            local p = \(Self.raising[name]!):to(stream.null_sink())
            local ok, why = p:wait()
            print("ended", ok or why)
            """, seed: 1)
        #expect(outcome.output.filter { $0 == "first\tfell" }.count == 1, "\(outcome.summary)")
        #expect(outcome.output.filter { $0 == "second\tfell" }.count == 1, "\(outcome.summary)")
        #expect(outcome.output.filter { $0.hasPrefix("ended") }.count == 1, "\(outcome.summary)")
        #expect(outcome.result?.account.isBalanced == true)
    }
}

// `streamhost test`: what it prints, how it ends, and that a seed repeats a failure.
import Foundation
import Testing

/// A folder with test scripts, and `streamhost test` run in it.
struct TestRun {
    static let head = "local stream, test = require \"stream\", require \"stream.test\"\n"

    let outcome: Outcome

    /// One file, `x_test.lua`, which begins with the head: its lines are counted from 2.
    init(_ cases: String, _ options: [String] = [], files: [String: String] = [:]) throws {
        try self.init(files: files.merging(["x_test.lua": Self.head + cases]) { $1 }, ["x_test.lua"] + options)
    }

    init(files: [String: String], _ arguments: [String]) throws {
        let folder = try ScriptFolder("", files: files)
        outcome = try CommandLine.execute(["test"] + arguments, folder: folder.url)
    }

    var output: String { outcome.output }
    var status: Int32 { outcome.status }
    /// The last line without the time, which is real.
    var summary: String {
        outcome.lines.last.map { $0.prefix { $0 != "(" }.trimmingCharacters(in: .whitespaces) } ?? ""
    }

    /// The seed of the first failure, from the command line that repeats it.
    var seed: String? {
        output.firstMatch(of: /--seed (0x[0-9a-f]+)/).map { String($0.1) }
    }
}

@Suite struct TestCommandTests {
    @Test func passingCases_endWithZero() throws {
        let run = try TestRun(
            """
            test.case("adds", function(t) t.equal(1 + 1, 2) end)
            test.case("concatenates", function(t) t.equal("a" .. "b", "ab") end)
            """, ["--seed", "7"])
        #expect(run.outcome.lines.dropLast() == ["x_test.lua", "  ok      adds", "  ok      concatenates", ""])
        #expect(run.summary == "2 cases: 2 ok")
        #expect(run.output.hasSuffix("seed 0x7)\n"))
        #expect(run.outcome.errors == "")
        #expect(run.status == 0)
    }

    @Test func aFailure_namesTheAssertionTheCaseAndHowToRepeatIt() throws {
        let run = try TestRun(
            """
            test.case("it's wrong", function(t)
              print("before")
              t.equal(1 + 1, 3, "the sum")
              print("never")
            end)
            test.case("right", function(t) t.equal(1, 1) print("quiet") end)
            """, ["--seed", "0x5eed"])
        #expect(
            run.outcome.lines.dropLast() == [
                "x_test.lua", "  FAILED  it's wrong (x_test.lua:2)", "      x_test.lua:4: the sum: expected 3, got 2",
                "    it printed:", "      | before",
                #"    again: streamhost test x_test.lua --filter 'it'\''s wrong' --seed 0x5eed"#, "  ok      right", "",
            ])
        #expect(run.summary == "2 cases: 1 ok, 1 failed")
        #expect(run.status == 1)
    }

    struct Failing: Sendable, CustomTestStringConvertible {
        let name: String
        let body: String
        var options = ""
        /// Lines of the output, in order; each is somewhere in it.
        let expected: [String]
        var testDescription: String { name }
    }

    static let failing: [Failing] = [
        Failing(
            name: "tables, by path",
            body: #"t.equal({ items = { { name = "x" }, { name = "b" } }, n = 1 },"#
                + #" { items = { { name = "x" }, { name = "a" } }, m = 1.0 })"#,
            expected: [
                "x_test.lua:2: the tables differ", #"at .items[2].name: expected "a", got "b""#,
                "at .m: expected 1.0, got nil", "at .n: expected nil, got 1",
                #"expected: {"items": [{"name": "x"}, {"name": "a"}], "m": 1.0}"#,
                #"got:      {"items": [{"name": "x"}, {"name": "b"}], "n": 1}"#,
            ]),
        Failing(
            name: "NaN equals nothing", body: "t.equal(0 / 0, 0 / 0)", expected: ["NaN equals nothing, itself included"]
        ),
        Failing(
            name: "strings with control bytes", body: #"t.equal("a\0\27\xff", "")"#, expected: [#"got "a\x00\x1B\xFF""#]
        ),
        Failing(
            name: "host objects are the same or not", body: "t.equal(stream.chan(1), stream.chan(1))",
            expected: ["expected channel"]),
        Failing(
            name: "near", body: "t.near(1, 2, 0.5)",
            expected: ["x_test.lua:2: expected 2, give or take 0.5, got 1, which is off by 1"]),
        Failing(name: "near and NaN", body: "t.near(0 / 0, 1, 1e9)", expected: ["got nan"]),
        Failing(
            name: "a truth that is not true", body: "t.is_true(1)",
            expected: ["expected true, got 1 (is_true takes true"]),
        Failing(name: "nil", body: "t.is_nil(false)", expected: ["expected nil, got false"]),
        Failing(
            name: "nothing raised", body: #"t.raises("x", function() end)"#,
            expected: [#"expected an error that matches "x", and nothing was raised"#]),
        Failing(
            name: "another error", body: #"t.raises("^boom$", function() error("bang", 0) end)"#,
            expected: [#"expected an error that matches "^boom$", got "bang""#]),
        Failing(name: "fail", body: #"t.fail("so be it")"#, expected: ["x_test.lua:2: so be it"]),
        Failing(
            name: "an assertion inside pcall", body: "pcall(t.equal, 1, 2) t.equal(1, 1)",
            expected: ["expected 2, got 1"]),
        Failing(
            name: "an assertion in a task that nobody waits for",
            body: "stream.go(function() t.equal(1, 2) end) stream.sleep(1)",
            expected: ["x_test.lua:2: expected 2, got 1"]),
        Failing(
            name: "an assertion in a stage, inside pcall",
            body: """
                stream.from(stream.range(1, 3)):each("look", function(v) pcall(t.is_true, v < 3) end)
                  :to(stream.null_sink()):wait()
                """,
            expected: ["x_test.lua:2: expected true, got false"]),
        Failing(
            name: "an error, with the way there", body: "t.equal(1, 1) error(\"broken\")",
            expected: ["x_test.lua:2: broken", "stack traceback:"]),
        Failing(
            name: "an error that is no string", body: "t.equal(1, 1) error({})",
            expected: ["an error that is no string"]),
        Failing(name: "no assertion", body: "", expected: ["it asserts nothing"]),
        Failing(
            name: "a pipeline whose failure nobody received",
            body: """
                t.equal(1, 1)
                stream.from(stream.values { 1 }):map("bad", function() error("no") end):to(stream.null_sink())
                stream.sleep(1)
                """,
            expected: [#"stage "bad""#, "x_test.lua:3: no"]),
        Failing(
            name: "a task whose failure nobody received",
            body: #"t.equal(1, 1) stream.go(function() error("lost") end) stream.sleep(1)"#,
            expected: ["x_test.lua:2: lost"]),
        Failing(
            name: "a deadlock, with where each waits",
            body: """
                t.equal(1, 1)
                local a, b = stream.chan(0), stream.chan(0)
                stream.go(function() b:recv() end)
                a:recv()
                """,
            expected: [
                "deadlock: everything waits", "x_test.lua:4: main is receiving from the channel of x_test.lua:3",
                "x_test.lua:5: main is receiving from the channel of x_test.lua:3",
            ]),
        Failing(
            name: "what had to be cancelled, where that is asked for",
            body: """
                t.equal(1, 1)
                stream.go(function() stream.chan(0):recv() end)
                stream.go(function() end)
                """, options: "{ leaks = true }, ",
            expected: [
                "leaked: it had to be cancelled", "x_test.lua:3: main is receiving from the channel of x_test.lua:3",
            ]),
        Failing(
            name: "a colon in place of the dot", body: "t:equal(1, 1)",
            expected: ["x_test.lua:2: t:equal(...) has t itself as its first argument: write t.equal(...)"]),
        Failing(
            name: "a misspelt assertion", body: "t.equals(1, 1)",
            expected: ["x_test.lua:2: t has no 'equals' (did you mean 'equal'?)"]),
        Failing(
            name: "a case in a case", body: "t.equal(1, 1) test.case(\"y\", function() end)",
            expected: ["x_test.lua:2: test.case belongs to the top level of the file"]),
        Failing(
            name: "no tolerance", body: "t.near(1, 1)",
            expected: ["argument 3 of t.near expected a tolerance, a number from 0"]),
    ]

    @Test(arguments: failing) func aFailingCase(_ test: Failing) throws {
        let run = try TestRun("test.case(\"x\", \(test.options)function(t) \(test.body) end)")
        var rest = run.output[...]
        for line in test.expected {
            guard let range = rest.range(of: line) else {
                Issue.record("\(line) is missing in \(run.output)")
                return
            }
            rest = rest[range.upperBound...]
        }
        #expect(run.output.components(separatedBy: "FAILED").count == 2)
        #expect(run.summary == "1 case: 0 ok, 1 failed")
        #expect(run.status == 1)
    }

    static let passing: [(name: String, body: String)] = [
        ("1 and 1.0 are equal", "t.equal(1, 1.0) t.equal({ [1] = 2.0 }, { 2 })"),
        ("cycles", "local a, b = {}, {} a.a, b.a = a, b t.equal(a, b)"),
        ("the same channel", "local c = stream.chan(0) t.equal({ c }, { c })"),
        ("null, booleans, nothing", "t.equal({ stream.null, false }, { stream.null, false }) t.equal(nil, nil)"),
        (
            "records that were not read are tables",
            #"t.equal(stream.from(stream.values { { a = 1, b = { 2 } } }):filter("f", function() return true end):collect(), { { a = 1, b = { 2 } } })"#
        ),
        (
            "an answer of __eq counts",
            "local m = { __eq = function() return true end } t.equal(setmetatable({ 1 }, m), setmetatable({ 2 }, m))"
        ),
        ("near", "t.near(0.1 + 0.2, 0.3, 1e-9) t.near(math.huge, math.huge, 0) t.near(1, 1.5, 0.5)"),
        (
            "raises: a pattern, or the text itself",
            #"t.raises("b.*m", function() error("boom") end) t.raises("[a-b", function() error("x [a-b") end)"#
        ),
        ("raises returns what was raised", "t.equal(t.raises(\"[7]\", function() error({ 7 }) end)[1], 7)"),
        (
            "raises around a wait",
            #"t.raises("late", function() stream.sleep(5) error("late") end) t.equal(stream.now(), 5.0)"#
        ),
        (
            "a captured assertion in a stage",
            #"local equal = t.equal stream.from(stream.range(1, 2)):each("e", function(v) equal(v, v) end):collect()"#
        ),
        ("t through a channel", "local c = stream.chan(1) c:send(t) c:recv().equal(1, 1)"),
        ("an hour", "for _ = 1, 3600 do stream.sleep(1) end t.equal(stream.now(), 3600.0)"),
        (
            "the time of day follows",
            #"stream.sleep("90m") t.equal(os.date("!%F %T"), "2000-01-01 01:30:00") t.equal(os.clock(), 5400.0) t.equal(os.time(), 946684800 + 5400)"#
        ),
        ("standard input is empty", "t.equal(stream.from(stream.stdin()):collect(), {})"),
        (
            "what is left waiting is cancelled",
            "t.equal(1, 1) stream.go(function() t.equal({ stream.chan(0):recv() }, { nil, \"canceled\" }) end) stream.sleep(0)"
        ),
        (
            "a pipeline that goes on is cancelled",
            "t.equal(1, 1) stream.from(stream.ticker(1)):to(stream.null_sink()) stream.sleep(3)"
        ),
        (
            "a received failure is no failure",
            #"local p = stream.from(stream.values { 1 }):map("m", function() error("no") end):to(stream.null_sink()) t.is_nil((p:wait()))"#
        ),
        (
            "the run's pipelines",
            "local n = 0 stream.from(stream.range(1, 9)):to(function(v) n = n + v end) stream.run() t.equal(n, 45)"
        ),
        ("a once function raises", "t.raises('bad', stream.once(function() error('bad') end))"),
        ("options", "t.raises(\"unknown option of t.sink: 'capacty'\", function() t.sink { capacty = 1 } end)"),
    ]

    @Test func passingBodies() throws {
        let cases = Self.passing.map { "test.case([[\($0.name)]], { leaks = false }, function(t) \($0.body) end)\n" }
        let run = try TestRun(cases.joined(), ["--schedules", "3"])
        #expect(run.summary == "\(cases.count) cases: \(cases.count) ok", "\(run.output)")
        #expect(run.status == 0)
    }

    @Test func probes_pushAndLook() throws {
        let run = try TestRun(
            """
            test.case("probes", { schedules = 20 }, function(t)
              local source, sink = t.source(), t.sink()
              stream.from(source):map("double", function(v) return 2 * v end):to(sink)
              t.equal(source:push(1), true)
              source:push(2)
              t.equal(sink:next(), 2)
              t.equal(sink:next("1s"), 4)
              t.equal({ sink:next("1s") }, { nil, "timeout" })
              t.near(stream.now(), 1, 1e-9)
              source:push(5)
              stream.sleep(0)                      -- returns when all others wait
              t.equal(#sink, 3)
              t.equal({ sink:wait(4, "2s") }, { nil, "timeout" })
              source:close()
              t.equal(sink:wait(), true)
              t.equal({ sink:wait(4) }, { nil, "closed" })
              t.equal(sink:values(), { 2, 4, 10 })
              t.equal(sink:next(), 10)
              t.equal({ sink:next() }, { nil, "closed" })
              t.is_true(sink:is_closed())
            end)
            test.case("a rendezvous shows backpressure", { schedules = 20 }, function(t)
              local source, sink = t.source { capacity = 0 }, t.sink()
              stream.from(source):each("slow", function() stream.sleep(1) end, { queue = 0 }):to(sink)
              for i = 1, 5 do source:push(i) end
              t.is_true(stream.now() >= 3)
              source:close()
              t.equal(sink:wait(), true)
              t.equal(sink:values(), { 1, 2, 3, 4, 5 })
            end)
            """)
        #expect(run.summary == "2 cases: 2 ok", "\(run.output)")
        #expect(run.status == 0)
    }
}

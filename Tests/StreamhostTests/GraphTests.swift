// Pipelines that fork and join, as a user runs them.
import Foundation
import Testing

@Suite struct GraphTests {
    private func expect(
        _ lines: [String], _ script: String, input: String = "", location: SourceLocation = #_sourceLocation
    ) throws {
        let outcome = try CommandLine.run("local stream = require \"stream\"\n" + script, input: input)
        #expect(outcome.lines == lines, sourceLocation: location)
        #expect(outcome.errors == "", sourceLocation: location)
        #expect(outcome.status == 0, sourceLocation: location)
    }

    /// Script, what its message must contain.
    static let mistakes: [(String, [String])] = [
        ("p:merge()", ["script.lua:3:", "merge", "at least one"]),
        ("p:merge(42)", ["script.lua:3:", "argument 1 of merge", "without an end", "42"]),
        (
            "p:merge(p, stream.from(stream.range(1, 2)):to(stream.null_sink()))",
            ["script.lua:3:", "argument 2 of merge", "has an end", ":to"]
        ),
        ("p:tee()", ["script.lua:3:", "tee", "function"]),
        ("p:tee(p)", ["script.lua:3:", "argument 1 of tee", "a pipeline"]),
        ("p:tee(function(b) b:map(function(v) return v end) end)", ["script.lua:3:", "tee", "has no end", ":to("]),
        ("p:tee(function(b) b:collect() end)", ["script.lua:3:", "branch of tee", "cannot wait", ":to("]),
        ("p:tee(function(b) b:wait() end)", ["script.lua:3:", "wait", "no end"]),
        ("p:tee(function(b) p:merge(b) end)", ["script.lua:3:", "branch of tee", "branch:merge"]),
        (
            "local kept p:tee(function(b) kept = b b:to(stream.null_sink()) end) kept:to(stream.null_sink())",
            ["script.lua:3:", "branch of tee", "inside of its function"]
        ),
        ("p:route {}", ["script.lua:3:", "route", "at least one branch"]),
        ("p:route(print)", ["script.lua:3:", "route", "table of branches"]),
        ("p:route { otherwise = function(b) b:to(stream.null_sink()) end }", ["script.lua:3:", "at least one branch"]),
        ("p:route { { to = print } }", ["script.lua:3:", "when of branch 1", "expected a function", "nil"]),
        (
            "p:route { { name = 'x', when = print } }",
            ["script.lua:3:", "to of branch 1", "expected a function", "nil"]
        ),
        ("p:route { { when = print, too = print } }", ["script.lua:3:", "'too'", "did you mean 'to'?"]),
        (
            "p:route { { when = print, to = function(b) b:to(stream.null_sink()) end }, otherwis = print }",
            ["script.lua:3:", "'otherwis'", "did you mean 'otherwise'?"]
        ),
        (
            "p:route { { when = print, to = function(b) end } }",
            ["script.lua:3:", "route \"route\"", "has no end", ":to("]
        ),
        (
            "p:route { { when = print, to = function(b) b:to(stream.null_sink()) end }, otherwise = 1 }",
            ["script.lua:3:", "otherwise", "function", "1"]
        ),
        (
            "p:route { { when = print, to = function(b) b:to(stream.null_sink()) end }, on_error = 'x' }",
            ["script.lua:3:", "on_error", "x"]
        ),
        ("p:batch()", ["script.lua:3:", "batch", "size", "within"]),
        ("p:batch {}", ["script.lua:3:", "batch", "size", "within"]),
        ("p:batch { size = 0 }", ["script.lua:3:", "size of batch", "0"]),
        ("p:batch { within = 'soon' }", ["script.lua:3:", "within of batch", "duration", "soon"]),
        ("p:batch { within = 0 }", ["script.lua:3:", "within of batch", "above 0"]),
        ("p:batch { sice = 3 }", ["script.lua:3:", "'sice'", "did you mean 'size'?"]),
        ("p:buffer(3)", ["script.lua:3:", "buffer", "table", "3"]),
        ("p:buffer { capacity = -1 }", ["script.lua:3:", "capacity of :buffer", "-1"]),
        ("p:buffer { bytes = 'much' }", ["script.lua:3:", "bytes of :buffer", "much"]),
        (
            "p:buffer { capacity = 3, overflow = 'latest' }",
            ["script.lua:3:", "capacity of :buffer", "keeps one value"]
        ),
        ("p:buffer { capacity = 3, overflow = 'drop_odlest' }", ["script.lua:3:", "did you mean 'drop_oldest'"]),
        (
            "p:map(print, { queue = { overflow = true } })",
            ["script.lua:3:", "overflow of queue of stage \"map\"", "true"]
        ),
        ("p:buffer { capacity = 0, overflow = 'drop_oldest' }", ["script.lua:3:", "at least 1"]),
        ("p:buffer { timeout = 3 }", ["script.lua:3:", "overflow = \"timeout\"", "\"block\""]),
        ("p:buffer { overflow = 'timeout' }", ["script.lua:3:", "timeout of :buffer", "seconds (0.8)"]),
        ("p:buffer { overflow = 'timeout', timeout = -1 }", ["script.lua:3:", "timeout of :buffer", "-1"]),
        ("p:buffer { overflow = 'timeout', timeout = '5 parsecs' }", ["script.lua:3:", "5 parsecs"]),
        (
            "p:buffer { overflow = 'fail', on_drop = print }",
            ["script.lua:3:", "on_drop of :buffer expected a channel"]
        ),
        ("p:buffer { on_drop = stream.chan(1) }", ["script.lua:3:", "on_drop of :buffer", "\"drop_oldest\""]),
        (
            "p:buffer { capacity = 3 }:map('m', print, { queue = 3 })",
            ["script.lua:3:", "stage \"m\"", "queue is set twice"]
        ),
        ("p:map('m', print, { queue = { capacity = 3, bites = 3 } })", ["script.lua:3:", "'bites'"]),
        ("p:wait()", ["script.lua:3:", "wait", "has no end", ":to"]),
        ("stream.ticker()", ["script.lua:3:", "argument 1 of ticker", "duration", "nil"]),
        ("stream.ticker(0)", ["script.lua:3:", "above 0"]),
        ("stream.after('then')", ["script.lua:3:", "argument 1 of after", "then"]),
        (
            "local s = stream.from(stream.stdin()) s:merge(s):to(stream.null_sink())",
            ["script.lua:3:", "standard input", "one source", ":tee"]
        ),
        (
            "local s = stream.from(stream.stdin()) s:to(stream.null_sink())\ns:to(stream.null_sink())",
            ["script.lua:4:", "standard input", "script.lua:3", ":tee"]
        ),
        (
            "local co = coroutine.create(print) p:route { { to = function(b) b:to(stream.null_sink()) end, "
                + "when = function() return co end } }:to(stream.null_sink())",
            ["script.lua:3", "stage \"route\" captures 'co', a coroutine"]
        ),
    ]

    @Test(arguments: mistakes) func mistakes_nameTheLineAndTheRemedy(_ script: String, _ parts: [String]) throws {
        let outcome = try CommandLine.run(
            "local stream = require \"stream\"\nlocal p = stream.from(stream.range(1, 2))\n" + script)
        #expect(outcome.status == 2)
        for part in parts { #expect(outcome.errors.contains(part), "\(script): \(outcome.errors)") }
    }

    @Test func linesOfInput_areRoutedMergedAndTeed() throws {
        try expect(
            ["all 6", "error: disk", "error: net", "other: 4"],
            """
            local out = stream.chan(10)
            local function counted(branch, label)
              branch:reduce(0, function(n) return n + 1 end)
                :map("label", function(n) return label .. n end):to(out, { close = false })
            end
            local p = stream.from(stream.stdin())
              :tee(function(branch) counted(branch, "all ") end)
              :route {
                { name = "errors", when = function(line) return line:find("^error") end,
                  to = function(branch) branch:to(out, { close = false }) end },
                otherwise = function(branch) counted(branch, "other: ") end,
              }
            assert(p:wait())
            out:close()
            local lines = {}
            for line in out:range() do lines[#lines + 1] = line end
            table.sort(lines)
            for _, line in ipairs(lines) do print(line) end
            """, input: "info: a\nerror: disk\ninfo: b\ninfo: c\nerror: net\ninfo: d\n")
    }

    @Test func batchesOfRecords_keepTheirBytes_andCanBeRead() throws {
        let input = "{\"b\":1.0,\"a\":[1, 2]}\n7\n{\"z\":\"x\"}\n"
        try expect(
            ["[{\"b\":1.0,\"a\":[1, 2]},7]", "[{\"z\":\"x\"}]"],
            """
            stream.from(stream.stdin { format = "json" }):batch { size = 2 }:to(stream.stdout { format = "json" })
            """, input: input)
        try expect(
            ["1.0 2 7", "x"],
            """
            stream.from(stream.stdin { format = "json" }):batch { size = 2 }:map("read", function(t)
              return t[1].z or t[1].b .. " " .. t[1].a[2] .. " " .. t[2]
            end):to(stream.stdout())
            """, input: input)
    }

    @Test func stats_tellOfEachStep_andOfBranchesBehindIt() throws {
        try expect(
            [
                "half 100 50 50 0 0 256", "tee 50 100 0 0 0 256", "tee/1 50 50 0 0 0 7", "tee/1/neg 50 50 0 0 0 7",
                "by 50 50 0 0 0 256", "by/big 25 25 0 0 0 256", "batch 25 3 0 0 0 256",
                "created 153 delivered 78 consumed 25 filtered 50 failed 0 dropped 0",
            ],
            """
            local p = stream.from(stream.range(1, 100))
              :filter("half", function(v) return v % 2 == 0 end)
              :tee(function(b) b:buffer { capacity = 7 }:map("neg", function(v) return -v end):to(stream.null_sink()) end)
              :route { name = "by",
                { name = "big", when = function(v) return v > 50 end, to = function(b) b:to(stream.null_sink()) end } }
              :batch { size = 10 }:to(stream.null_sink())
            assert(p:wait())
            local s = p:stats()
            for _, g in ipairs(s.stages) do
              print(g.name .. " " .. g.received .. " " .. g.emitted .. " " .. g.filtered .. " " .. g.failed .. " "
                .. g.queued .. " " .. g.capacity)
            end
            print(("created %d delivered %d consumed %d filtered %d failed %d dropped %d"):format(s.created, s.delivered, s.consumed,
              s.filtered, s.failed, s.dropped))
            """)
    }

    @Test func stats_ofARunningPipeline_areLive() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local ch, out = stream.chan(0), stream.chan(100)
            local p = stream.from(ch):map("m", function(v)
              if v == 3 then error("three") end
              return v
            end, { on_error = "skip", queue = 20 }):buffer { capacity = 20 }:filter("f", function(v)
              return v < 100
            end):to(out)
            for i = 1, 5 do ch:send(i) end
            repeat stream.sleep("1ms") until #out == 4
            stream.sleep("10ms")
            local s = p:stats()
            local m, f = s.stages[1], s.stages[2]
            print(m.emitted .. " " .. f.received .. " " .. f.queued .. " " .. m.failed .. " " .. f.capacity .. " " .. #s.stages + 1)
            ch:close()
            assert(p:wait())
            for _ in out:range() do end
            print(select(2, out:recv()))
            """)
        #expect(outcome.lines == ["4 4 0 1 20 3", "closed"])
        #expect(outcome.errors.contains("skipped: stage \"m\""))
    }

    @Test func aTicker_keepsNoRunAlive_andEndsAtTheFirstSignal() throws {
        try expect(["top level ends"], "stream.ticker('1ms') stream.after('1h') print('top level ends')")
        let outcome = try CommandLine.shell(
            "$STREAMHOST run script.lua & pid=$!; sleep 1; kill -INT $pid; wait $pid",
            script: """
                local stream = require "stream"
                local n = 0
                local p = stream.from(stream.ticker("1ms")):to(function() n = n + 1 end)
                print(p:wait(), n > 10)
                """)
        #expect(outcome.lines == ["true\ttrue"])
        #expect(outcome.errors.contains("s: drained\n  script.lua:3  "))
    }

    @Test func aMerge_usesUpWhatItMerges_andAPipelineWithoutEndIsReported() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local a, b = stream.from(stream.range(1, 2)), stream.from(stream.range(3, 4))
            print(#a:merge(b):collect())
            stream.from(stream.range(1, 2)):tee(function(x) x:to(stream.null_sink()) end)
            """)
        #expect(outcome.lines == ["4"])
        #expect(outcome.errors.contains("script.lua:4: this pipeline has no end"))
        #expect(!outcome.errors.contains("script.lua:2"))
    }

    @Test func aRouteThatHasStarted_canBeContinued_withASourceOfItsOwn() throws {
        try expect(
            ["true", "true", "10"],
            """
            local out = stream.chan(100)
            local p = stream.from(stream.range(1, 5)):route {
              { when = function(v) return v > 2 end, to = function(b) b:to(out, { close = false }) end },
              otherwise = function(b) b:to(out, { close = false }) end,
            }
            print(p:wait())
            print(p:to(stream.null_sink()):wait())
            print(#out)
            """)
    }

    @Test func manyValuesThroughAGraph_allArrive() throws {
        try expect(
            // 1...100000 down the chain, 1...50000 once more in the branch
            ["150000 5000050000 1250025000"],
            """
            local function range(a, b) return stream.from(stream.range(a, b)) end
            local n, s, low = 0, 0, 0
            local p = range(1, 50000):merge(range(50001, 100000):map("m", function(v) return v end, { workers = 2 }))
              :tee(function(b)
                b:filter("low", function(v) return v <= 50000 end)
                  :route { { when = function(v) return v % 2 == 1 end,
                    to = function(x) x:batch { size = 100, within = "1s" }:to(function(t)
                      for _, v in ipairs(t) do n, low = n + 1, low + v end
                    end) end } }
                  :to(function(v) n, low = n + 1, low + v end)
              end)
              :to(function(v) n, s = n + 1, s + v end)
            assert(p:wait())
            print(n .. " " .. s .. " " .. low)
            """)
    }
}

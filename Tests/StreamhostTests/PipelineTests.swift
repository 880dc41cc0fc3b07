// Pipelines as a script writes them: what goes in, what comes out, in which order.
import Foundation
import Testing

@Suite struct PipelineTests {
    /// Runs a script whose first line requires the library; it shall end well and print these lines.
    private func expect(
        _ lines: [String], _ script: String, input: String = "", location: SourceLocation = #_sourceLocation
    ) throws {
        let outcome = try CommandLine.run("local stream = require \"stream\"\n" + script, input: input)
        #expect(outcome.lines == lines, sourceLocation: location)
        #expect(outcome.errors == "", sourceLocation: location)
        #expect(outcome.status == 0, sourceLocation: location)
    }

    @Test func eachMethod_doesWhatItSays() throws {
        try expect(
            ["20 40", "1 3", "1 2", "1 1 2 2", "101 103 106", "6", "2 3", "0", "2 3", "nil"],
            """
            local function range(n) return stream.from(stream.range(1, n)) end
            local function show(t) print(table.concat(t, " ")) end
            show(range(4):map("m", function(v) if v % 2 == 0 then return v * 10 end end):collect())
            show(range(4):filter("f", function(v) return v % 2 == 1 end):collect())
            show(range(2):each("e", function(v) return v * 100 end):collect())
            show(range(2):flat_map("fm", function(v, emit) emit(v) emit(v) end):collect())
            show(range(3):scan("s", 100, function(state, v) return state + v end):collect())
            show(range(3):reduce(0, function(state, v) return state + v end):collect())
            show(range(9):skip(1):take(2):collect())
            print(#range(0):collect())
            show(range(2):map({ process = function(v) return v + 1 end }, { workers = 2, ordered = true }):collect())
            print(stream.from(stream.range(1, 0)):map(function(v) return v end):collect()[1])
            """)
    }

    @Test func reduceOfNothing_givesTheInitialState() throws {
        try expect(
            ["0"], "stream.from(stream.range(1, 0)):reduce('n', 0, function(n) return n + 1 end):to(stream.stdout())")
    }

    @Test func ranges_goBothWays() throws {
        try expect(
            ["5 3 1", "9223372036854775806 9223372036854775807", "0"],
            """
            print(table.concat(stream.from(stream.range(5, 1, -2)):collect(), " "))
            print(table.concat(stream.from(stream.range(math.maxinteger - 1, math.maxinteger)):collect(), " "))
            print(#stream.from(stream.range(2, 1)):take(0):collect())
            """)
    }

    @Test func wholeFloats_areWholeNumbers() throws {
        try expect(
            ["1 3 5", "1000 integer", "1 2"],
            """
            print(table.concat(stream.from(stream.range(1.0, 6e0, 2.0)):collect(), " "))
            local t = stream.from(stream.range(1, 1e3)):map("m", function(v) return v end, { workers = 2.0, queue = 4.0 }):collect()
            print(#t .. " " .. math.type(t[1]))
            print(table.concat(stream.from(stream.range(1, 1e9)):take(2.0):collect(), " "))
            """)
    }

    @Test func longValues_useUpBytesBeforeRoom_andAreAllPassedOn() throws {
        try expect(
            ["100 6000000"],
            """
            local t = stream.from(stream.values { 1 })
              :flat_map("long", function(_, emit) for _ = 1, 100 do emit(("x"):rep(60000)) end end)
              :map("copy", function(v) return v end)
              :filter("same", function(v) return true end, { queue = 4 })
              :collect()
            print(#t .. " " .. #table.concat(t))
            """)
    }

    @Test func stage_isAProcessOfItsOwn() throws {
        try expect(
            ["pair 1 2", "pair 3 4", "rest 5"],
            """
            stream.from(stream.range(1, 5)):stage("pairs", function(input, output)
              while true do
                local a = input:recv()
                if not a then return end
                local b = input:recv()
                if not b then output:send("rest " .. a) return end
                output:send("pair " .. a .. " " .. b)
              end
            end):to(stream.stdout())
            """)
    }

    @Test func oneBeginning_canBeContinuedTwice() throws {
        try expect(
            ["6", "60"],
            """
            local base = stream.from(stream.range(1, 3)):map("same", function(v) return v end)
            local sum = function(s, v) return s + v end
            local a = base:reduce("sum", 0, sum):collect()
            local b = base:map("ten", function(v) return v * 10 end):reduce("sum", 0, sum):collect()
            print(a[1]) print(b[1])
            """)
    }

    @Test func severalPipelines_runTogether() throws {
        try expect(
            ["true", "600", "done"],
            """
            local total = 0
            for i = 1, 3 do
              stream.from(stream.range(1, 100)):map("m" .. i, function() return i end)
                :to(function(v) total = total + v end)
            end
            print(stream.run())
            print(total)
            print("done")
            """)
    }

    @Test func partsOfAStage_comeInOrderWithTheirReason() throws {
        try expect(
            ["setup", "process 1", "process 2", "flush", "teardown done", "1 2 99"],
            """
            local values = stream.from(stream.range(1, 2)):map("parts", {
              setup = function(ctx) print("setup") assert(ctx:err() == nil) end,
              process = function(v) print("process " .. v) return v end,
              flush = function(emit) print("flush") assert(emit(99)) end,
              teardown = function(reason) print("teardown " .. reason) end,
            }):collect()
            print(table.concat(values, " "))
            """)
    }

    @Test func teardown_isToldHowItEnded() throws {
        try expect(
            ["a\tdone", "b\tcanceled", "c\tfailed", "d\tfailed", "e\tdone"],
            """
            local function stage(name, process)
              return name, { process = process, teardown = function(reason) print(name, reason) end }
            end
            local function same(v) return v end
            stream.from(stream.range(1, 1000000)):map(stage("a", same)):take(3):collect()
            local p = stream.from(stream.range(1, 3)):map(stage("b", function() stream.sleep(100) end))
              :to(stream.null_sink())
            stream.sleep(0.1)
            p:cancel()
            p:wait()
            stream.from(stream.range(1, 3)):map(stage("c", function() error("no") end)):collect()
            stream.from(stream.range(1, 3)):map(stage("d", function() return print end)):collect()
            stream.from(stream.range(1, 0)):map(stage("e", same)):collect()
            """)
    }

    @Test(arguments: [0, 1, 2, 7, 256, 100_000])
    func everyQueue_keepsOrderAndLosesNothing(_ queue: Int) throws {
        try expect(
            ["5000\t12502500\ttrue"],
            """
            local o = { queue = \(queue) }
            local n, sum, last, ordered = 0, 0, 0, true
            stream.from(stream.range(1, 5000)):map("a", function(v) return v end, o)
              :filter("b", function() return true end, o):flat_map("c", function(v, emit) emit(v) end, o)
              :to(function(v) n, sum, ordered, last = n + 1, sum + v, ordered and v == last + 1, v end)
            stream.run()
            print(n, sum, ordered)
            """)
    }

    @Test(arguments: [0, 1, 256])
    func severalWorkers_loseAndDoubleNothing(_ queue: Int) throws {
        try expect(
            ["3000\ttrue"],
            """
            local seen, n = {}, 0
            for _, v in ipairs(stream.from(stream.range(1, 3000)):map("w", function(v)
              if v % 500 == 0 then stream.sleep(0.005) end
              return v
            end, { workers = 4, queue = \(queue) }):collect()) do
              assert(not seen[v]) seen[v] = true n = n + 1
            end
            for i = 1, 3000 do assert(seen[i]) end
            print(n, true)
            """)
    }

    // MARK: Channels

    @Test func channels_areSourcesAndSinks() throws {
        try expect(
            ["2", "4", "6", "nil\tclosed"],
            """
            local input, output = stream.chan(2), stream.chan(0)
            stream.from(input):map("double", function(v) return v * 2 end):to(output)
            stream.go(function() for i = 1, 3 do input:send(i) end input:close() end)
            for v in output:range() do print(v) end
            print(output:recv())
            """)
    }

    @Test func channelSink_closesAfterTheLastFeeder() throws {
        try expect(
            ["30\ttrue", "10\tfalse"],
            """
            local c = stream.chan(100)
            for i = 1, 3 do
              local function slow(v) stream.sleep(i / 1000) return v end
              stream.from(stream.range(1, 10)):map("m", slow):to(c)
            end
            local n = 0
            for _ in c:range() do n = n + 1 end
            print(n, c:is_closed())
            local open = stream.chan(100)
            stream.from(stream.range(1, 10)):to(open, { close = false }):wait()
            print(#open, open:is_closed())
            """)
    }

    @Test func channelSource_getsBackWhatNoStageTook() throws {
        try expect(
            ["1 2 3", "7\t4"],
            """
            local c = stream.chan(10)
            for i = 1, 10 do c:send(i) end
            print(table.concat(stream.from(c):take(3):collect(), " "))
            print(#c, c:recv())
            """)
    }

    @Test func generate_isToldWhenNobodyWantsMore() throws {
        try expect(
            ["1 2 3", "nil\tclosed"],
            """
            local told = stream.chan(1)
            local values = stream.from(stream.generate(function(emit)
              local i = 0
              while true do
                i = i + 1
                local ok, reason = emit(i)
                if not ok then told:send(reason) return end
              end
            end)):take(3):collect()
            print(table.concat(values, " "))
            print(nil, told:recv())
            """)
    }

    // MARK: Ends

    @Test func functionSink_seesTheVariablesOfItsWorker() throws {
        try expect(
            ["true", "a b c"],
            """
            local seen = {}
            print(stream.from(stream.values { "a", "b", "c" }):to(function(v) seen[#seen + 1] = v end):wait())
            print(table.concat(seen, " "))
            """)
    }

    @Test func files_areWrittenAndReadBack() throws {
        try expect(
            ["true", "true", "1:{\"a\":[],\"b\":1.0}", "2:{\"n\":2}", "3:{\"n\":3}"],
            """
            local path = "out.json"
            local records = { { b = 1.0, a = stream.array {} }, { n = 2 } }
            print(stream.from(stream.values(records)):to(stream.file { path = path, format = "json" }):wait())
            print(stream.from(stream.values { { n = 3 } })
              :to(stream.file { path = path, format = "json", append = true }):wait())
            local n = 0
            stream.from(stream.file { path = path }):to(function(line) n = n + 1 print(n .. ":" .. line) end):wait()
            """)
    }

    @Test func wait_givesTheReason() throws {
        try expect(
            ["nil\ttimeout", "nil\tenough", "nil\tenough", "nil\tcanceled", "true", "true"],
            """
            local function forever() return stream.from(stream.generate(function(emit)
              while emit(1) do stream.sleep(0.005) end
            end)):to(stream.null_sink()) end
            local p = forever()
            print(p:wait(0.02))
            p:cancel("enough")
            print(p:wait())
            print(p:wait("1s"))
            local q = forever()
            q:cancel()
            print(q:wait())
            local r = stream.from(stream.range(1, 3)):to(stream.null_sink())
            print(r:wait())
            r:cancel()
            print(r:wait())
            """)
    }

    // MARK: Values

    @Test func values_keepTheirType() throws {
        try expect(
            [
                "integer\t3", "float\t3.0", "true", "true", "5\t1\t0", "true\tfalse", "2", "float\t-0.0", "true",
                "[]\t{}",
            ],
            """
            local nest = { list = { 1, { deep = { "x" } } }, [2.5] = "f", [true] = "t", [-1] = "m", null = stream.null }
            local v = stream.from(stream.values { 3, 3.0, "a\\0b\\255\\r", stream.null, nest, true, false, -0.0,
              math.mininteger, stream.array {}, {} }):map("same", function(v) return v end, { queue = 0 }):collect()
            print(math.type(v[1]), v[1])
            print(math.type(v[2]), v[2])
            print(v[3] == "a\\0b\\255\\r" and #v[3] == 5)
            print(v[4] == stream.null and v[5].null == stream.null)
            local n = v[5]
            print((n[2.5] == "f" and 5), n.list[1], n.list[2].deep[2] == nil and 0)
            print(v[6], v[7])
            print(#n.list)
            print(math.type(v[8]), v[8])
            print(v[9] == math.mininteger and n[true] == "t" and n[-1] == "m" and v[5] ~= nest)
            print(stream.json.encode(v[10]), stream.json.encode(v[11]))
            """)
    }
}

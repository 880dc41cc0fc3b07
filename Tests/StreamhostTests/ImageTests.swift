// A worker starts as a copy of what its function can reach.
import Testing

@Suite struct ImageTests {
    private func expect(
        _ lines: [String], _ script: String, files: [String: String] = [:], warning: String? = nil,
        location: SourceLocation = #_sourceLocation
    ) throws {
        let outcome = try CommandLine.run("local stream = require \"stream\"\n" + script, files: files)
        let errors =
            warning.map {
                "streamhost: warning: script.lua: \($0) changes only in this stage's copy; "
                    + "use reduce, a metric or :to(function)\n"
            } ?? ""
        #expect(outcome.lines == lines, sourceLocation: location)
        #expect(outcome.errors == errors, sourceLocation: location)
        #expect(outcome.status == 0, sourceLocation: location)
    }

    /// `one(fn)`: what a stage makes of the value 1.
    private static let one = """
        local function one(fn, ...) return stream.from(stream.values { 1 }):map("s", fn, ...):collect()[1] end

        """

    @Test func closuresOfALoop_keepEachItsOwnVariable() throws {
        try expect(
            ["11 21 31"],
            """
            local pipelines, results = {}, {}
            for i = 1, 3 do
              local out = stream.chan(1)
              stream.from(stream.values { 1 }):map("add", function(v) return v + i * 10 end):to(out)
              pipelines[i] = out
            end
            for i = 1, 3 do results[i] = pipelines[i]:recv() end
            print(table.concat(results, " "))
            """)
    }

    @Test func branchTakenAtRandom_isTheSameInTheWorker() throws {
        try expect(
            ["true"],
            Self.one + """
                math.randomseed(os.time())
                local name, fn
                if math.random() < 0.5 then
                  name = "left" fn = function() return name .. 1 end
                else
                  name = "right" fn = function() return name .. 2 end
                end
                print(one(fn) == (name == "left" and "left1" or "right2"))
                """)
    }

    @Test func moduleDeclaringAPipeline_works() throws {
        try expect(
            ["m loaded", "1042"],
            """
            local m = require "lib.m"
            m.offset = 1000
            print(m.run(stream.values { 42 })[1])
            """,
            files: [
                "lib/m.lua": """
                local stream = require "stream"
                print("m loaded")
                local m = { offset = 0 }
                function m.run(source)
                  return stream.from(source):map("m", function(v) return v + require("lib.m").offset end):collect()
                end
                return m
                """
            ])
    }

    @Test func sharedUpvalue_isStillShared() throws {
        try expect(
            ["3 3", "0"],
            """
            local count = 0
            local function up() count = count + 1 end
            local function get() return count end
            local values = stream.from(stream.values { 1 }):map("shared", function()
              up() up() count = count + 1
              return { get(), count }
            end):collect()
            print(table.concat(values[1], " "))
            print(count)
            """, warning: "line 6: 'count'")
    }

    @Test func processAndFlush_shareTheirVariables() throws {
        try expect(
            ["6"],
            """
            local sum = 0
            stream.from(stream.range(1, 3)):map("sum", {
              process = function(v) sum = sum + v end, flush = function(emit) emit(sum) end,
            }):to(stream.stdout())
            """, warning: "line 4: 'sum'")
    }

    @Test func cyclesMetatablesAndRecursion_areCopied() throws {
        try expect(
            ["true\ttrue\t55\thello ann\ttrue\t7"],
            """
            local node = { name = "n" } node.self = node node.list = { node }
            local Person = {} Person.__index = Person
            function Person:greet() return "hello " .. self.name end
            local ann = setmetatable({ name = "ann" }, Person)
            local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
            local weak = setmetatable({ [node] = 7 }, { __mode = "k" })
            stream.from(stream.values { 1 }):map("copy", function()
              return table.concat({ tostring(node.self == node), tostring(node.list[1] == node), fib(10), ann:greet(),
                tostring(getmetatable(ann) == Person), weak[node] }, "\\t")
            end):to(stream.stdout())
            """)
    }

    @Test func changedLibraries_areChangedInTheWorker() throws {
        try expect(
            ["up:x\tmine\tx!\tnil\t5"],
            Self.one + """
                function string.upper(s) return "up:" .. s end
                math.mine = "mine"
                function string.shout(s) return s .. "!" end
                math.tointeger = nil
                five = 5
                print(one(function()
                  return ("x"):upper() .. "\\t" .. math.mine .. "\\t" .. ("x"):shout() .. "\\t"
                    .. tostring(math.tointeger) .. "\\t" .. five
                end))
                """)
    }

    @Test func capturedChannel_isShared() throws {
        try expect(
            ["1", "2", "done"],
            """
            local side = { c = stream.chan(0) }
            local p = stream.from(stream.range(1, 2)):each("tell", function(v) side.c:send(v) end)
              :to(stream.null_sink())
            stream.go(function() p:wait() side.c:close() end)
            for v in side.c:range() do print(v) end
            print("done")
            """)
    }

    @Test func eightWorkers_haveACopyEach() throws {
        try expect(
            ["400\ttrue\t0"],
            """
            local mine = 0
            local sum, most = 0, 0
            for _, v in ipairs(stream.from(stream.range(1, 400)):map("own", function(v)
              mine = mine + 1
              stream.sleep(0.0005)
              return mine
            end, { workers = 8 }):collect()) do sum = sum + 1 most = math.max(most, v) end
            print(sum, most <= 400 and most >= 50, mine)
            """, warning: "line 5: 'mine'")
    }

    @Test func topLevel_runsOnce() throws {
        try expect(
            ["top", "4"],
            """
            print("top")
            local n = 0
            n = n + 1
            print(#stream.from(stream.range(1, 4)):map("a", function(v) return v + n end, { workers = 3 })
              :map("b", function(v) return v end, { workers = 2 }):collect())
            """)
    }

    @Test func copyIsTakenAtTheStart() throws {
        try expect(
            ["late"],
            """
            local when = "early"
            local p = stream.from(stream.values { 1 }):map("when", function() return when end):to(stream.stdout())
            when = "late"
            p:wait()
            """)
    }

    /// What the script captures, and how the message calls it.
    static let staying: [(String, String)] = [
        ("local co = coroutine.create(print)", "'co', a coroutine"),
        ("local co = stream.go(function() end)", "'co', a task"),
        ("local co = stream.from(stream.range(1, 2)):to(stream.null_sink())", "'co', a pipeline"),
        ("local co = { deep = { coroutine.create(print) } }", "co"),
    ]

    @Test(arguments: staying.indices)
    func whatStaysBehind_isNamed(_ index: Int) throws {
        let (declaration, name) = Self.staying[index]
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            \(declaration)
            stream.from(stream.range(1, 2)):map("x", function(v) return co and v end):to(stream.null_sink())
            """)
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains("stage \"x\" captures \(name)") || index == 3, "\(outcome.errors)")
        #expect(outcome.errors.contains("which cannot leave its worker"), "\(outcome.errors)")
        #expect(outcome.errors.contains("script.lua:3"), "\(outcome.errors)")
    }
}

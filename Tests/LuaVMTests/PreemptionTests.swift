// SIGURG preempts whatever runs, without changing what it computes; a kill ends it.
import Testing

@testable import LuaVM

@Suite struct PreemptionTests {
    private static let programs: [String] = [
        """
        local t, seed = {}, 12345
        for i = 1, 4000 do seed = (seed * 1103515245 + 12345) % 2147483648 t[i] = seed end
        table.sort(t, function(a, b) return a < b end)
        local h = 0
        for i, v in ipairs(t) do h = (h * 31 + v + i) % 1000000007 end
        print(h)
        """,
        """
        local text = ("the quick brown fox %d "):rep(400)
        local n = 0
        text = text:gsub("%w+", function(w) n = n + #w return w:upper():reverse() end)
        for w in text:gmatch("%u+") do n = n + w:byte() end
        print(n, #text, text:sub(1, 20), text:gsub("%d", "x", 7))
        """,
        """
        local n, failed = 0, 0
        for i = 1, 20000 do
          local ok, e = pcall(function(x) if x % 7 == 0 then error({ x }) end return x end, i)
          if ok then n = n + e else failed = failed + e[1] end
        end
        print(n, failed, select(2, pcall(error, "m", 0)))
        """,
        """
        local V = {}
        V.__index = function(_, k) return k * 2 end
        V.__add = function(a, b) return setmetatable({ x = a.x + b.x }, V) end
        V.__eq = function(a, b) return a.x == b.x end
        V.__lt = function(a, b) return a.x < b.x end
        V.__len = function(a) return a.x end
        V.__call = function(self, y) return self.x + y end
        local a, n = setmetatable({ x = 0 }, V), 0
        for i = 1, 8000 do
          a = a + setmetatable({ x = i }, V)
          n = (n + a[i] + #a + a(i) + (a == a and 1 or 0) + (a < a and 5 or 0)) % 1000000007
        end
        print(n)
        """,
        """
        local function filter(p, g) return coroutine.wrap(function() for n in g do
          if n % p ~= 0 then coroutine.yield(n) end end end) end
        local g = coroutine.wrap(function() for i = 2, 400 do coroutine.yield(i) end end)
        local list = {}
        for i = 1, 30 do local p = g() list[i] = p g = filter(p, g) end
        print(table.concat(list, " "))
        """,
    ]

    @Test(arguments: programs.indices) func resultsUnderPreemption(_ index: Int) {
        let calm = TestState()
        #expect(calm.run(Self.programs[index]) == .returned)
        #expect(calm.preemptions == 0)
        var preemptions = 0
        var rounds = 0
        let interrupter = Interrupter(every: 100)
        while preemptions < 1000 && rounds < 400 {
            rounds += 1
            let state = TestState()
            #expect(state.run(Self.programs[index]) == .returned)
            #expect(state.lines == calm.lines)
            preemptions += state.preemptions
        }
        interrupter.stop()
        #expect(preemptions >= 100, "\(preemptions) in \(rounds) rounds")
    }

    @Test func aLoopIsPreempted() {
        let state = TestState()
        let interrupter = Interrupter(every: 1000)
        #expect(state.run("while true do end", limit: 5) == .endless)
        #expect(state.run("while true do pcall(function() while true do end end) end", limit: 5) == .endless)
        interrupter.stop()
        #expect(state.preemptions == 5)
    }

    @Test(arguments: [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() while true do pcall(f) end end f()",
        "while true do pcall(table.sort, { 3, 2, 1 }, function() while true do pcall(error) end end) end",
        "local t = setmetatable({}, { __index = function() while true do end end }) "
            + "while true do pcall(function() return t.x end) end",
        "coroutine.wrap(function() while true do coroutine.wrap(function() while true do end end)() end end)()",
        "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "for x in function() while true do end end do end",
        "do local t <close> = setmetatable({}, { __close = function() while true do end end }) end",
        "while true do load(function() while true do end end) end",
    ]) func killEnds(_ program: String) {
        let state = TestState()
        nonisolated(unsafe) let vm = state.vm!  // `kill` may come from any thread
        let interrupter = Interrupter(after: 3000, every: 1000) { vm.kill() }
        let end = state.run(program, limit: 1_000_000)
        interrupter.stop()
        #expect(end == .stopped)
    }

    /// Where Lua cannot leave a C function, the stop unwinds as an error that nothing below catches.
    @Test(arguments: [
        "table.concat(setmetatable({}, { __index = function() kill() while true do end end }), '', 1, 2)",
        "local a = setmetatable({}, { __lt = function() kill() while true do end end }) table.sort { a, a, a }",
        "while true do tostring(setmetatable({}, { __tostring = function() kill() while true do end end })) end",
    ]) func killUnwinds(_ program: String) {
        #expect(TestState().run(program, limit: 1_000_000) == .raised("stopped"))
    }

    @Test func killFromInside() {
        #expect(TestState().run("kill() while true do end") == .stopped)
        #expect(TestState().run("pcall(function() kill() while true do end end) while true do end") == .stopped)
    }
}

// Library functions that would run for very long, or build what nobody can hold, are stopped or refused.
import Testing

@testable import LuaVM

@Suite struct BoundedKillTests {
    /// Each runs for ever, or for longer than any test.
    static let endless = [
        #"("a"):rep(30000):find(("a-"):rep(20) .. "b")"#, #"("a"):rep(30000):match(("a*"):rep(20) .. "b")"#,
        #"("a"):rep(30000):gsub(("a?"):rep(20) .. "b", "")"#, #"for _ in ("a"):rep(30000):gmatch(".-.-.-b") do end"#,
        #"while true do pcall(string.find, ("a"):rep(30000), ("a-"):rep(20) .. "b") end"#,
        #"local s = ("("):rep(1e6) while true do s:find("%b()") end"#,
        #"local p = "[" .. ("%a"):rep(5e5) .. "]*x" while true do ("b"):rep(1000):find(p) end"#,
        #"local s = ("a"):rep(1e6) while true do s:match("(.*)%1b") end"#,
        #"local s = ("a"):rep(1e6) .. "c" while true do s:find(("a"):rep(5e5) .. "b", 1, true) end"#,
        #"while true do pcall(string.gsub, ("a"):rep(1e5), "", "-") end"#,
        #"while true do pcall(string.gsub, ("a"):rep(1e5), "^", "-") end"#,
        #"while true do pcall(string.gsub, ("a"):rep(1e5), ".", string.upper) end"#,
        #"while true do pcall(string.rep, "", 1 << 62) end"#,
        #"while true do pcall(string.format, "%99999s", "x") end"#,
        #"local f = ("%%"):rep(1e6) while true do string.format(f) end"#,
        #"while true do ("x"):rep(1e6):upper():lower():reverse() end"#,
        "table.move({}, 1, 1e12, 2)", "while true do pcall(table.move, {}, 1, 1e12, 2) end",
        "table.insert(setmetatable({}, { __len = function() return 10 ^ 15 // 1 | 0 end }), 1, 'x')",
        "table.remove(setmetatable({}, { __len = function() return 10 ^ 15 // 1 | 0 end }), 1)",
        "while true do pcall(table.unpack, {}, 1, 9e5) end", "while true do pcall(table.unpack, {}, 1, 1e7) end",
        "local t = {} for i = 1, 1e5 do t[i] = i end table.sort(t, function() while true do end end)",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do pcall(table.sort, t, function() return true end) end",
        "while true do local t = {} for i = 1, 1e5 do t[i] = -i end table.sort(t) end",
        "while true do local t = {} for i = 1, 1e5 do t[i] = 'xxxxxxxxxx' end table.concat(t, ', ') end",
        "('x'):gsub('x', function() while true do end end)",
        #"local p = "[" .. ("\0-\254"):rep(3e5) .. "]*\255" while true do ("b"):rep(1000):find(p) end"#,
        #"local s = ("1"):rep(1e6) while true do tonumber(s, 7) end"#,
        #"local s = ("x = 1 "):rep(1e5) while true do pcall(load, s) end"#,
        #"local s = ("i4 "):rep(5e5) while true do pcall(string.packsize, s) end"#,
    ]

    @Test(arguments: endless) func killEnds(_ program: String) {
        let state = TestState()
        nonisolated(unsafe) let vm = state.vm!  // `kill` may come from any thread
        let interrupter = Interrupter(after: 5000, every: 1000) { vm.kill() }
        let end = state.run(program)
        interrupter.stop()
        #expect(end == .stopped)
    }

    /// A metamethod that a C function calls cannot be left: the kill unwinds it.
    @Test(arguments: [
        "table.concat(setmetatable({}, { __index = function() return '' end }), '', 1, 10 ^ 15 // 1 | 0)",
        "table.sort(setmetatable({}, { __len = function() return 2 ^ 31 - 10 | 0 end, "
            + "__index = function(_, i) return -i end, __newindex = function() end }))",
    ]) func killUnwinds(_ program: String) {
        let state = TestState()
        nonisolated(unsafe) let vm = state.vm!
        let interrupter = Interrupter(after: 5000, every: 1000) { vm.kill() }
        let end = state.run(program)
        interrupter.stop()
        #expect(end == .stopped || end == .raised("stopped"))
    }

    /// Refused before it is built; or the worker is over its limit before that, with what it needs to build it.
    @Test(arguments: [
        #"("x"):rep(1e9, ("y"):rep(1e6))"#, #"("x"):rep(2e6)"#, #"("x"):rep(1e5):rep(20)"#,
        #"("x"):rep(1e5):gsub(".", ("%0"):rep(100))"#, #"string.format(("%s"):rep(20), table.unpack(many(20)))"#,
        "table.concat(many(20))", #"("x"):rep(1e5):gsub("x", function() return ("y"):rep(1e3) end)"#,
    ]) func whatIsLargerThanTheLimit(_ code: String) {
        let state = TestState(memoryLimit: 1 << 20)
        let end = state.run(
            """
            function many(n) local t, s = {}, ("x"):rep(1e5) for i = 1, n do t[i] = s end return t end
            local ok, problem = pcall(function() return \(code) end)
            print(ok, (problem:gsub("^t:%d+: ", "")))
            """)
        if end == .returned {
            #expect(state.lines == ["false\tresulting string too large"])
        } else {
            #expect(end == .stopped && state.vm.over == .memory)
        }
        #expect(state.vm.memory.peak < 4 << 20)
    }

    @Test func whatIsKnownBeforeItIsBuilt() {
        let state = TestState(memoryLimit: 1 << 20)
        let end = state.run(
            """
            for _, n in ipairs { 2e6, 1e9 } do print(pcall(string.rep, "x", n)) end
            print(pcall(string.rep, "x", 1e4, ("y"):rep(1e4)))
            print(pcall(string.pack, "c100000000", "x"))
            """)
        #expect(end == .returned)
        #expect(state.lines == Array(repeating: "false\tresulting string too large", count: 4))
        #expect(state.vm.memory.peak < 200_000)
    }

    /// Lua goes through a format without an end to its patience, so there is a longest one.
    @Test func formatsOfPackAsLongAsMayBe() {
        let state = TestState()
        let end = state.run(
            """
            local longest = (" "):rep(2 << 20)
            print(string.packsize(longest), #string.pack(longest), (string.unpack(longest, "")))
            for _, name in ipairs { "pack", "packsize", "unpack" } do print(pcall(string[name], longest .. "b", "x")) end
            """)
        #expect(end == .returned)
        #expect(state.lines.first == "0\t0\t1" && state.lines.count == 4)
        for line in state.lines.dropFirst() {
            #expect(
                line.hasPrefix("false\tbad argument #1 to ") && line.hasSuffix("(format longer than 2097152 bytes)"))
        }
    }

    /// A set is the same however often and in whatever order its classes and ranges are named.
    @Test(arguments: ["%a", "%d%a", "\\0-\\63", "a-z0-9", "\\64-\\191", "z-a", "%x\\200-\\255", "^%s\\1-\\31"])
    func setsOfMany(_ members: String) {
        let state = TestState()
        let end = state.run(
            """
            local all = {}
            for i = 0, 255 do all[#all + 1] = string.char(i) end
            all = table.concat(all):rep(3)
            local head, rest = ("\(members)"):match("^(%^?)(.*)$")
            local wanted = {}
            for c in all:gmatch(".") do if c:find("[" .. head .. rest .. "]") then wanted[#wanted + 1] = c end end
            local got = {}
            for c in all:gmatch("[" .. head .. rest:rep(40) .. "]") do got[#got + 1] = c end
            print(table.concat(got) == table.concat(wanted), #got)
            """)
        #expect(end == .returned)
        #expect(state.lines.first?.hasPrefix("true\t") == true)
    }

    @Test func withoutALimitLuasOwnBoundsHold() {
        let end = TestState().run(
            #"""
            for _, n in ipairs { 1 << 31, 1 << 40, 1 << 62, math.maxinteger } do
              local ok, problem = pcall(string.rep, "xy", n)
              assert(not ok and problem == "resulting string too large")
              assert(("").rep("", n) == "")
            end
            local ok, problem = pcall(table.unpack, {}, 1, 1e8)
            assert(not ok and problem == "too many results to unpack")
            """#)
        #expect(end == .returned)
    }

    /// A canceled script gets the error in the middle of a C function, once.
    @Test func cancelRaises() {
        let state = TestState()
        nonisolated(unsafe) let vm = state.vm!
        let interrupter = Interrupter(after: 5000, every: 1000) { vm.cancelRunning() }
        let end = state.run(
            #"""
            local ok, problem = pcall(string.find, ("a"):rep(30000), ("a-"):rep(20) .. "b")
            print(ok, problem)
            print(("abc"):find("c"))
            """#)
        interrupter.stop()
        #expect(end == .returned)
        #expect(state.lines == ["false\tcanceled", "3\t3"])
    }

    /// The compiler's own failures are returned; the script's end is raised, also there.
    @Test func cancelRaisesWhileCompiling() {
        let state = TestState()
        nonisolated(unsafe) let vm = state.vm!
        let interrupter = Interrupter(after: 5000, every: 1000) { vm.cancelRunning() }
        let end = state.run(
            """
            local source = ("x = 1 "):rep(170000)
            local ok, problem
            local function compile()
              while true do
                local f, why = load(source)
                if not f then print("returned", why) end
              end
            end
            repeat ok, problem = pcall(compile) until not ok
            print(ok, problem)
            """)
        interrupter.stop()
        #expect(end == .returned || end == .raised("canceled"))
        if end == .returned { #expect(state.lines == ["false\tcanceled"]) }
    }

    /// A text is compiled in pieces: where they meet changes nothing.
    @Test func textsOfManyPieces() {
        let state = TestState()
        let end = state.run(
            """
            for n = 32760, 32776 do
              local source = "local a = '" .. ("x"):rep(n) .. "' return #a, a == ('x'):rep(" .. n .. ")"
              local length, same = load(source)()
              assert(length == n and same)
              local f, problem = load(("\\n"):rep(n) .. "x = = 1", "=t")
              assert(f == nil and problem == "t:" .. n + 1 .. ": unexpected symbol near '='")
            end
            print "all"
            """)
        #expect(end == .returned)
        #expect(state.lines == ["all"])
    }

    @Test func waitsInComparatorAndCallback() {
        let state = TestState()
        let end = state.run(
            """
            local t = { 5, 2, 9, 1, 7, 3, 8 }
            table.sort(t, function(a, b) assert(wait() == 42) return a < b end)
            print(table.concat(t, " "))
            print(("a-b-c"):gsub("%a", function(x) return x .. wait() end))
            print(("aaa"):gsub("^a", function(x) wait() return "b" end))
            print(("abc"):gsub("", function() wait() return "." end))
            print(("abc"):gsub("%w", function(x) wait() if x == "b" then return false end return x:upper() end, 2))
            print(pcall(string.gsub, "abc", ".", function() wait() error("inside", 0) end))
            print(pcall(table.sort, { 2, 1, 3 }, function() wait() error("order", 0) end))
            print(pcall(string.gsub, "abc", ".", function() wait() return {} end))
            print(coroutine.wrap(function()
              return ("ab"):gsub(".", function(c) return coroutine.yield(c) end)
            end)())
            """)
        #expect(end == .returned)
        #expect(
            state.lines == [
                "1 2 3 5 7 8 9", "a42-b42-c42\t3", "baa\t1", ".a.b.c.\t4", "Abc\t2", "false\tinside", "false\torder",
                "false\tinvalid replacement value (a table)", "a",
            ])
        #expect(state.waits > 20)
    }
}

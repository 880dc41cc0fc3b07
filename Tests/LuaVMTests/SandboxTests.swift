// What scripts find, and what they do not.
import Testing

@testable import LuaVM

@Suite struct SandboxTests {
    /// Everything that a script reaches from its globals without our tests' own functions.
    static let reachable = """
        _G _VERSION assert collectgarbage coroutine coroutine.create coroutine.isyieldable coroutine.resume \
        coroutine.running coroutine.status coroutine.wrap coroutine.yield error getmetatable ipairs load math math.abs \
        math.acos math.asin math.atan math.ceil math.cos math.deg math.exp math.floor math.fmod math.huge math.log \
        math.max math.maxinteger math.min math.mininteger math.modf math.pi math.rad math.random math.randomseed \
        math.sin math.sqrt math.tan math.tointeger math.type math.ult next os os.clock os.date os.time pairs pcall \
        print rawequal rawget rawlen rawset require select setmetatable string string.byte string.char string.find \
        string.format string.gmatch string.gsub string.len string.lower string.match string.pack string.packsize \
        string.rep string.reverse string.sub string.unpack string.upper table table.concat table.insert table.move \
        table.pack table.remove table.sort table.unpack tonumber tostring type utf8 utf8.char utf8.charpattern \
        utf8.codepoint utf8.codes utf8.len utf8.offset warn xpcall
        """

    @Test func reachableGlobals() {
        let state = TestState()
        let own = (TestState.functions.map(\.0) + ["null"]).map { "\"\($0)\"" }.joined(separator: ", ")
        let end = state.run(
            """
            local list, seen = {}, {}
            for _, name in ipairs({ \(own) }) do _G[name] = nil end
            local function walk(path, table)
              if seen[table] then return end
              seen[table] = true
              for name, value in pairs(table) do
                list[#list + 1] = path .. name
                if type(value) == "table" then walk(path .. name .. ".", value) end
                local meta = getmetatable(value)
                assert(meta == nil or meta == false, name)
              end
            end
            walk("", _G)
            table.sort(list)
            print(table.concat(list, " "))
            """)
        #expect(end == .returned)
        #expect(state.lines == [Self.reachable])
    }

    @Test(arguments: [
        ("setmetatable({}, { __gc = 1 })", "'__gc' is not supported: a finalizer cannot be interrupted"),
        (
            "setmetatable({}, { __concat = print })",
            "'__concat' is not supported: Lua 5.4.4 can corrupt memory when it calls one"
        ),
        ("setmetatable(setmetatable({}, { __metatable = 1 }), {})", "cannot change a protected metatable"),
        ("setmetatable({})", "nil or table expected"),
        ("collectgarbage('stop')", "only 'count' and 'collect' are"),
        ("collectgarbage('generational')", "only 'count' and 'collect' are"),
        ("math.random(2, 1)", "interval is empty"),
        ("require('x/y')", "is not a module name"), ("require('../x')", "is not a module name"),
        ("require('a..b')", "is not a module name"), ("require('')", "is not a module name"),
        ("require('none')", "module 'none' not found"),
        ("warn(print)", "bad argument #1 to 'warn'"),
        ("os.time({})", "field 'year' missing in date table"), ("os.exit(1)", "field 'exit'"),
        ("io.open('/etc/passwd')", "global 'io'"), ("debug.getinfo(1)", "global 'debug'"),
        ("package.loadlib()", "global 'package'"), ("dofile('x')", "global 'dofile'"),
        ("loadfile('x')", "global 'loadfile'"), ("string.dump(print)", "field 'dump'"),
        ("getmetatable('').__index = 1", "attempt to index a boolean value"),
    ]) func refused(_ code: String, _ problem: String) {
        guard case .raised(let message) = TestState().run(code) else { Issue.record("\(code) is allowed"); return }
        #expect(message.contains(problem), "\(message)")
    }

    @Test func loading() {
        let end = TestState().run(
            #"""
            local function refused(want, ...)
              local f, message = load(...)
              assert(f == nil and message:find(want, 1, true), message)
            end
            refused("attempt to load a binary chunk", "\27Lua")
            refused("attempt to load a binary chunk", "\27LuaT\0", "x", "t")
            refused("only text, 't', can be loaded", "x = 1", "x", "b")
            refused("a chunk is at most", ("x"):rep(2 ^ 20 + 1))
            refused("reader function must return a string", function() return {} end)
            refused("rd", function() error("rd", 0) end)
            refused("a chunk is at most", function() return "aaaaaaaaaaaaaaaa " end)
            assert(load("return ...", "n")(3) == 3 and load("return 1", nil, "bt")() == 1)
            assert(load("y = 5 return y", "c", "t", {})() == 5 and y == nil)
            assert(getmetatable("") == false and ("x"):upper() == "X" and "10" + 1 == 11)
            assert(os.clock() == 1.5 and os.time() == 86400 and os.date("!%Y-%m-%d") == "1970-01-02")
            """#)
        #expect(end == .returned)
    }

    @Test func protectedCallsThatWait() {
        let end = TestState().run(
            """
            local a, b, c = xpcall(function(...) assert(wait() == 42) return ... end, print, 1, 2)
            assert(a and b == 1 and c == 2)
            a, b, c = xpcall(function() wait() error({ 7 }) end, function(e) wait() return e[1], 9 end)
            assert(a == false and b == 7 and c == nil)
            a, b = xpcall(error, function() error("again", 0) end, 5)
            assert(a == false and b == "again")
            a, b = pcall(function() wait() error("e", 0) end)
            assert(not a and b == "e")
            a, b = pcall(tostring, setmetatable({}, { __tostring = function() wait() return "" end }))
            assert(not a and b:find("cannot wait here"))
            """)
        #expect(end == .returned)
    }
}

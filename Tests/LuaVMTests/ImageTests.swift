// Images: a worker starts as a copy of what its function reaches.
import Testing

@testable import LuaVM

@Suite struct ImageTests {
    /// Runs `setup`, which sets the global `roots` to a list; checks in each of two copies, which get them as `...`.
    private func run(_ setup: String, _ check: String) -> String {
        let state = TestState()
        let setupEnd = state.run("ROOTS = table.pack((function() \(setup) end)())")
        guard setupEnd == .returned else { return "setup: \(setupEnd)" }
        let stack = state.vm.main, top = stack.top
        state.vm.pushGlobals()
        stack.getField(top + 1, "ROOTS")
        stack.getField(top + 2, "n")
        let count = Int32(stack.integer(-1)!)
        stack.pop()
        stack.pushNil()
        stack.setField(top + 1, "ROOTS")
        for index in 1...count { stack.getIndex(top + 2, Int64(index)) }
        let before = state.shared.pointee.balance
        var result = "ok"
        switch state.vm.image(stack, count: count) {
        case .failure(let problem): result = problem.description
        case .success(let image):
            for seed in 1...2 where result == "ok" { result = checkCopy(image, count, check, UInt64(seed)) }
        }
        #expect(stack.top == top + 2 + count)
        #expect(state.shared.pointee.balance == before)
        state.drop()
        #expect(state.shared.pointee.balance == 0)
        return result
    }

    private func checkCopy(_ image: LuaImage, _ count: Int32, _ check: String, _ seed: UInt64) -> String {
        let copy = TestState(seed: seed)
        if let problem = copy.vm.restore(image) { return "restore: \(problem)" }
        let stack = copy.vm.main
        guard stack.top == count else { return "\(stack.top) roots" }
        let source = Array(check.utf8)
        if let problem = source.withUnsafeBytes({ copy.vm.load($0, name: "=check") }) { return problem }
        let (task, _) = copy.vm.makeTask()!
        stack.move(1, to: task)
        stack.move(count, to: task)
        switch copy.vm.resume(task, arguments: count) {
        case .returned: return "ok"
        case .raised: return task.describe(-1, limit: 2000)
        default: return "neither returned nor raised"
        }
    }

    @Test(arguments: [
        (
            "local n = 5 return function() n = n + 1 return n end, function() return n end",
            "local inc, get = ... inc() assert(get() == 6) inc() assert(get() == 7)"
        ),
        (
            "local t = {} for i = 1, 3 do t[i] = function() i = i + 1 return i end end return t",
            "local t = ... assert(t[1]() == 2 and t[1]() == 3 and t[2]() == 3 and t[3]() == 4)"
        ),
        (
            "local odd local function even(n) if n == 0 then return true end return odd(n - 1) end "
                + "function odd(n) if n == 0 then return false end return even(n - 1) end return even, odd",
            "local e, o = ... assert(e(10) and o(7) and not e(3))"
        ),
        (
            "local t = {} t.me = t t[t] = 'key' return function() return t end",
            "local t = (...)() assert(t.me == t and t[t] == 'key')"
        ),
        (
            "local C = {} C.__index = C function C:name() return self.n end local o = setmetatable({ n = 'x' }, C) "
                + "return function() return o:name(), getmetatable(o) == C end",
            "local a, b = (...)() assert(a == 'x' and b)"
        ),
        (
            "local old = string.upper string.upper = function(s) return '<' .. old(s) .. '>' end "
                + "function string.trim(s) return (s:gsub('^%s+', '')) end math.pi = 3 "
                + "return function(s) return s:trim():upper() end",
            "assert((...)('  a') == '<A>' and math.pi == 3)"
        ),
        ("string.rep = nil return 1", "assert(string.rep == nil and string.sub)"),
        (
            "local s, f, p, g, E = string, string.format, print, _G, _ENV return function() return s, f, p, g, E end",
            "local s, f, p, g, E = (...)() "
                + "assert(s == string and f == string.format and p == print and g == _G and E == _G)"
        ),
        (
            "local function mk(_ENV) return function() x = (x or 0) + 1 return x end end return mk({ x = 4 })",
            "assert((...)() == 5 and x == nil)"
        ),
        (
            "local c = shared() local t = { c, c } return function() return c:ping(), t[1] == c and t[2] == c end",
            "local n, same = (...)() assert(n == 77 and same)"
        ),
        ("local p = wait return function() return p end", "assert((...)() == wait)"),
        (
            "local t = { 1, 2.0, 'a', true, false, x = -0.0, [2^53] = math.mininteger, [true] = math.huge, "
                + "long = ('ab'):rep(5000), e = '', z = '\\0a', nan = 0/0 } return t",
            "local t = ... assert(math.type(t[1]) == 'integer' and math.type(t[2]) == 'float' and t[5] == false "
                + "and 1 / t.x == -math.huge and t[2^53] == math.mininteger and t[true] == math.huge "
                + "and t.long == ('ab'):rep(5000) and t.e == '' and t.z == '\\0a' and t.nan ~= t.nan)"
        ),
        ("return array({}), {}", "local a, b = ... assert(is_array(a) and not is_array(b))"),
        ("return { 1, nil, 3 }, { nil, nil, 3 }", "local a, b = ... assert(a[3] == 3 and b[3] == 3)"),
        ("function g() return v end v = { 1 } return 1", "assert(g() == v and v[1] == 1)"),
        ("local co = coroutine.create(print) function g() return co end return 1", "assert(g() == nil)"),
        (
            "local l for i = 1, 100000 do l = { next = l } end return function() return l end",
            "local l, n = (...)(), 0 while l do n = n + 1 l = l.next end assert(n == 100000)"
        ),
        ("local k = {} return setmetatable({ [k] = 1 }, { __mode = 'k' }), k", "local w, k = ... assert(w[k] == 1)"),
    ]) func copies(_ setup: String, _ check: String) { #expect(run(setup, check) == "ok") }

    @Test(arguments: [
        (
            "local reader = coroutine.create(print) return function() return reader end",
            "captures 'reader', a coroutine, which cannot leave its worker"
        ),
        (
            "local conf = { a = { list = { 1, 2, coroutine.create(print) } } } return function() return conf end",
            "captures 'conf.a.list[3]', a coroutine, which cannot leave its worker"
        ),
        (
            "local r = own() local conf = { ['a b'] = { x = r } } return function() return conf end",
            "captures 'conf[\"a b\"].x', a reader, which cannot leave its worker"
        ),
        (
            "local it = ('a b'):gmatch('%a') return function() return it() end",
            "captures 'it', an iterator, which cannot leave its worker"
        ),
        (
            "local it = coroutine.wrap(print) return function() return it() end",
            "captures 'it', an iterator, which cannot leave its worker"
        ),
        (
            "local o = setmetatable({}, { __index = { co = coroutine.create(print) } }) return function() return o end",
            "captures 'o.metatable.__index.co', a coroutine, which cannot leave its worker"
        ),
    ]) func whatCannotLeave(_ setup: String, _ problem: String) { #expect(run(setup, "") == problem) }

    @Test func whatStayedInItsWorker() {
        let problem = run("reader = coroutine.create(print) return 1", "assert(other == nil)\nlocal x = reader")
        #expect(problem == "check:2: global 'reader' is a coroutine, which stayed in its worker")
    }
}

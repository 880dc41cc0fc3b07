// Values to messages and back.
import Testing

@testable import LuaVM

/// same(a, b): equal to the type, the bit and the mark, whatever the order of keys.
private let same = #"""
    local function same(a, b)
      if type(a) ~= type(b) then return false end
      if type(a) == "number" then
        if math.type(a) ~= math.type(b) then return false end
        return string.pack("n", a) == string.pack("n", b) and (a == b or a ~= a)
      end
      if type(a) ~= "table" then return a == b end
      if is_array(a) ~= is_array(b) then return false end
      for k, v in pairs(a) do if not same(v, rawget(b, k)) then return false end end
      for k in pairs(b) do
        if a[k] == nil then return false end
        for l in pairs(a) do if l == k and math.type(l) ~= math.type(k) then return false end end
      end
      return true
    end

    """#

@Suite struct CodecTests {
    @Test(arguments: [
        "0", "-1", "math.maxinteger", "math.mininteger", "0.0", "-0.0", "1/0", "-1/0", "0/0", "3.0", "5e-324", "2^53",
        "true", "false", "null", "''", #"'a\0b'"#, "('x'):rep(100000)", "{}", "array({})", "array({ array({}), {} })",
        "{ 1, 2.0, 'a', true, false, null }", "{ 1, nil, 3 }", "{ nil, nil, 3 }", "{ n = 3, 1, 2 }",
        "{ [0] = 'zero', [-1] = 'minus', [1.5] = 'half', [true] = 1, [false] = 0, x = { y = { z = -0.0 } } }",
        "{ [1 << 40] = 'far', [math.mininteger] = 'least', [1e300] = 'large', [''] = 'empty' }",
        "(function() local t = {} for i = 0, 255 do t[i + 1] = string.char(i) end return table.concat(t) end)()",
        "(function() local t = {} for i = 1, 199 do t = { t } end return t end)()",
        "(function() local t = {} for i = 0, 60 do t[1 << i] = i end return t end)()",
    ]) func roundTrip(_ value: String) {
        let program = same + "local v = \(value)\nlocal w = copy(v)\nassert(same(v, w), 'differs')"
        #expect(TestState().run(program) == .returned)
    }

    @Test func whatIsLeftBehind() {
        let end = TestState().run(
            """
            local inner = { 1 }
            local t = copy(setmetatable({ a = inner, b = inner }, { __index = error, __pairs = error, __len = error }))
            assert(getmetatable(t) == nil and t.a ~= t.b and t.a[1] == 1)
            assert(copy(shared()) == shared() and copy({ x = { shared() } }).x[1]:ping() == 77)
            """)
        #expect(end == .returned)
    }

    @Test(arguments: [
        ("nil", "cannot send value: nil is no value"),
        ("{ callback = print }", "cannot send value.callback: a function stays in the worker that made it"),
        (
            "{ a = { b = coroutine.create(print) } }",
            "cannot send value.a.b: a coroutine stays in the worker that made it"
        ),
        ("(function() local t = { a = {} } t.a.back = t return t end)()", "cannot send value.a.back: a cycle"),
        ("(function() local t = {} t[1] = t return t end)()", "cannot send value[1]: a cycle"),
        ("{ 1, { print } }", "cannot send value[2][1]: a function stays in the worker that made it"),
        (
            "{ ['odd key'] = { [1.5] = print } }",
            "cannot send value[\"odd key\"][1.5]: a function stays in the worker that made it"
        ),
        ("own()", "cannot send value: a reader stays in the worker that made it"),
        ("{ r = own(), c = shared() }", "cannot send value.r: a reader stays in the worker that made it"),
    ]) func whatCannotBeSent(_ value: String, _ problem: String) {
        let state = TestState()
        #expect(state.run("copy(\(value))") == .raised(problem))
        state.drop()
        #expect(state.shared.pointee.balance == 0)
    }

    @Test(arguments: ["{ [print] = 1 }", "{ [{}] = 1 }", "{ [shared()] = 1 }"])
    func keysThatCannotBeSent(_ value: String) {
        guard case .raised(let problem) = TestState().run("copy(\(value))") else { Issue.record("sent"); return }
        #expect(problem.hasPrefix("cannot send value"), "\(problem)")
    }

    @Test func nestedTooDeep() {
        let end = TestState().run("local t = {} for i = 1, 200 do t = { a = t } end copy(t)")
        guard case .raised(let problem) = end else { Issue.record("\(end)"); return }
        #expect(problem.hasPrefix("cannot send value.a.a.a"))
        #expect(problem.hasSuffix(": nested deeper than 200"))
    }

    @Test(arguments: 1...40) func randomValues(_ seed: Int) {
        let program =
            same + """
                local random = math.random
                local makers = {
                  function() return random(0) end, function() return random(-5, 5) end, function() return random() end,
                  function() return random(-5, 5) * 1.0 end, function() return random(2) == 1 end,
                  function() return null end, function() return string.pack("j", random(0)):rep(random(0, 5)) end,
                  function() return shared() end,
                }
                local keys = {
                  function(i) return i end, function(i) return "k" .. i end, function() return random(-9, 9) end,
                  function() return random() end, function() return random(2) == 1 end,
                  function() return string.char(random(0, 255)) end,
                }
                local function make(depth)
                  if depth == 0 or random(3) == 1 then return makers[random(#makers)]() end
                  local t = {}
                  if random(5) == 1 then
                    for i = 1, random(0, 6) do t[i] = make(depth - 1) end
                    return array(t)
                  end
                  for i = 1, random(0, 9) do t[keys[random(#keys)](i)] = make(depth - 1) end
                  return t
                end
                for i = 1, 60 do
                  local v = make(5)
                  assert(same(v, copy(v)), i)
                end
                """
        let state = TestState(seed: UInt64(seed))
        #expect(state.run(program) == .returned)
        state.drop()
        #expect(state.shared.pointee.balance == 0)
    }
}

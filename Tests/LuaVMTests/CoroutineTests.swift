// Coroutines of the script, with host waits and preemption inside them.
import Testing

@testable import LuaVM

@Suite struct CoroutineTests {
    @Test(arguments: [
        """
        local function gen(n)
          return coroutine.wrap(function()
            for i = 1, n do
              if i % 3 == 0 then assert(wait() == 42) end
              preempt()
              coroutine.yield(i, i * 2)
            end
            return "end"
          end)
        end
        for round = 1, 50 do
          local g = gen(10)
          for i = 1, 10 do local a, b = g() assert(a == i and b == 2 * i) end
          assert(g() == "end")
          local ok, m = pcall(g)
          assert(not ok and m:find "cannot resume dead coroutine", m)
        end
        """,
        """
        local c = coroutine.create(function(a, ...)
          local b = coroutine.yield(a, ...)
          local d = coroutine.create(function(x)
            preempt()
            local w = wait()
            preempt()
            local y = coroutine.yield(x + w)
            error({ y })
          end)
          local ok, v = coroutine.resume(d, 1)
          assert(ok and v == 43)
          local ok2, e = coroutine.resume(d, 8)
          assert(not ok2 and e[1] == 8 and coroutine.status(d) == "dead")
          return b
        end)
        assert(coroutine.status(c) == "suspended")
        local ok, x, y = coroutine.resume(c, 1, 2)
        assert(ok and x == 1 and y == 2 and coroutine.status(c) == "suspended")
        ok, x = coroutine.resume(c, "b")
        assert(ok and x == "b" and coroutine.status(c) == "dead", x)
        ok, x = coroutine.resume(c)
        assert(not ok and x == "cannot resume dead coroutine")
        """,
        """
        local me, main = coroutine.running()
        assert(main and coroutine.status(me) == "running" and not coroutine.isyieldable())
        local ok, x = coroutine.resume(me)
        assert(not ok and x == "cannot resume non-suspended coroutine")
        ok, x = pcall(coroutine.yield, 1)
        assert(not ok and x == "attempt to yield from outside a coroutine", x)
        coroutine.wrap(function()
          local s, m = coroutine.running()
          assert(not m and coroutine.isyieldable() and coroutine.status(me) == "normal" and not coroutine.resume(me))
        end)()
        assert(coroutine.wrap(function()
          return pcall(function() preempt() wait() coroutine.yield(1) end)
        end)() == 1)
        ok, x = pcall(coroutine.wrap(function() error("oops") end))
        assert(x:find("oops"), x)
        assert(coroutine.close == nil)
        """,
        """
        local t = {}
        for i = 1, 60 do t[i] = (i * 37) % 61 end
        table.sort(t, function(a, b)
          local g = coroutine.wrap(function()
            preempt()
            local n = 0
            for i = 1, 30 do n = n + i end
            assert(n == 465)
            coroutine.yield(1)
            local o, m = pcall(wait)
            assert(o and m == 42)
            return 2
          end)
          assert(g() == 1 and g() == 2)
          return a < b
        end)
        for i = 2, 60 do assert(t[i - 1] < t[i]) end
        assert(wait() == 42)
        """,
        """
        local Number = {}
        function Number.__lt(a, b)
          local o, m = pcall(coroutine.wrap(function() preempt() wait() end))
          assert(not o and m:find "cannot wait here")
          return a.n < b.n
        end
        local t = {}
        for i = 1, 20 do t[i] = setmetatable({ n = (i * 7) % 23 }, Number) end
        table.sort(t) -- without a comparison function: the metamethod is called by C code
        for i = 2, 20 do assert(t[i - 1].n < t[i].n) end
        assert(wait() == 42)
        """,
        """
        local function deep(n)
          if n == 0 then preempt() return wait() end
          return coroutine.wrap(deep)(n - 1)
        end
        assert(deep(40) == 42)
        local function over() return coroutine.wrap(over)() end
        local ok, x = pcall(over)
        assert(not ok and x:find "C stack overflow", x)
        assert(wait() == 42)
        for v in coroutine.wrap(function()
          for i = 1, 3 do
            local z <close> = setmetatable({}, { __close = function() wait() end })
            coroutine.yield(i)
          end
        end) do preempt() end
        """,
        """
        local inner = coroutine.create(function() wait() return 1 end)
        local ok, v = coroutine.resume(coroutine.create(function() return coroutine.resume(inner) end))
        assert(ok and v == true)
        assert(coroutine.status(inner) == "dead")
        """,
    ]) func program(_ text: String) { #expect(TestState().run(text, limit: 100_000) == .returned) }
}

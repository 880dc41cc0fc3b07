// Scripts of contexts.
private let head = "local stream = require 'stream'\n"

extension Families {
    package static let contextCases: [SeededCase] = [
        SeededCase(
            name: "each wait ends with its context, and nothing is lost",
            script: head + """
                local ctx = stream.context():with_cancel()
                local full, empty, never = stream.chan(1), stream.chan(0), stream.worker("n", function() stream.sleep(1e6) end)
                full:send(0)
                local other = stream.go(function() stream.sleep(50) end)
                local waits = {
                  function() return full:send(1) end, function() return empty:recv() end,
                  function() return stream.sleep(100) end, function() return other:wait() end,
                  function() return stream.select { { recv = empty }, { send = full, value = 2 } } end,
                  function() for _ in empty:range() do end return nil, stream.context():err() end,
                  function() return never:start():wait() end,
                  function() local g = stream.group() g:go(stream.sleep, 60) return g:wait() end,
                }
                local got = stream.chan(#waits)
                for i, fn in ipairs(waits) do
                  stream.go(function() ctx:run(function() local ok, why = fn() got:send(tostring(ok) .. " " .. why) end) end)
                end
                stream.sleep(1)
                ctx:cancel("enough")
                for _ = 1, #waits do print((got:recv(1))) end
                print(full:recv(), #full, stream.now() < 3)
                other:cancel()
                """,
            output: Array(repeating: "nil canceled", count: 8) + ["0\t0\ttrue"]),
        SeededCase(
            name: "a context ends once: cancel, deadline and parent meet",
            script: head + """
                local ended, causes = 0, {}
                for i = 1, 20 do
                  local parent = stream.context():with_cancel()
                  local ctx = stream.any_context(parent, stream.context():with_timeout(0.001)):with_timeout(0.001)
                  ctx:on_end(function(reason) ended = ended + 1 assert(reason == ctx:err()) end)
                  stream.go(function() stream.sleep(0.001) ctx:cancel("own") end)
                  stream.go(function() stream.sleep(0.001) parent:cancel("parent") end)
                  ctx:done():recv()
                  local cause = ctx:cause()
                  assert(cause == "own" or cause == "parent" or cause == "deadline exceeded", cause)
                  stream.sleep(0.01)
                  assert(ctx:cause() == cause)
                end
                print(ended)
                """,
            output: ["20"]),
        SeededCase(
            name: "on_end in its worker, once, also across workers",
            script: head + """
                local ctx, told = stream.context():with_cancel(), stream.chan(0)
                local w = stream.worker("listener", function(ctx, told, n)
                  for i = 1, n do ctx:on_end(function(reason) told:send(i .. reason) end) end
                  ctx:done():recv()
                end)
                for i = 1, 3 do w:start(ctx, told, 4) end
                stream.go(function() stream.sleep(0.01) ctx:cancel() end)
                local counts = {}
                for _ = 1, 12 do local v = told:recv() counts[v] = (counts[v] or 0) + 1 end
                print(counts["1canceled"], counts["2canceled"], counts["3canceled"], counts["4canceled"])
                ctx:on_end(function(reason) print("late", reason) end)
                """,
            output: ["3\t3\t3\t3", "late\tcanceled"]),
        SeededCase(
            name: "run restores the context on every way out",
            script: head + """
                local outer = stream.context()
                local a, b = outer:with_value("n", 1), outer:with_value("n", 2)
                local function n() return stream.context():value("n") end
                for _ = 1, 3 do
                  stream.go(function()
                    local task = stream.context()
                    a:run(function()
                      stream.sleep(0.001)
                      assert(n() == 1)
                      assert(not pcall(b.run, b, function() stream.sleep(0.001) assert(n() == 2) error "out" end))
                      assert(n() == 1)
                      for v in coroutine.wrap(function() b:run(function()
                        for i = 1, 3 do stream.sleep(0.001) assert(n() == 2) coroutine.yield(i) assert(n() == 2) end
                      end) end) do assert(n() == 1) stream.sleep(0.001) end
                      local co = coroutine.create(function() b:run(function() error "dead" end) end)
                      assert(not coroutine.resume(co) and n() == 1)
                    end)
                    assert(stream.context() == task and n() == nil)
                    print "restored"
                  end)
                end
                """,
            output: Array(repeating: "restored", count: 3)),
        SeededCase(
            name: "a late telling does not end a wait in another context",
            script: head + """
                local ch, kept = stream.chan(0), 0
                local tasks = {}
                for i = 1, 10 do
                  local ctx = stream.context():with_timeout(0.001)
                  tasks[i] = stream.go(function()
                    ctx:run(stream.sleep, 0.001)
                    local v, why = ch:recv()
                    if v then kept = kept + 1 else print(why) end
                  end)
                  stream.go(function() stream.sleep(0.001) ctx:cancel() end)
                end
                stream.go(function() for i = 1, 10 do ch:send(i) end end)
                for i = 1, 10 do tasks[i]:wait() end
                print(kept)
                """,
            output: ["10"]),
        SeededCase(
            name: "done wins over the end in a select",
            script: head + """
                local idle = stream.chan(0)
                for i = 1, 10 do
                  local ctx = stream.context():with_timeout(0.001)
                  stream.go(function() ctx:run(function()
                    local which, v, why = stream.select { { recv = idle }, { recv = stream.context():done() } }
                    print(which, v, why)
                  end) end)
                end
                """,
            output: Array(repeating: "2\tnil\tclosed", count: 10)),
        SeededCase(
            name: "without_cancel waits while cleaning up",
            script: head + """
                local log = stream.chan(10)
                local task = stream.go(function()
                  local ok, why = stream.sleep(100)
                  stream.context():without_cancel():run(function()
                    assert(stream.sleep(0.5))
                    log:send("cleaned after " .. why)
                  end)
                  return stream.sleep(0.1)
                end)
                stream.sleep(0.001)
                task:cancel()
                print(task:wait())
                print(log:recv())
                """,
            output: ["nil\tcanceled", "cleaned after canceled"]),
        SeededCase(
            name: "an error in on_end is a failure that nobody received, and stops no other",
            script: head + """
                local ctx = stream.context():with_cancel()
                for i = 1, 3 do ctx:on_end(function() print("end", i) if i == 2 then error("bad end") end end) end
                ctx:cancel()
                """,
            output: ["end\t1", "end\t2", "end\t3"], status: .failed, failure: "script.lua:3: bad end"),
        SeededCase(
            name: "pipelines and tasks below a context end with it",
            script: head + """
                local ctx = stream.context():with_timeout(1)
                local p, t = ctx:run(function()
                  local p = stream.from(stream.generate(function(emit) local n = 0 repeat n = n + 1 until not emit(n) end))
                    :each("slow", function() stream.sleep(0.3) end, { queue = 1 }):to(stream.null_sink())
                  return p, stream.go(function() return stream.go(stream.sleep, 1e6):wait() end)
                end)
                print(p:wait()) print(t:wait()) print(stream.now())
                """,
            output: ["nil\tdeadline exceeded", "nil\tdeadline exceeded", "1.0"]),
    ]
}

// Values that are tried again in a worker that stages share, or after a worker was stopped, in every order that a range of
// seeds gives.
import StreamRuntime

private let head = """
    local stream = require 'stream'
    local function range(a, b) return stream.from(stream.range(a, b)) end
    \(SeededCase.accountCheck)
    local kept = {}
    local function greedy() while true do pcall(function() kept[#kept + 1] = { #kept } end) end end

    """

extension Families {
    package static let retryCases: [SeededCase] = [
        SeededCase(
            name: "in a shared worker what flat_map emits is held too, wherever it stands, and goes on as it was",
            script: head + """
                for _, queue in ipairs { 0, 1, 16 } do
                  for where = 1, 3 do
                    local tries, got, p = {}, {}, range(1, 4)
                    if where > 1 then p = p:map("same", function(v) return v end) end
                    p = p:flat_map("many", function(v, emit)
                      tries[v] = (tries[v] or 0) + 1
                      local t = { n = v * 10 }
                      assert(emit(t))
                      stream.sleep(0.001)
                      t.n = 0
                      if v % 2 == 0 and tries[v] == 1 then error("no") end
                      assert(emit { n = v * 10 + 1 })
                      if v == 3 then error("never") end
                    end, { isolated = where == 1, on_error = { retry = 1, backoff = "1ms", otherwise = "skip" } })
                    if where < 3 then
                      p = p:map("slow", function(t) stream.sleep(0.001) return { n = t.n } end, { isolated = false })
                    end
                    p = p:buffer { capacity = queue }:to(function(t) got[#got + 1] = t.n end)
                    assert(p:wait())
                    local s = check(p)
                    print(table.concat(got, " "), s.created, s.delivered, s.consumed, s.failed)
                  end
                end
                """,
            output: Array(repeating: "10 11 20 21 40 41\t10\t6\t3\t1", count: 9)),
        SeededCase(
            name: "what a flat_map has held goes through the stages behind, each with its own tries, holds and letters",
            script: head + """
                for _, queue in ipairs { 0, 1, 16 } do
                  local failed, letters, got = {}, stream.chan(100), {}
                  local function once(key)
                    stream.sleep(0)
                    if not failed[key] then failed[key] = true error(key) end
                  end
                  local function twice(name)
                    return function(v, emit)
                      for i = 1, 2 do assert(emit { v[1] * 10 + i }) end
                      once(name .. v[1])
                    end
                  end
                  local p = stream.from(stream.values { { 1 }, { 2 }, { 3 } })
                    :flat_map("a", twice "a", { on_error = { retry = 1 } })
                    :flat_map("b", twice "b", { isolated = false, on_error = { retry = 1, backoff = "1ms" } })
                    :map("c", function(v)
                      v = v[1]
                      if v == 212 then error("never") end
                      if v % 3 == 0 then once("c" .. v) end
                      return v
                    end, { isolated = false, on_error = { retry = 1, to = letters } })
                    :buffer { capacity = queue }:to(function(v) got[#got + 1] = v end)
                  assert(p:wait())
                  local s = check(p)
                  print(table.concat(got, " "), s.created, s.consumed, s.failed, letters:recv().value[1], letters:recv())
                end
                """,
            output: Array(
                repeating: "111 112 121 122 211 221 222 311 312 321 322\t21\t9\t0\t212\tnil\tclosed", count: 3)),
        SeededCase(
            name: "what a flat_map has held, and an end or a stop behind leaves inside, is dropped and counted",
            script: head + """
                local function many(v, emit) for i = 1, 5 do assert(emit(v * 10 + i)) end end
                local function chain(behind, options)
                  options.isolated = false
                  return range(1, 4):flat_map("many", many, { on_error = { retry = 1 }, memory = "1MB" })
                    :map("behind", behind, options)
                end
                local t = chain(function(v) stream.sleep(0.001) return v end, {}):take(7):collect()
                print(table.concat(t, " "))
                for _, wait in ipairs { 0.0005, 0.003, 0.0071 } do
                  local p = chain(function(v) stream.sleep(0.001) return v end, {}):to(stream.null_sink())
                  stream.sleep(wait)
                  p:cancel("enough")
                  local ok, why = p:wait()
                  print(ok, why, check(p).failed)
                end
                local got = {}
                local p = chain(function(v)
                  if v == 22 then greedy() end
                  return v
                end, { on_error = "skip" }):to(function(v) got[#got + 1] = v end)
                print(p:wait(), table.concat(got, " "))
                local s = check(p)
                print(s.created, s.delivered, s.consumed, s.failed, s.dropped)
                """,
            output: [
                "11 12 13 14 15 21 22", "nil\tenough\t0", "nil\tenough\t0", "nil\tenough\t0",
                "true\t11 12 13 14 15 21 31 32 33 34 35 41 42 43 44 45", "21\t16\t3\t1\t1",
            ]),
        SeededCase(
            name: "a value whose worker was stopped is tried again in a fresh one, if the first of its stages had it",
            script: head + """
                local forms = {
                  map = function(v) return v end, filter = function() return true end, each = function() end,
                  flat_map = function(v, emit) emit(v) end, scan = function(s, v) return v end,
                }
                for _, form in ipairs { "map", "filter", "each", "flat_map", "scan" } do
                  for _, where in ipairs { "alone", "first", "second" } do
                    local seen, letters, first, got = stream.chan(100), stream.chan(100), nil, {}
                    local function work(a, b)
                      local v = form == "scan" and b or a
                      local result = forms[form](a, b)
                      if v % 3 == 2 then
                        if seen:try_send(v) and (v == 5 or #seen < 3) then greedy() end
                      end
                      return result
                    end
                    local options = { memory = "1MB", on_error = { retry = 2, to = letters } }
                    local p = range(1, 6)
                    if where == "second" then
                      p = p:map("same", function(v) return v end, { memory = "1MB" })
                      options.memory, options.isolated = nil, false
                    end
                    if form == "scan" then p = p:scan("work", 0, work, options) else p = p[form](p, "work", work, options) end
                    if where == "first" then p = p:map("behind", function(v) return v end, { isolated = false }) end
                    p = p:to(function(v) got[#got + 1] = v end)
                    assert(p:wait())
                    local s, t = check(p), {}
                    for letter in letters:range() do t[#t + 1] = letter.value end
                    print(table.concat(got, " "), #seen, s.failed, s.dropped, table.concat(t, " "))
                  end
                end
                """,
            output: (1...5).flatMap { _ in
                ["1 2 3 4 6\t6\t0\t0\t5", "1 2 3 4 6\t6\t0\t0\t5", "1 3 4 6\t2\t0\t0\t2 5"]
            }),
        SeededCase(
            name: "a task of the worker is over its memory while a value waits for its next try",
            script: head + """
                for _, place in ipairs { "alone", "first", "second" } do
                  for _, lettered in ipairs { false, true } do
                    local letters = lettered and stream.chan(100) or nil
                    local p = range(1, 3)
                    if place == "second" then p = p:map("same", function(v) return v end, { memory = "1MB" }) end
                    p = p:map("work", function(v)
                      if v == 2 then
                        stream.go(function() stream.sleep(0.1) greedy() end)
                        error("two")
                      end
                      return v
                    end, {
                      memory = place ~= "second" and "1MB" or nil, isolated = place ~= "second",
                      on_error = { retry = 1, backoff = "1s", to = letters, otherwise = "skip" },
                    })
                    if place == "first" then p = p:map("behind", function(v) return v end, { isolated = false }) end
                    p = p:to(stream.null_sink())
                    print(p:wait(), lettered)
                    local s = check(p)
                    print(s.delivered, s.failed, s.dead_lettered, s.dropped)
                  end
                end
                """,
            output: (1...3).flatMap { _ in ["true\tfalse", "2\t1\t0\t0", "true\ttrue", "2\t0\t1\t0"] }),
        SeededCase(
            name: "output of what a flat_map has held is its value's, which is not tried again once some has gone on",
            script: head + """
                for where = 1, 2 do
                  local calls, letters, got, p = stream.chan(100), stream.chan(100), 0, range(1, 4)
                  if where == 2 then p = p:map("same", function(v) return v end) end
                  p = p:flat_map("many", function(v, emit)
                    calls:send(v)
                    for i = 1, v == 2 and 20 or 2 do emit(("x"):rep(100)) end
                  end, { isolated = where == 1, max_output = "1KB", on_error = { retry = 2, to = letters } })
                  if where == 1 then p = p:map("behind", function(v) return v end, { isolated = false }) end
                  p = p:to(function() got = got + 1 end)
                  assert(p:wait())
                  local s = check(p)
                  print(#calls, got > 6, s.consumed, s.failed, s.dead_lettered, letters:recv().value)
                end
                """,
            output: ["4\ttrue\t3\t0\t1\t2", "4\ttrue\t3\t0\t1\t2"]),
    ]
}

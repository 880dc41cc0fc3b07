// Stages with several workers, in every order that a range of seeds gives: order kept, keys kept apart, nothing lost.
import StreamRuntime

private let head = "local stream = require 'stream'\n"

/// The loops that most scripts below run in: each queue length, with a source that makes records.
private let library =
    head + """
        local function same(list, expected)
          for i = 1, math.max(#list, #expected) do
            if list[i] ~= expected[i] then
              error(("at %d: %s in place of %s"):format(i, tostring(list[i]), tostring(expected[i])), 2)
            end
          end
        end
        local function records(n)
          return stream.from(stream.range(1, n)):map("record", function(v) return { user = "u" .. v % 5, v = v } end)
        end

        """

/// `key` of a stage's options, in Lua.
private let keys = [("no key", "nil"), ("a field", "'user'"), ("a function", "function(r) return r.user end")]

private let ordered: [SeededCase] = [2, 3, 5].flatMap { workers in
    keys.map { name, key in
        SeededCase(
            name: "order is kept by \(workers) workers, \(name)",
            script: library + """
                for _, q in ipairs { 0, 1, 2, 256 } do
                  local list = records(30):flat_map("many", function(r, emit)
                    if r.v % 3 == 0 then stream.sleep((r.v % 5) * 0.001) end
                    if r.v % 7 == 0 then error("skipped") end
                    for i = 1, r.v * 31 % 4 do
                      emit(r.v * 10 + i)
                      if r.v % 11 == 0 then stream.sleep(0.002) end
                    end
                  end, { queue = q, workers = \(workers), ordered = true, key = \(key), on_error = "skip" })
                    :map("drop", function(v) if v % 6 ~= 0 then return v end end,
                      { queue = q, workers = 2, ordered = true })
                    :filter("odd", function(v) return v % 5 ~= 0 end, { queue = q, workers = 3, ordered = true })
                    :collect()
                  local expected = {}
                  for v = 1, 30 do
                    for i = 1, v % 7 == 0 and 0 or v * 31 % 4 do
                      local made = v * 10 + i
                      if made % 6 ~= 0 and made % 5 ~= 0 then expected[#expected + 1] = made end
                    end
                  end
                  same(list, expected)
                  print(q, "in order")
                end
                """,
            output: [0, 1, 2, 256].map { "\($0)\tin order" })
    }
}

private let ends: [SeededCase] = keys.flatMap { name, key in
    [
        SeededCase(
            name: "take ends an ordered stage, \(name)",
            script: library + """
                for _, q in ipairs { 0, 1, 2, 256 } do
                  local list = records(1000):map("slow", {
                    process = function(r) stream.sleep((r.v % 4) * 0.001) return r.v end,
                    teardown = function(reason) print("end", reason) end,
                  }, { queue = q, workers = 2, ordered = true, key = \(key) }):take(7):collect()
                  same(list, { 1, 2, 3, 4, 5, 6, 7 })
                end
                """,
            output: Array(repeating: "end\tdone", count: 8)),
        SeededCase(
            name: "a cancellation in an ordered stage, \(name)",
            script: library + """
                for _, q in ipairs { 0, 1, 2, 256 } do
                  local seen, p = stream.chan(0)
                  p = stream.from(stream.range(1, math.huge)):map("record", function(v) return { user = v % 9, v = v } end)
                    :filter("slow", function(r) stream.sleep((r.v % 4) * 0.001) return r.v % 2 == 0 end,
                      { queue = q, workers = 3, ordered = true, key = \(key) })
                    :to(function(r) seen:send(r.v) end)
                  stream.go(function() for i = 1, 4 do assert(seen:recv() == 2 * i) end p:cancel("enough") end)
                  print(p:wait())
                end
                """,
            output: Array(repeating: "nil\tenough", count: 4)),
        SeededCase(
            name: "an error stops an ordered stage, \(name)",
            script: library + """
                for _, q in ipairs { 0, 1, 256 } do
                  local p = records(1000):map("picky", function(r)
                    if r.v % 2 == 0 then stream.sleep(0.001) end
                    if r.v == 17 then error("bad " .. r.v) end
                    return r.v
                  end, { queue = q, workers = 3, ordered = true, key = \(key) }):to(stream.null_sink())
                  local ok, reason = p:wait()
                  print(ok, reason:match('stage "picky"'), reason:match("bad %d+"))
                end
                """,
            output: Array(repeating: "nil\tstage \"picky\"\tbad 17", count: 3)),
        SeededCase(
            name: "flush follows the last value, in the order of the workers, \(name)",
            script: library + """
                for _, q in ipairs { 0, 1, 2, 256 } do
                  local ids = stream.chan(3)
                  for i = 1, 3 do ids:send(i) end
                  local list = records(20):map("parts", {
                    setup = function() id = ids:recv() end,
                    process = function(r) stream.sleep((r.v % 3) * 0.001) return r.v end,
                    flush = function(emit) for i = 1, 4 do emit(id .. "." .. i) end end,
                  }, { queue = q, workers = 3, ordered = true, key = \(key) }):collect()
                  for v = 1, 20 do assert(list[v] == v) end
                  local seen = {}
                  for i = 21, 32, 4 do
                    local worker = list[i]:sub(1, 1)
                    assert(not seen[worker])
                    seen[worker] = true
                    for j = 0, 3 do assert(list[i + j] == worker .. "." .. j + 1) end
                  end
                  print(#list)
                end
                """,
            output: Array(repeating: "32", count: 4)),
    ]
}

private let sharing: [SeededCase] =
    [
        SeededCase(
            name: "ordered workers do not wait for each other",
            script: library + """
                -- One value takes as long as all others one after another.
                local began = stream.now()
                local list = stream.from(stream.range(1, 11))
                  :map("sleep", function(v) stream.sleep(v == 1 and 1 or 0.1) return v end,
                    { workers = 2, ordered = true, queue = 64 }):collect()
                same(list, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 })
                print(("%.1f"):format(stream.now() - began))
                """,
            output: ["1.0"]),
        SeededCase(
            name: "without a key, workers share what is there",
            script: library + """
                for _, q in ipairs { 0, 1, 2, 256 } do
                  local list = stream.from(stream.range(1, 60)):map("some", function(v)
                    if v % 13 == 0 then stream.sleep(0.01) end
                    return v
                  end, { queue = q, workers = 5 }):collect()
                  table.sort(list)
                  for i = 1, 60 do assert(list[i] == i) end
                  print(#list)
                end
                """,
            output: Array(repeating: "60", count: 4)),
        SeededCase(
            name: "values that no ordered worker took go back",
            script: library + """
                for _, q in ipairs { 0, 1, 256 } do
                  local ch = stream.chan(20)
                  for i = 1, 20 do ch:send(i) end
                  ch:close()
                  local list = stream.from(ch):map("m", function(v) return v end, { queue = q, workers = 2, ordered = true })
                    :take(3):collect()
                  same(list, { 1, 2, 3 })
                  local last = 0
                  for v in ch:range() do
                    assert(v > 3 and (last == 0 or v == last + 1), "not in order")
                    last = v
                  end
                  assert(last == 20 or last == 0)
                end
                """,
            output: []),
    ]
    + keys.dropFirst().flatMap { name, key in
        [
            SeededCase(
                name: "the same key goes to the same worker, \(name)",
                script: library + """
                    for _, n in ipairs { 2, 3, 5 } do
                      for _, q in ipairs { 0, 1, 2, 256 } do
                        local ids = stream.chan(n)
                        for i = 1, n do ids:send(i) end
                        local list = stream.from(stream.range(1, 60))
                          :map("record", function(v) return { user = v % 2 == 0 and v % 12 or "n" .. v % 7, v = v } end)
                          :map("who", {
                            setup = function() id = ids:recv() end,
                            process = function(r) r.id = id return r end,
                          }, { queue = q, workers = n, key = \(key) }):collect()
                        local owner, last, workers, count = {}, {}, {}, 0
                        for _, r in ipairs(list) do
                          assert(owner[r.user] == nil or owner[r.user] == r.id, "two workers")
                          assert((last[r.user] or 0) < r.v, "the order within a key")
                          owner[r.user], last[r.user] = r.id, r.v
                          if not workers[r.id] then workers[r.id] = true count = count + 1 end
                        end
                        assert(#list == 60 and count > 1)
                      end
                    end
                    """,
                output: []),
            SeededCase(
                name: "scan and reduce by key, \(name)",
                script: library + """
                    for _, q in ipairs { 0, 1, 256 } do
                      local list = records(40):scan("counts", {}, function(state, r)
                        state[r.user] = (state[r.user] or 0) + 1
                        state.user, state.n = r.user, state[r.user]
                        return state
                      end, { queue = q, workers = 3, key = \(key) }):collect()
                      local seen = {}
                      for _, state in ipairs(list) do
                        seen[state.user] = (seen[state.user] or 0) + 1
                        assert(seen[state.user] == state.n, "a key's count goes up by one")
                      end
                      for i = 0, 4 do assert(seen["u" .. i] == 8) end
                      local sums, total = records(40):reduce("sum", 0, function(sum, r) return sum + r.v end,
                        { queue = q, workers = 3, key = \(key) }):collect(), 0
                      for _, sum in ipairs(sums) do assert(sum > 0) total = total + sum end
                      print(#list, #sums <= 3, total)
                      local none = records(3):filter("none", function() return false end)
                        :reduce("empty", 42, function() error("never") end, { queue = q, workers = 3, key = \(key) }):collect()
                      print(#none, none[1])
                    end
                    """,
                output: (1...3).flatMap { _ in ["40\ttrue\t820", "1\t42"] }),
            SeededCase(
                name: "values without a key follow on_error, \(name)",
                script: library + """
                    for _, q in ipairs { 0, 1, 256 } do
                      local function source()
                        return stream.from(stream.values {
                          { user = 1 }, { user = stream.null }, { user = {} }, { user = 1.0 }, {}, { user = true }, { 1 },
                          { user = 0 / 0 }, { user = "1" },
                        })
                      end
                      local count = 0
                      for _ in ipairs(source():map("count", function(r) return r end,
                        { queue = q, workers = 3, key = \(key), on_error = "skip" }):collect()) do count = count + 1 end
                      local list, reason = source():map("count", function(r) return r end,
                        { queue = q, workers = 3, key = \(key) }):collect()
                      print(count, list, reason:match('stage "count"'), reason:match("null"))
                    end
                    """,
                output: Array(repeating: "4\tnil\tstage \"count\"\tnull", count: 3)),
            SeededCase(
                name: "a source channel that is dealt, and ends early, \(name)",
                script: library + """
                    for _, q in ipairs { 0, 1, 256 } do
                      local ch = stream.chan(20)
                      for i = 1, 20 do ch:send({ user = i }) end
                      ch:close()
                      local list = stream.from(ch):map("m", function(v) return v end, { queue = q, workers = 2, key = \(key) })
                        :take(3):collect()
                      local n = 0
                      for _ in ch:range() do n = n + 1 end
                      print(#list, n <= 17)
                    end
                    """,
                output: Array(repeating: "3\ttrue", count: 3)),
            SeededCase(
                name: "a process on each worker's own share, \(name)",
                script: library + """
                    for _, q in ipairs { 0, 1, 256 } do
                      local list, sum = records(40):stage("own", function(input, output)
                        local n = 0
                        for r in input:range() do n = n + 1 output:send(r.v) end
                        output:send(-n)
                      end, { queue = q, workers = 3, key = \(key) }):collect(), 0
                      for _, v in ipairs(list) do sum = sum + v end
                      print(#list, sum)
                    end
                    """,
                output: Array(repeating: "43\t780", count: 3)),
        ]
    } + [
        SeededCase(
            name: "an error of the key's function names the stage",
            script: library + """
                local p = records(9):map("m", function(r) return r end,
                  { workers = 2, key = function(r) if r.v == 4 then error("no key " .. r.v) end return r.v end })
                  :to(stream.null_sink())
                local ok, reason = p:wait()
                print(ok, reason:match('stage "m"'), reason:match("script.lua:%d+: no key 4"), reason:match("value: {.*v = 4.*}") ~= nil)
                """,
            output: ["nil\tstage \"m\"\tscript.lua:13: no key 4\ttrue"])
    ]

private let fused: [SeededCase] = [
    SeededCase(
        name: "fused stages get the very same table",
        script: library + """
            for _, q in ipairs { 0, 1, 256 } do
              local seen = {}  -- one table for all the functions
              local list = stream.from(stream.range(1, 12)):map("make", function(v) seen.last = { v = v } return seen.last end,
                { queue = q })
                :each("mark", function(t) assert(t == seen.last) t.marked = true end, { isolated = false })
                :filter("touch", function(t) assert(rawequal(t, seen.last)) t.v = t.v + 1 return t.v % 2 == 0 end,
                  { isolated = false })
                :map("wait", function(t) stream.sleep(0.001) t.f = nil return t end, { isolated = false })
                :collect()
              for i, t in ipairs(list) do assert(t.marked and t.v == 2 * i) end
              print(#list)
            end
            """,
        output: Array(repeating: "6", count: 3)),
    SeededCase(
        name: "functions pass between fused stages, and only the last value must be one that can be sent",
        script: library + """
            local list = stream.from(stream.range(1, 5)):map("f", function(v) return function() return v end end)
              :map("call", function(f) return f() * 10 end, { isolated = false }):collect()
            print(table.concat(list, " "))
            local list, reason = stream.from(stream.range(1, 5)):map("f", function(v) return v end)
              :map("g", function(v) return print end, { isolated = false }):collect()
            print(list, reason:match('stage "%a"'), reason:match("a function stays"), reason:match("%(value:.*"))
            """,
        output: ["10 20 30 40 50", "nil\tstage \"g\"\ta function stays\t(value: a function)"]),
    SeededCase(
        name: "emit takes a value through the stages behind, nested",
        script: library + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local list = stream.from(stream.range(1, 8))
                :flat_map("twice", function(v, emit)
                  emit(v)
                  coroutine.wrap(function() emit(v + 0.5) end)()
                end, { queue = q })
                :flat_map("again", function(v, emit)
                  if v % 1 ~= 0 then stream.sleep(0.001) end
                  emit(v) emit(-v)
                end, { isolated = false })
                :map("slow", function(v) stream.sleep(0.001) if v ~= -3 then return v end end, { isolated = false })
                :scan("sum", 0, function(s, v) return s + v end, { isolated = false }):collect()
              local expected, sum = {}, 0
              for v = 1, 8 do
                for _, x in ipairs { v, -v, v + 0.5, -v - 0.5 } do
                  if x ~= -3 then sum = sum + x expected[#expected + 1] = sum end
                end
              end
              same(list, expected)
              print(#list)
            end
            """,
        output: Array(repeating: "31", count: 4)),
    SeededCase(
        name: "an error in an emit loses the nested value by its own policy",
        script: library + """
            for _, q in ipairs { 0, 1, 256 } do
              local function chain(policy, outer)
                return stream.from(stream.range(1, 4)):flat_map("outer", function(v, emit)
                  for i = 1, 3 do emit(v * 10 + i) end
                  if v == 3 then error("outer " .. v) end
                end, { queue = q, on_error = outer })
                  :map("inner", function(v) if v == 22 then error("inner " .. v) end return v end,
                    { isolated = false, on_error = policy }):collect()
              end
              print(table.concat(chain("skip", "skip"), " "))
              local list, reason = chain("stop", "skip")
              print(list, reason:match('stage "inner"'), reason:match("script.lua:%d+: inner 22"), reason:match("value: %d+"))
              list, reason = chain("skip", "stop")
              print(list, reason:match('stage "outer"'), reason:match("outer 3"), reason:match("value: %d+"))
            end
            """,
        output: (1...3).flatMap { _ in
            [
                "11 12 13 21 23 31 32 33 41 42 43",
                "nil\tstage \"inner\"\tscript.lua:18: inner 22\tvalue: 22",
                "nil\tstage \"outer\"\touter 3\tvalue: 3",
            ]
        }),
    SeededCase(
        name: "setup, flush and teardown of fused stages, each once and in order",
        script: library + """
            for _, q in ipairs { 0, 1, 256 } do
              local log = stream.chan(100)
              local function parts(name)
                return {
                  setup = function() log:send("setup " .. name) end,
                  process = function(v) return v .. name end,
                  flush = function(emit) stream.sleep(0.001) emit("flush " .. name) end,
                  teardown = function(reason) log:send("teardown " .. name .. " " .. reason) end,
                }
              end
              local list = stream.from(stream.range(1, 2)):map("a", parts "a", { queue = q })
                :map("b", parts "b", { isolated = false }):map("c", parts "c", { isolated = false }):collect()
              print(table.concat(list, ","))
              log:close()
              local lines = {}
              for line in log:range() do lines[#lines + 1] = line end
              print(table.concat(lines, ","))
            end
            """,
        output: (1...3).flatMap { _ in
            [
                "1abc,2abc,flush abc,flush bc,flush c",
                "setup a,setup b,setup c,teardown a done,teardown b done,teardown c done",
            ]
        }),
    SeededCase(
        name: "a failing setup or flush of a fused stage ends all, each torn down once",
        script: library + """
            for _, where in ipairs { "setup", "flush" } do
              local log = stream.chan(100)
              local function parts(name)
                local fail = name == "b" and function() error("broken") end or nil
                return {
                  setup = where == "setup" and fail or nil, flush = where == "flush" and fail or nil,
                  process = function(v) return v end, teardown = function(reason) log:send(name .. " " .. reason) end,
                }
              end
              local list, reason = stream.from(stream.range(1, 2)):map("a", parts "a")
                :map("b", parts "b", { isolated = false }):map("c", parts "c", { isolated = false }):collect()
              print(list, reason:match('stage "%a"'), reason:match("in %a+: "), reason:match("broken"))
              stream.sleep(1)
              log:close()
              local lines = {}
              for line in log:range() do lines[#lines + 1] = line end
              print(table.concat(lines, ","))
            end
            """,
        output: [
            "nil\tstage \"b\"\tin setup: \tbroken", "a failed,b failed", "nil\tstage \"b\"\tin flush: \tbroken",
            "a failed,b failed,c failed",
        ]),
    SeededCase(
        name: "a reduce in the middle emits its state at the end",
        script: library + """
            for _, q in ipairs { 0, 1, 256 } do
              local list = stream.from(stream.range(1, 10)):filter("even", function(v) return v % 2 == 0 end, { queue = q })
                :reduce("sum", 0, function(s, v) return s + v end, { isolated = false })
                :map("label", { process = function(s) return "sum " .. s end, flush = function(emit) emit("end") end },
                  { isolated = false }):collect()
              print(table.concat(list, ","))
            end
            """,
        output: Array(repeating: "sum 30,end", count: 3)),
    SeededCase(
        name: "stages fused with a generator",
        script: library + """
            for _, q in ipairs { 0, 1, 256 } do
              local list = stream.from(stream.generate(function(emit) for i = 1, 9 do emit(i) end end))
                :map("double", function(v) if v ~= 4 then return v * 2 end end, { isolated = false })
                :filter("some", function(v) return v % 3 ~= 0 end, { isolated = false, on_error = "skip" })
                :map("picky", function(v) if v == 10 then error("ten") end return v end,
                  { isolated = false, on_error = "skip" })
                :each("apart", function() end, { queue = q }):collect()
              print(table.concat(list, " "))
              local endless = stream.from(stream.generate(function(emit) local i = 0 repeat i = i + 1 until not emit(i) end))
                :flat_map("twice", function(v, emit) emit(v) emit(v) end, { isolated = false }):take(5):collect()
              print(table.concat(endless, " "))
            end
            """,
        output: (1...3).flatMap { _ in ["2 4 14 16", "1 1 2 2 3"] }),
    SeededCase(
        name: "several workers with fused stages, ordered or by key",
        script: library + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              for _, key in ipairs { false, "user" } do
                local list = records(30):map("first", function(r) stream.sleep((r.v % 3) * 0.001) return r end,
                  { queue = q, workers = 3, ordered = true, key = key or nil })
                  :flat_map("some", function(r, emit)
                    if r.v % 10 == 0 then error("no") end
                    for i = 1, r.v % 3 do emit(r.v) end
                  end, { isolated = false, on_error = "skip" }):collect()
                local expected = {}
                for v = 1, 30 do
                  for i = 1, v % 10 == 0 and 0 or v % 3 do expected[#expected + 1] = v end
                end
                same(list, expected)
              end
            end
            local states = records(30):each("first", function() end, { workers = 3, key = "user" })
              :reduce("count", 0, function(n) return n + 1 end, { isolated = false }):collect()
            local total = 0
            for _, n in ipairs(states) do total = total + n end
            print(#states <= 3, total)
            """,
        output: ["true\t30"]),
    SeededCase(
        name: "emit belongs to its task",
        script: library + """
            for _, isolated in ipairs { true, false } do
              local list = stream.from(stream.range(1, 3)):flat_map("first", function(v, emit) emit(v) end)
                :flat_map("keeper", function(v, emit)
                  local task = stream.go(function() emit(v) end)
                  local _, reason = task:wait()
                  emit(reason:match("by another task"))
                  coroutine.wrap(function() emit(v) end)()
                end, { isolated = isolated }):collect()
              print(table.concat(list, " "))
            end
            """,
        output: (1...2).map { _ in (1...3).map { "by another task \($0)" }.joined(separator: " ") }),
    SeededCase(
        name: "a chain that is cancelled, and one whose reader goes away",
        script: library + """
            for _, q in ipairs { 0, 1, 256 } do
              local list = stream.from(stream.range(1, math.huge)):map("a", function(v) return v end, { queue = q })
                :flat_map("b", { process = function(v, emit) emit(v) emit(v) end, teardown = function(r) print(r) end },
                  { isolated = false }):take(3):collect()
              print(table.concat(list, " "))
              local p
              p = stream.from(stream.range(1, math.huge)):map("a", function(v) return v end, { queue = q })
                :map("b", { process = function(v) stream.sleep(0.01) return v end, teardown = function(r) print(r) end },
                  { isolated = false }):to(function(v) if v == 3 then p:cancel("enough") end end)
              print(p:wait())
            end
            """,
        output: (1...3).flatMap { _ in ["done", "1 1 2", "canceled", "nil\tenough"] }),
]

package let workerCases = ordered + ends + sharing + fused

// Pipelines that fork and join, in every order that a range of seeds gives.
import StreamRuntime

private let head = """
    local stream = require 'stream'
    local function range(a, b) return stream.from(stream.range(a, b)) end
    local function sum(t) local n = 0 for _, v in ipairs(t) do n = n + v end return n end
    local function id(v) return v end
    -- A sink that keeps what it gets.
    local function keep()
      local t = {}
      return t, function(v) t[#t + 1] = v end
    end
    \(SeededCase.accountCheck)

    """

private func repeated(_ lines: [String], _ times: Int) -> [String] { (0..<times).flatMap { _ in lines } }

private let joins: [SeededCase] = [
    SeededCase(
        name: "counts of a pipeline that runs: never more at the ends than was made, never more than in the end",
        script: head + """
            local names = { "created", "delivered", "consumed", "filtered", "failed", "dropped", "dead_lettered", "returned" }
            local function odd(v) if v % 2 == 1 then error("odd") end return v end
            local function slow(v) stream.sleep(0.01) return v end
            local function twice(v, emit) emit(v) emit(v) end
            local function through(input, output)
              for v in input:range() do
                if v == 7 then error("seven") end
                output:send(v)
              end
            end
            local function from_channel()
              local ch = stream.chan(2)
              stream.go(function() for i = 1, 40 do if not ch:send(i, "10s") then break end end ch:close() end)
              return stream.from(ch)
            end
            local makers = {
              function() return range(1, 40):flat_map("twice", twice):map("odd", odd, { on_error = { to = stream.null_sink() } }) end,
              function() return from_channel():flat_map("twice", twice, { workers = 2 }):batch { size = 3 }:take(5) end,
              function() return range(1, 40):map("keyed", slow, { workers = 2, ordered = true, on_error = { to = stream.null_sink() },
                key = function(v) return v % 4 > 0 and v or nil end }):reduce("sum", 0, function(s, v) return s + v end) end,
              function() return range(1, 40):stage("through", through, { on_error = { restart = 1 } }):skip(3) end,
              function() return from_channel():stage("through", through, { on_error = { restart = 1 } }):map("id", id) end,
              function() return range(1, 40):stage("through", through, { workers = 2, on_error = { restart = 1 },
                key = function(v) return v end }):tee(function(branch) branch:take(4):to(stream.null_sink()) end) end,
              function() return stream.from(stream.generate(function(emit) for i = 1, 40 do emit(i) end end))
                :flat_map("twice", twice, { isolated = false }):filter("even", function(v) return v % 2 == 0 end,
                { isolated = false }):map("id", id, { queue = 1 }) end,
            }
            for i, make in ipairs(makers) do
              local p = make():to(function(v) stream.sleep(0.01) end)
              local seen, live = {}, false
              local watch = stream.go(function()
                repeat
                  local s, sum = p:stats(), 0
                  for k = 2, #names do sum = sum + s[names[k]] end
                  assert(sum <= s.created, ("%d: %d of %d"):format(i, sum, s.created))
                  seen[#seen + 1] = s
                  live = live or s.consumed + s.dead_lettered > 0 and s.created > s.delivered
                until not stream.sleep(0.005) or #seen > 400
              end)
              p:wait()
              watch:cancel()
              local final = check(p)
              for _, s in ipairs(seen) do
                for _, name in ipairs(names) do assert(s[name] <= final[name], i .. ": " .. name) end
              end
              print(i, live)
            end
            """,
        output: (1...7).map { "\($0)\ttrue" }),
    SeededCase(
        name: "merge of several sources, at links of every capacity",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local ch = stream.chan(q)
              stream.go(function() for i = 31, 40 do ch:send(i) end ch:close() end)
              local t = range(1, 10):map("first", id, { queue = q })
                :merge(range(11, 20), range(21, 30):map("second", id, { queue = q }), stream.from(ch))
                :map("after", id, { queue = q }):collect()
              print(q, #t, sum(t))
              local last = { 0, 10, 20, 30 }
              for _, v in ipairs(t) do
                local k = (v - 1) // 10 + 1
                assert(v > last[k], "the order of one source")
                last[k] = v
              end
            end
            """,
        output: [0, 1, 2, 256].map { "\($0)\t40\t820" }),
    SeededCase(
        name: "merge with itself, merges in a row, merges of merges, merges at once",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local p = range(1, 5):map("double", function(v) return v * 2 end, { queue = q })
              print(sum(p:merge(p):collect()), sum(p:merge(p, p):merge(p):collect()))
              local inner = range(1, 3):merge(range(4, 6))
              print(sum(range(7, 9):merge(inner:merge(range(10, 11))):collect()))
              local ch = stream.chan(20)
              for i = 1, 20 do ch:send(i) end
              ch:close()
              local c = stream.from(ch)
              print(sum(c:merge(c):collect()))
            end
            """,
        output: repeated(["60\t120", "66", "210"], 3)),
    SeededCase(
        name: "merge into a script's channel, which closes once",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local out = stream.chan(q)
              local p = range(1, 10):merge(stream.from(stream.values { 100, 200 }),
                stream.from(stream.generate(function(emit) emit(1000) emit(2000) end))):to(out)
              local n, s = 0, 0
              for v in out:range() do n, s = n + 1, s + v end
              print(n, s, p:wait(), check(p).delivered)
            end
            """,
        output: repeated(["14\t3355\ttrue\t14"], 3)),
    SeededCase(
        name: "a process in front of a merge may close its output, and the others go on",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local t = range(1, 9):stage("two", function(input, output)
                output:send(input:recv()) output:send(input:recv()) output:close()
              end, { queue = q }):merge(range(11, 30)):collect()
              print(#t, sum(t))
            end
            """,
        output: repeated(["22\t413"], 3)),
    SeededCase(
        name: "take behind a merge ends all sources",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local p = range(1, math.huge):map("a", id, { queue = q })
              local t = p:merge(range(1, math.huge), p):take(5):collect()
              print(#t)
            end
            """,
        output: repeated(["5"], 3)),
    SeededCase(
        name: "an error in a merged pipeline fails the whole",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local bad = range(1, math.huge):map("bad", function(v) if v == 5 then error("five") end return v end,
                { queue = q })
              local p = range(1, math.huge):merge(bad):to(stream.null_sink())
              local ok, reason = p:wait()
              print(ok, reason:match("five"))
              check(p)
            end
            """,
        output: repeated(["nil\tfive"], 3)),
]

private let forks: [SeededCase] = [
    SeededCase(
        name: "tee gives every branch and the chain every value",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local a, to_a = keep()
              local b, to_b = keep()
              local c, to_c = keep()
              local p = range(1, 30):map("before", id, { queue = q })
                :tee(function(branch) branch:map("minus", function(v) return -v end, { queue = q }):to(to_a) end,
                  function(branch) branch:buffer { capacity = q }:to(to_b) end)
                :map("after", id, { queue = q }):to(to_c)
              assert(p:wait())
              for i = 1, 30 do assert(a[i] == -i and b[i] == i and c[i] == i, "order") end
              print(q, #a, #b, #c, check(p).created, check(p).delivered)
            end
            """,
        output: [0, 1, 2, 256].map { "\($0)\t30\t30\t30\t90\t90" }),
    SeededCase(
        name: "tee copies what holds objects",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local ch = stream.chan(100)
              local p = range(1, 10):map("wrap", function(v) return { reply = ch, n = v } end, { queue = q })
                :tee(function(b) b:each("one", function(v) v.reply:send(v.n) end, { queue = q })
                  :to(stream.null_sink()) end)
                :each("two", function(v) v.reply:send(v.n) end, { queue = q }):take(7):to(stream.null_sink())
              assert(p:wait())
              assert(#ch >= 17 and #ch <= 20, #ch)
              check(p)
              print("done")
            end
            """,
        output: repeated(["done"], 3)),
    SeededCase(
        name: "a branch that stops reading is left out; when all have, the source ends",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local closed = stream.chan(1)
              closed:close()
              local p = range(1, 40):tee(
                  function(b) b:take(3):to(stream.null_sink()) end,
                  function(b) b:to(closed) end,
                  function(b) b:map("some", id, { queue = q }):take(0):to(stream.null_sink()) end)
                :buffer { capacity = q }:to(stream.null_sink())
              assert(p:wait())
              print(check(p).delivered)
              local e = range(1, math.huge):tee(function(b) b:buffer { capacity = q }:take(3):to(stream.null_sink()) end)
                :buffer { capacity = q }:take(5):to(stream.null_sink())
              assert(e:wait())
              print(check(e).delivered)
            end
            """,
        output: repeated(["43", "8"], 4)),
    SeededCase(
        name: "a failing stage in a branch fails the whole",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local p = range(1, math.huge)
                :tee(function(b) b:map("bad", function(v) if v == 4 then error("four") end return v end, { queue = q })
                  :to(stream.null_sink()) end)
                :map("good", id, { queue = q }):to(stream.null_sink())
              local ok, reason = p:wait()
              print(ok, reason:match("four"))
              check(p)
            end
            """,
        output: repeated(["nil\tfour"], 3)),
    SeededCase(
        name: "cancel while a slow branch holds the others back",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local out, direct = stream.chan(0), stream.chan(0)
              local p = range(1, math.huge):tee(
                  function(b) b:buffer { capacity = q }:to(function(v) out:send(v) end) end,
                  function(b) b:to(direct) end)
                :map("m", id, { queue = q }):to(stream.null_sink())
              stream.go(function() for _ = 1, 3 do out:recv() end p:cancel("enough") end)
              stream.go(function() for _ in direct:range() do end end)
              print(p:wait())
              check(p)
            end
            """,
        output: repeated(["nil\tenough"], 4)),
    SeededCase(
        name: "a tee inside of a tee, a branch continued twice, a branch that merges",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local a, to_a = keep()
              local b, to_b = keep()
              local c, to_c = keep()
              local d, to_d = keep()
              local p = range(1, 10):tee(function(x)
                x:tee(function(y) y:to(to_a) end):map("ten", function(v) return v * 10 end, { queue = q }):to(to_b)
                x:merge(range(100, 104)):to(to_c)
              end):to(to_d)
              assert(p:wait())
              print(sum(a), sum(b), sum(c), sum(d), check(p).delivered)
            end
            """,
        output: repeated(["55\t550\t565\t55\t45"], 3)),
    SeededCase(
        name: "values that a tee did not take go back to the channel",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local ch = stream.chan(20)
              for i = 1, 20 do ch:send(i) end
              ch:close()
              local p = stream.from(ch):tee(function(b) b:buffer { capacity = q }:take(2):to(stream.null_sink()) end)
                :buffer { capacity = q }:take(3):to(stream.null_sink())
              assert(p:wait())
              check(p)
              local last, n = nil, 0
              for v in ch:range() do assert(last == nil or v == last + 1) last, n = v, n + 1 end
              assert(n == 0 or last == 20)
              print(check(p).delivered)
            end
            """,
        output: repeated(["5"], 3)),
]

private let routes: [SeededCase] = [
    SeededCase(
        name: "route: the first that matches; the rest goes down the chain",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local three, to_three = keep()
              local two, to_two = keep()
              local rest, to_rest = keep()
              local p = range(1, 24):route {
                name = "by", queue = q,
                { name = "three", when = function(v) return v % 3 == 0 end,
                  to = function(b) b:map("m", id, { queue = q }):to(to_three) end },
                { when = function(v) return v % 2 == 0 end, to = function(b) b:buffer { capacity = q }:to(to_two) end },
              }:buffer { capacity = q }:to(to_rest)
              assert(p:wait())
              print(table.concat(three, " "), table.concat(two, " "), table.concat(rest, " "))
              assert(check(p).created == 24 and p:stats().delivered == 24)
            end
            """,
        output: repeated(["3 6 9 12 15 18 21 24\t2 4 8 10 14 16 20 22\t1 5 7 11 13 17 19 23"], 4)),
    SeededCase(
        name: "route with otherwise runs without an end, and with one",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              for i = 1, 3 do
                local big, to_big = keep()
                local small, to_small = keep()
                local p = range(1, 9):route {
                  { name = "big", when = function(v) return v > 5 end,
                    to = function(b) b:buffer { capacity = q }:to(to_big) end },
                  otherwise = function(b) b:map("s", id, { queue = q }):to(to_small) end,
                }
                if i == 2 then p = p:to(stream.null_sink()) end
                if i == 3 then
                  local list = p:map("never", id):collect()
                  print(#list, sum(big), sum(small))
                else
                  print(p:wait(), sum(big), sum(small), p:stats().delivered)
                end
              end
            end
            """,
        output: repeated(["true\t30\t15\t9", "true\t30\t15\t9", "0\t30\t15"], 3)),
    SeededCase(
        name: "a predicate's error follows on_error",
        script: head + """
            local function picky(v) if v == 3 then error("three") end return v > 5 end
            for _, q in ipairs { 0, 1, 256 } do
              local list = range(1, 8):route { on_error = "skip", queue = q,
                { when = picky, to = function(b) b:to(stream.null_sink()) end } }:collect()
              print(table.concat(list, " "))
              local ok, reason = range(1, 8):route { name = "strict", queue = q,
                { when = picky, to = function(b) b:to(stream.null_sink()) end } }:to(stream.null_sink()):wait()
              print(ok, reason:match('stage "strict"'), reason:match("three"), reason:match("value: 3"))
            end
            """,
        output: repeated(["1 2 4 5", "nil\tstage \"strict\"\tthree\tvalue: 3"], 3)),
    SeededCase(
        name: "a branch of a route that stops reading: its values are dropped and counted",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local p = range(1, 40):route { queue = q,
                { name = "odd", when = function(v) return v % 2 == 1 end,
                  to = function(b) b:buffer { capacity = q }:take(3):to(stream.null_sink()) end },
              }:buffer { capacity = q }:to(stream.null_sink())
              assert(p:wait())
              local s = check(p)
              print(s.delivered, s.dropped)
              local e = range(1, math.huge):route { queue = q,
                { when = function(v) return v % 2 == 1 end, to = function(b) b:take(3):to(stream.null_sink()) end },
                otherwise = function(b) b:take(2):to(stream.null_sink()) end }
              assert(e:wait())
              print(check(e).delivered)
            end
            """,
        output: repeated(["23\t17", "5"], 4)),
    SeededCase(
        name: "routes in routes, a branch continued twice, objects, and cancel",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local a, to_a = keep()
              local b, to_b = keep()
              local p = range(1, 20):map("wrap", function(v) return { n = v } end, { queue = q }):route { queue = q,
                { name = "even", when = function(v) return v.n % 2 == 0 end, to = function(x)
                  local y = x:route { queue = q, { when = function(v) return v.n % 4 == 0 end,
                    to = function(z) z:map("n", function(v) return v.n end, { queue = q }):to(to_a) end } }
                  y:map("n", function(v) return v.n end, { queue = q }):to(to_b)
                  y:map("n", function(v) return v.n * 100 end, { queue = q }):to(to_b)
                end } }:to(stream.null_sink())
              assert(p:wait())
              print(sum(a), sum(b), check(p).delivered)
              local seen = stream.chan(0)
              local c = range(1, math.huge):route { queue = q,
                { when = function(v) return v % 2 == 0 end, to = function(x) x:to(seen, { close = false }) end },
                otherwise = function(x) x:to(function(v) seen:send({ ch = seen }) end) end }
              stream.go(function() for _ = 1, 6 do seen:recv() end c:cancel("enough") end)
              print(c:wait())
              check(c)
            end
            """,
        // continued twice: the branch's 10 values go to two routes; 10 odd ones go down the chain
        output: repeated(["120\t5050\t30", "nil\tenough"], 3)),
]

private let batches: [SeededCase] = [
    SeededCase(
        name: "batch by size; the rest goes out at the end",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local p = range(1, 10):map("m", id, { queue = q }):buffer { capacity = q }:batch { size = 4 }
                :map("join", function(t) return table.concat(t, ",") end, { queue = q })
              print(table.concat(p:collect(), " "))
              print(#range(1, 0):batch { size = 4 }:collect(), #range(1, 3):batch { size = 1 }:collect())
            end
            """,
        output: repeated(["1,2,3,4 5,6,7,8 9,10", "0\t3"], 4)),
    SeededCase(
        name: "batch by time: what came within it of the first value",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local ch = stream.chan(0)
              stream.go(function()
                for i = 1, 9 do
                  ch:send(i)
                  stream.sleep(i % 3 == 0 and 1 or 0.1)
                end
                ch:close()
              end)
              local began = stream.now()
              local times, sizes = {}, {}
              local p = stream.from(ch):buffer { capacity = q }:batch { within = "500ms", size = 100 }:to(function(t)
                times[#times + 1] = ("%.1f"):format(stream.now() - began)
                sizes[#sizes + 1] = #t
              end)
              assert(p:wait())
              print(table.concat(sizes, " "), table.concat(times, " "), check(p).delivered)
            end
            """,
        // sent at 0, 0.1, 0.2; 1.2, 1.3, 1.4; 2.4, 2.5, 2.6: out half a second after the first of each
        output: repeated(["3 3 3\t0.5 1.7 2.9\t3"], 4)),
    SeededCase(
        name: "batches of every kind of value are arrays",
        script: head + """
            local shared = stream.chan(1)
            local kinds = { true, false, 7, -2.5, "text", "", stream.null, { 1, { a = "b" } }, { x = 1 }, shared }
            local list = stream.from(stream.values(kinds)):batch { size = 20 }:collect()[1]
            assert(#list == #kinds)
            for i, v in ipairs(list) do
              if type(kinds[i]) ~= "table" then assert(v == kinds[i], i) end
              assert(math.type(v) == math.type(kinds[i]))
            end
            print(list[8][2].a, list[9].x, stream.json.encode(stream.from(stream.values { 1, 2 }):batch { size = 2 }
              :map("json", function(t) return stream.json.encode(t) end):collect()[1]))
            """,
        output: ["b\t1\t\"[1,2]\""]),
    SeededCase(
        name: "cancel and a failure while a batch is gathered",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local ch = stream.chan(0)
              local p = stream.from(ch):buffer { capacity = q }:batch { size = 10, within = "1h" }:to(stream.null_sink())
              for i = 1, 4 do ch:send({ back = ch }) end
              stream.sleep(1)
              p:cancel("enough")
              print(p:wait())
              local s = check(p)
              print(s.delivered, s.dropped + s.created)
              local f = range(1, math.huge):batch { size = 3 }
                :map("bad", function(t) if t[1] == 7 then error("seven") end return t end, { queue = q })
                :to(stream.null_sink())
              local ok, reason = f:wait()
              print(ok, reason:match("seven"))
              check(f)
            end
            """,
        output: repeated(["nil\tenough", "0\t8", "nil\tseven"], 3)),
]

private let others: [SeededCase] = [
    SeededCase(
        name: "one pipeline continued several times has sources and workers of its own each time",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local calls = stream.chan(100)
              local p = range(1, 5):map("count", { setup = function() n = 0 calls:send("setup") end,
                process = function(v) n = n + 1 return n * 100 + v end }, { queue = q })
              local a = p:collect()
              local b, to_b = keep()
              assert(p:filter("f", function(v) return v > 300 end, { queue = q }):to(to_b):wait())
              local c = p:take(2):collect()
              print(sum(a), sum(b), sum(c), #calls)
            end
            """,
        output: repeated(["1515\t1212\t303\t3"], 3)),
    SeededCase(
        name: "a ticker ticks on its grid, drops what nobody took, and ends when it is closed",
        script: head + """
            local began = stream.now()
            local t = stream.ticker("100ms")
            local times = {}
            for i = 1, 3 do times[i] = ("%.1f"):format(t:recv() - began) end
            stream.sleep(0.55)
            -- the tick at 0.4 waits, those at 0.5 to 0.8 were dropped
            for i = 4, 6 do times[i] = ("%.1f"):format(t:recv() - began) end
            t:close()
            print(table.concat(times, " "), t:recv())
            local p = stream.from(stream.ticker(1)):map("m", id):take(3):collect()
            print(#p)
            local a = stream.after("2s")
            local from = stream.now()
            print(("%.1f"):format(a:recv() - from), a:recv())
            """,
        output: ["0.1 0.2 0.3 0.4 0.9 1.0\tnil\tclosed", "3", "2.0\tnil\tclosed"]),
    SeededCase(
        name: "a ticker that nobody waits for hides no deadlock",
        script: head + """
            local t, a = stream.ticker(1), stream.after(5)
            print(stream.chan(0):recv())
            """,
        output: ["nil\tcanceled"], status: .failed, failure: "deadlock"),
    SeededCase(
        name: "a pipeline that nobody reads is a deadlock, though no task waits",
        script: head + "range(1, 100):tee(function(b) b:to(stream.chan(3)) end):to(stream.null_sink())",
        output: [], status: .failed, failure: "deadlock"),
    SeededCase(
        name: "queues bounded in bytes pass all, one larger than the bound alone",
        script: head + """
            for _, bytes in ipairs { 1, 100, 5000 } do
              local list = range(1, 30):map("long", function(v) return ("x"):rep(v * 10) end)
                :buffer { bytes = bytes }:map("a", id):map("b", id, { queue = { bytes = bytes, capacity = 8 } })
                :tee(function(b) b:buffer { bytes = bytes }:take(9):to(stream.null_sink()) end)
                :buffer { bytes = bytes }:batch { size = 7 }:flat_map("f", function(t, emit)
                  for _, v in ipairs(t) do emit(#v) end
                end, { queue = { bytes = bytes } }):collect()
              print(#list, sum(list))
            end
            """,
        output: repeated(["30\t4650"], 3)),
]

package let graphCases = joins + forks + routes + batches + others

// Scripts that share limiters, in every order that a range of seeds gives.
import StreamRuntime

private let head = "local stream = require 'stream'\n"

package let limiterCases: [SeededCase] = [
    SeededCase(
        name: "waits on a leaky bucket end on an even grid",
        script: head + """
            local bucket = stream.leaky_bucket { rate = 10, capacity = 100 }
            local began = stream.now()
            for _ = 1, 20 do assert(bucket:wait()) end
            print(("%.6f"):format(stream.now() - began))
            """,
        output: ["1.900000"]
    ),
    SeededCase(
        name: "a change of rate plans anew those who wait, and they end exactly then",
        script: head + """
            local bucket = stream.token_bucket { rate = 1, burst = 1 }
            assert(bucket:allow())
            local group = {}
            local began = stream.now()
            for i = 1, 4 do
              group[i] = stream.go(function()
                assert(bucket:wait())
                return stream.now() - began
              end)
            end
            stream.sleep(0.5)          -- half a token is there
            bucket:set_rate(5)         -- the other half in 0.1 s, then one every 0.2 s
            stream.sleep(0.2)          -- one has passed at 0.6; at 0.7 half a token is there
            bucket:set_rate(0.5)       -- the next at 1.7
            stream.sleep(1.5)          -- at 2.2 a quarter is there
            bucket:set_rate(100)       -- at 2.2075, and 2.2175
            local times = {}
            for i = 1, 4 do times[i] = group[i]:wait() end
            table.sort(times)
            for i = 1, 4 do times[i] = ("%.6f"):format(times[i]) end
            print(table.concat(times, " "))
            """,
        output: ["0.600000 1.700000 2.207500 2.217500"]
    ),
    SeededCase(
        name: "stages in several workers share one limiter",
        script: head + """
            local bucket = stream.token_bucket { rate = 10, burst = 5 }
            local seen, times = stream.chan(100), {}
            local p = stream.from(stream.range(1, 25))
              :each("a", function() assert(bucket:wait()) seen:send(stream.now()) end, { workers = 3, queue = 1 })
              :to(stream.null_sink())
            p:wait()
            seen:close()
            for t in seen:range() do times[#times + 1] = t end
            table.sort(times)
            for i = 1, #times do
              for j = i, #times do assert(j - i + 1 <= 5 + 10 * (times[j] - times[i]) + 1e-6) end
            end
            print(#times, ("%.6f"):format(times[25] - times[1]))
            """,
        output: ["25\t2.000000"]
    ),
    SeededCase(
        name: "a cancelled wait gives its tokens back, and those behind move up",
        script: head + """
            local bucket = stream.token_bucket { rate = 1, burst = 10 }
            assert(bucket:allow(10))
            local began = stream.now()
            local large = stream.go(function() return bucket:wait(10) end)
            stream.sleep(0.001)
            local small = stream.go(function() assert(bucket:wait(2)) return stream.now() - began end)
            stream.sleep(0.999)
            large:cancel()
            print(large:wait())
            print(("%.6f"):format(small:wait()))
            stream.sleep(8)
            print(bucket:available())
            """,
        output: ["nil\tcanceled", "2.000000", "8"]
    ),
    SeededCase(
        name: "a wait that cannot end in time fails at once, and takes nothing",
        script: head + """
            local bucket = stream.token_bucket { rate = 10, burst = 2 }
            assert(bucket:allow(2))
            local began = stream.now()
            print(bucket:wait(1, 0.05))
            print(bucket:wait(3))
            print(stream.now() == began)
            print(bucket:wait(1, 0.1), ("%.6f"):format(stream.now() - began))
            """,
        output: ["nil\ttimeout", "nil\tlimited", "true", "true\t0.100000"]
    ),
    SeededCase(
        name: "permits of a worker that has ended are given back",
        script: head + """
            local limit = stream.concurrency { limit = 2 }
            local p = stream.from(stream.range(1, 4))
              :map("holds", function(v) limit:acquire() return v end, { queue = 1 }):to(stream.null_sink())
            stream.sleep(1)
            print(limit:available())
            p:cancel()
            p:wait()
            stream.sleep(1)
            print(limit:available())
            """,
        output: ["0", "2"]
    ),
    SeededCase(
        name: "run holds a permit around its function, however that ends",
        script: head + """
            local limit = stream.concurrency { limit = 2 }
            local inside, most = 0, 0
            local function work(i)
              inside = inside + 1
              most = math.max(most, inside)
              stream.sleep(0.1)
              inside = inside - 1
              if i % 2 == 0 then error("even", 0) end
              return i, "odd"
            end
            local tasks = {}
            for i = 1, 6 do tasks[i] = stream.go(function() return pcall(limit.run, limit, work, i) end) end
            for i = 1, 6 do print(tasks[i]:wait()) end
            print(most, limit:available())
            """,
        output: [
            "true\t1\todd", "false\teven", "true\t3\todd", "false\teven", "true\t5\todd", "false\teven", "2\t2",
        ]
    ),
    SeededCase(
        name: "those who wait are served in the order they came",
        script: head + """
            local bucket = stream.token_bucket { rate = 10, burst = 1 }
            local order = stream.chan(10)
            assert(bucket:allow())
            for i = 1, 5 do
              stream.go(function() assert(bucket:wait()) order:send(i) end)
              stream.sleep(0.001)
            end
            local list = {}
            for i = 1, 5 do list[i] = order:recv() end
            print(table.concat(list, " "))
            """,
        output: ["1 2 3 4 5"]
    ),
    SeededCase(
        name: "limit in a pipeline waits, and its accounts balance when it is cancelled",
        script: head + """
            local bucket = stream.token_bucket { rate = 10, burst = 2 }
            for _, q in ipairs { 0, 1, 256 } do
              local began = stream.now()
              local list = stream.from(stream.range(1, 12)):buffer { capacity = q }:limit(bucket)
                :map("id", function(v) return v end, { queue = q }):collect()
              print(#list, list[12], ("%.6f"):format(stream.now() - began))
              stream.sleep(1)
              local p = stream.from(stream.range(1, math.huge)):limit(bucket):map("id", function(v) return v end,
                { queue = q }):to(stream.null_sink())
              stream.sleep(0.55)
              p:cancel()
              p:wait()
              local s = p:stats()
              print(s.created == s.delivered + s.consumed + s.filtered + s.failed + s.dropped + s.dead_lettered + s.returned)
              stream.sleep(1)
              print(bucket:available())
            end
            """,
        output: (1...3).flatMap { _ in ["12\t12\t1.000000", "true", "2"] }
    ),
    SeededCase(
        name: "limit drops, or sends elsewhere, by key",
        script: head + """
            local values = {}
            for i = 1, 30 do values[i] = { user = "u" .. i % 3, n = i } end
            for _, key in ipairs { "user", function(v) return v.user end } do
              local bucket = stream.token_bucket { rate = 0.001, burst = 4 }
              local p = stream.from(stream.values(values)):limit(bucket, { mode = "drop", key = key })
                :to(stream.null_sink())
              p:wait()
              local s = p:stats()
              print(s.created, s.delivered, s.dropped, s.stages[1].drops.limited, bucket:of("u1"):available())
              bucket:set_burst(5)
              local over = stream.chan(100)
              local passed = {}
              p = stream.from(stream.values(values)):limit(bucket, { mode = { to = over }, key = key })
                :to(function(v) passed[#passed + 1] = v end)
              p:wait()
              local n = 0
              for v in over:range() do assert(v.user) n = n + 1 end
              s = p:stats()
              print(#passed, n, s.created, s.delivered)
            end
            """,
        output: (1...2).flatMap { _ in ["30\t12\t18\t18\t0", "0\t30\t30\t30"] }
    ),
]

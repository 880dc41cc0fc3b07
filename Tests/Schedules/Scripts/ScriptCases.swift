// Whole scripts: pipelines of stages, and how they end.
import StreamRuntime

private let head = "local stream = require 'stream'\n"

package let scriptCases: [SeededCase] = [
    SeededCase(
        name: "links of every capacity",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              for _, r in ipairs { 0, 1, 2, 256 } do
                local list = stream.from(stream.range(1, 30))
                  :map("double", function(v) return v * 2 end, { queue = q })
                  :filter("some", function(v) return v % 3 ~= 0 end, { queue = r })
                  :each("look", function() end, { queue = q }):collect()
                for i = 2, #list do assert(list[i - 1] < list[i], "order") end
                print(q, r, #list, list[1], list[#list])
              end
            end
            """,
        output: [0, 1, 2, 256].flatMap { q in [0, 1, 2, 256].map { "\(q)\t\($0)\t20\t2\t58" } }),
    SeededCase(
        name: "several workers",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local seen, n, sum = {}, 0, 0
              stream.from(stream.range(1, 50))
                :map("square", function(v) return v * v end, { workers = 3, queue = q })
                :map("back", function(v) return math.tointeger(v ^ 0.5) end, { workers = 2, queue = q })
                :to(function(v) assert(not seen[v]) seen[v] = true n = n + 1 sum = sum + v end)
              print(stream.run(), n, sum)
            end
            """,
        output: Array(repeating: "true\t50\t1275", count: 4)),
    SeededCase(
        name: "take ends what is upstream",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local list = stream.from(stream.range(1, math.huge))
                :map("id", { process = function(v) return v end, teardown = function(r) print("end", r) end },
                  { queue = q, workers = q == 2 and 2 or 1 })
                :take(5):collect()
              table.sort(list)
              if q ~= 2 then print(table.concat(list, " ")) else print(#list) end
            end
            """,
        output: ["1 2 3 4 5", "1 2 3 4 5", "5", "1 2 3 4 5"] + Array(repeating: "end\tdone", count: 5)),
    SeededCase(
        name: "errors are skipped",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local list = stream.from(stream.range(1, 12))
                :map("picky", function(v) if v % 3 == 0 then error("bad " .. v) end return v end,
                  { on_error = "skip", queue = q })
                :map("cannot send", function(v) if v == 4 then return print end return v end,
                  { on_error = "skip", queue = q }):collect()
              print(table.concat(list, " "))
            end
            """,
        output: Array(repeating: "1 2 5 7 8 10 11", count: 3)),
    SeededCase(
        name: "an error stops the pipeline, and someone waits for it",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local p = stream.from(stream.range(1, math.huge))
                :map("picky", function(v) if v == 7 then error("bad " .. v) end return v end, { queue = q })
                :to(stream.null_sink())
              local ok, reason = p:wait()
              print(ok, reason:match("bad %d+"), reason:match("value: %d+"))
            end
            """,
        output: Array(repeating: "nil\tbad 7\tvalue: 7", count: 3)),
    SeededCase(
        name: "an error that nobody receives fails the run",
        script: head + """
            stream.from(stream.range(1, math.huge))
              :map("picky", function(v) if v == 7 then error("bad " .. v) end return v end, { workers = 2 })
              :to(stream.null_sink())
            print("declared")
            """,
        output: ["declared"], status: .failed, failure: "bad 7"),
    SeededCase(
        name: "cancel in the middle",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local seen = stream.chan(0)
              local p
              p = stream.from(stream.generate(function(emit) local n = 0 repeat n = n + 1 until not emit(n) end))
                :map("a", function(v) return v end, { queue = q, workers = 2 })
                :filter("b", function(v) return v % 2 == 0 end, { queue = q })
                :to(function(v) seen:send(v) end)
              stream.go(function() for i = 1, 3 do assert(seen:recv()) end p:cancel("enough") end)
              print(p:wait())
            end
            """,
        output: Array(repeating: "nil\tenough", count: 4)),
    SeededCase(
        name: "several pipelines into one channel",
        script: head + """
            for _, c in ipairs { 0, 1, 256 } do
              local ch = stream.chan(c)
              for i = 1, 3 do
                stream.from(stream.range(i * 100 + 1, i * 100 + 10))
                  :map("m", function(v) return v end, { queue = c }):to(ch)
              end
              stream.from(stream.values { 1, 2, 3 }):to(ch)
              local n, sum = 0, 0
              for v in ch:range() do n, sum = n + 1, sum + v end
              print(n, sum, ch:is_closed())
              local more = stream.chan(c)
              stream.go(function() for i = 1, 20 do more:send(i) end more:close() end)
              print(#stream.from(more):map("x", function(v) return v end, { workers = 2, queue = c }):collect())
            end
            """,
        output: (1...3).flatMap { _ in ["33\t6171\ttrue", "20"] }),
    SeededCase(
        name: "values that no stage took go back",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local ch = stream.chan(10)
              for i = 1, 10 do ch:send(i) end
              ch:close()
              print(table.concat(stream.from(ch):take(3):collect(), " "))
              local list = stream.from(ch):map("m", function(v) return v end, { queue = q }):take(2):collect()
              print(table.concat(list, " "))
              local last = 0
              for v in ch:range() do
                assert(v > 5 and (last == 0 or v == last + 1), "not in order")
                last = v
              end
              assert(last == 10 or last == 0)
            end
            """,
        output: (1...3).flatMap { _ in ["1 2 3", "4 5"] }),
    SeededCase(
        name: "stage processes",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local list = stream.from(stream.range(1, 20))
                :stage("pairs", function(input, output)
                  for v in input:range() do
                    local w = input:recv()
                    output:send({ v, w })
                  end
                end, { queue = q })
                :flat_map("flat", function(v, emit) for _, x in ipairs(v) do emit(x) end end, { queue = q })
                :scan("sum", 0, function(s, v) return s + v end, { queue = q })
                :collect()
              print(#list, list[20])
              print(stream.from(stream.range(1, 20)):reduce("r", 0, function(s, v) return s + v end):collect()[1])
            end
            """,
        output: (1...3).flatMap { _ in ["20\t210", "210"] }),
    SeededCase(
        name: "setup, flush and teardown",
        script: head + """
            local log = stream.chan(100)
            local list = stream.from(stream.range(1, 10)):map("parts", {
              setup = function() count = 0 log:send("setup") end,
              process = function(v) count = count + 1 return v end,
              flush = function(emit) emit(-count) stream.sleep(0.001) emit(0) end,
              teardown = function(reason) log:send(reason) end,
            }, { workers = 2, queue = 1 }):collect()
            local sum = 0
            for _, v in ipairs(list) do sum = sum + v end
            print(#list, sum)
            log:close()
            for line in log:range() do print(line) end
            """,
        output: ["14\t45", "setup", "setup", "done", "done"]),
    SeededCase(
        name: "stage processes that drop, make and leave values",
        script: head + """
            for _, q in ipairs { 0, 1, 2, 256 } do
              local list = stream.from(stream.range(1, 20))
                :stage("early", function(input, output)
                  for v in input:range() do
                    if v == 9 then return end
                    if v % 2 == 0 then output:send(v) output:try_send(-v) end
                  end
                end, { queue = q })
                :take(2):collect()
              print(#list, list[1])
              local p = stream.from(stream.range(1, math.huge))
                :stage("cancelled", function(input, output) for v in input:range() do output:send(v) end end,
                  { queue = q, workers = 2 })
                :stage("failing", function(input) for i = 1, 5 do input:recv() end error("enough") end)
                :to(stream.null_sink())
              local ok, reason = p:wait()
              print(ok, reason:match("enough"))
            end
            """,
        output: (1...4).flatMap { _ in ["2\t2", "nil\tenough"] }),
    SeededCase(
        name: "the memory limit where Lua cannot leave a C function",
        script: head + """
            local p = stream.from(stream.range(1, 3)):map("greedy", function(v)
              tostring(setmetatable({}, { __tostring = function() local t = {} while true do t[#t + 1] = { #t } end end }))
            end, { memory = "1MB" }):to(stream.null_sink())
            local ok, reason = p:wait()
            print(ok, reason:match("memory limit of 1MB exceeded"))
            """,
        output: ["nil\tmemory limit of 1MB exceeded"]),
    SeededCase(
        name: "nothing can move",
        script: head + """
            local ch = stream.chan(0)
            stream.go(function() ch:recv() print("woken") end)
            ch:send(1)
            ch:recv()
            print("never before the end")
            """,
        output: ["woken", "never before the end"], status: .failed, failure: "deadlock"),
]

// Scripts of tasks, groups, workers and once functions.
private let head = "local stream = require 'stream'\n"

extension Families {
    package static let taskCases: [SeededCase] = [
        SeededCase(
            name: "several wait for one task, and ask again after its end",
            script: head + """
                local task = stream.go(function(...) stream.sleep(0.1) return select("#", ...), ..., nil end, 7, nil)
                local waiters = {}
                for i = 1, 5 do waiters[i] = stream.go(function() return task:wait() end) end
                print(task:wait(0.01))
                for i = 1, 5 do print(waiters[i]:wait()) end
                print(task:wait()) print(task:status(), waiters[1]:status())
                local t = task:wait()
                """,
            output: ["nil\ttimeout"] + Array(repeating: "2\t7\tnil", count: 6) + ["done\tdone"]),
        SeededCase(
            name: "a copy for each that waits",
            script: head + """
                local task = stream.go(function() return { 1 } end)
                local a, b = task:wait(), task:wait()
                a[1] = 2
                print(b[1], task:wait()[1])
                """,
            output: ["1\t1"]),
        SeededCase(
            name: "a task that is cancelled ends what it started, and not what started it",
            script: head + """
                local inner
                local task = stream.go(function()
                  inner = stream.go(stream.sleep, 100)
                  return stream.sleep(100)
                end)
                local sibling = stream.go(stream.sleep, 0.01)
                stream.sleep(0.001)
                task:cancel("why")
                print(task:wait()) print(inner:wait()) print(sibling:wait()) print(stream.context():err())
                do local t <close> = stream.go(stream.sleep, 100) task = t end
                print(task:wait())
                """,
            output: ["nil\tcanceled", "nil\tcanceled", "true", "nil", "nil\tcanceled"]),
        SeededCase(
            name: "what a task starts outlives its end",
            script: head + """
                local inner
                local task = stream.go(function() inner = stream.go(function() return stream.sleep(0.1) end) return "first" end)
                print(task:wait()) print(inner:wait()) print(inner:status())
                """,
            output: ["first", "true", "done"]),
        SeededCase(
            name: "two that wait for each other",
            script: head + """
                local a, b
                a = stream.go(function() return b:wait() end)
                b = stream.go(function() return a:wait() end)
                local own own = stream.go(function() stream.sleep(0.1) return own:wait() end)
                print(select(2, own:wait()))
                """,
            output: ["script.lua:5: a task cannot wait for itself"], status: .failed,
            failure: "script.lua:3: main is waiting for the task of script.lua:4"),
        SeededCase(
            name: "a group holds its limit, and its places go round",
            script: head + """
                for limit = 1, 4 do
                  local group, live, most, done = stream.group { limit = limit }, 0, 0, 0
                  for i = 1, 12 do
                    group:go(function(n)
                      live = live + 1 most = math.max(most, live)
                      stream.sleep(n % 3 / 1000)
                      live, done = live - 1, done + 1
                    end, i)
                  end
                  print(group:wait(), most, done)
                end
                """,
            output: (1...4).map { "true\t\($0)\t12" }),
        SeededCase(
            name: "the first failure of a group cancels the rest, and is received",
            script: head + """
                for _, bad in ipairs { function() error "raised" end, function() return nil, "returned" end } do
                  local group, canceled = stream.group(), 0
                  for i = 1, 4 do
                    group:go(function() local ok, why = stream.sleep(100) if why == "canceled" then canceled = canceled + 1 end end)
                  end
                  group:go(function() stream.sleep(0.01) bad() return bad() end)
                  local ok, why = group:wait()
                  print(ok, why:match("raised") or why, canceled, stream.now() < 1)
                  print(group:go(print))
                end
                """,
            output: ["nil\traised\t4\ttrue", "nil\treturned\t4\ttrue", "nil\tcanceled", "nil\tcanceled"]),
        SeededCase(
            name: "a failure of a group that nobody waits for is the run's",
            script: head + "stream.group():go(function() error 'lost' end)", output: [], status: .failed,
            failure: "script.lua:2: lost"),
        SeededCase(
            name: "go of a full group ends with its caller's context, and the place is kept for others",
            script: head + """
                local group = stream.group { limit = 1 }
                group:go(stream.sleep, 1)
                local ctx = stream.context():with_timeout(0.1)
                print(ctx:run(function() return group:go(print, "never") end))
                group:go(print, "then")
                print(group:wait())
                """,
            output: ["nil\tdeadline exceeded", "then", "true"]),
        SeededCase(
            name: "workers share nothing but what is shared",
            script: head + """
                local n, ch = 0, stream.chan(0)
                local w = stream.worker("count", function(k)
                  for i = 1, k do n = n + 1 ch:send(1) end
                  return n, k
                end)
                local tasks = {}
                for i = 1, 4 do tasks[i] = w:start(i) end
                local sum = 0
                for _ = 1, 10 do sum = sum + ch:recv() end
                for i = 1, 4 do print(tasks[i]:wait()) end
                print(n, sum)
                """,
            output: ["1\t1", "2\t2", "3\t3", "4\t4", "0\t10"]),
        SeededCase(
            name: "a worker that fails, one that is cancelled, one over its memory",
            script: head + """
                local function reason(task) local ok, why = task:wait() print(ok, why) end
                reason(stream.worker("bad", function() error("boom") end):start())
                local slow = stream.worker("slow", function() return stream.sleep(100) end):start()
                stream.sleep(0.01) slow:cancel() reason(slow)
                local greedy = stream.worker("greedy", function() local t = {} while true do t[#t + 1] = { #t } end end,
                  { memory = "1MB" })
                reason(greedy:start())
                """,
            output: [
                "nil\tworker \"bad\" (script.lua:3): script.lua:3: boom", "nil\tcanceled",
                "nil\tworker \"greedy\" (script.lua:6): script.lua:6: memory limit of 1MB exceeded (memory = \"2MB\" would raise it)",
            ]),
        SeededCase(
            name: "a once function runs once for all workers",
            script: head + """
                local runs = stream.chan(100)
                local once = stream.once(function() runs:send(1) stream.sleep(0.01) return { 7 }, "two" end)
                local w = stream.worker("w", function(again) local t, s = once() return t[1], s, again()[1] end)
                local tasks = {}
                for i = 1, 3 do tasks[i] = w:start(once) end
                for i = 4, 6 do tasks[i] = stream.go(function() local t, s = once() return t[1], s, 7 end) end
                for i = 1, 6 do print(tasks[i]:wait()) end
                print(#runs)
                """,
            output: Array(repeating: "7\ttwo\t7", count: 6) + ["1"]),
        SeededCase(
            name: "a once function that raises raises for all; one that is cancelled is run by the next",
            script: head + """
                local tries = stream.chan(100)
                local bad = stream.once(function() tries:send(1) stream.sleep(0.01) error("bad") end)
                local tasks = {}
                for i = 1, 3 do tasks[i] = stream.go(function() return select(2, pcall(bad)) end) end
                for i = 1, 3 do print(tasks[i]:wait()) end
                print(#tries)
                local slow = stream.once(function() tries:send(1) local ok, why = stream.sleep(1) if not ok then return nil, why end return "done" end)
                local first = stream.go(function() return slow() end)
                stream.sleep(0.001)
                local second = stream.go(function() return slow() end)
                stream.sleep(0.001)
                first:cancel()
                print(first:wait()) print(second:wait()) print(#tries)
                """,
            output: Array(repeating: "script.lua:3: bad", count: 3) + ["1", "nil\tcanceled", "done", "3"]),
        SeededCase(
            name: "what a task has to close is closed when it raises, by handlers that may wait",
            script: head + """
                local limit = stream.concurrency { limit = 1 }
                for i = 1, 3 do
                  local task = stream.go(function(a, b)
                    local permit <close> = limit:acquire()
                    local last <close> = setmetatable({}, { __close = function(_, e)
                      stream.sleep(1)
                      print("closed", e:match(": (.*)"))
                    end })
                    stream.sleep(1)
                    error("bad " .. a + b)
                  end, i, 1)
                  print(task:wait())
                end
                print(limit:available())
                stream.from(stream.range(1, 3)):stage("s", function(input)
                  local last <close> = setmetatable({}, { __close = function() print("stage closed") end })
                  error("stage " .. input:recv())
                end):to(stream.null_sink())
                print((select(2, stream.run()):match("stage %d")))
                """,
            output: (2...4).flatMap { ["closed\tbad \($0)", "nil\tscript.lua:11: bad \($0)"] } + [
                "1", "stage closed", "stage 1",
            ]),
        SeededCase(
            name: "what waits on after the run has ended is named and dropped",
            script: head + """
                local ch = stream.chan(0)
                stream.go(function() stream.context():without_cancel():run(function() ch:recv() end) print "never" end)
                ch:recv()
                """,
            output: [], status: .failed, failure: "deadlock"),
    ]
}

// Workers over their memory limit, in every order that a range of seeds gives.
import StreamRuntime

private let head = """
    local stream = require 'stream'
    local function range(a, b) return stream.from(stream.range(a, b)) end
    local function check(p)  -- the account of a pipeline that has ended
      local s = p:stats()
      assert(s.created == s.delivered + s.consumed + s.filtered + s.failed + s.dropped, "account")
      return s
    end
    local kept = {}
    local function greedy() while true do pcall(function() kept[#kept + 1] = { #kept } end) end end

    """

extension Families {
    package static let memoryLimitCases: [SeededCase] = [
        SeededCase(
            name: "memory: the value in hand is lost, and no other, whatever the stage",
            script: head + """
                for _, options in ipairs {
                  {}, { workers = 3 }, { workers = 3, ordered = true }, { workers = 3, key = function(v) return v end },
                  { workers = 2, ordered = true, key = function(v) return v % 3 end }, { queue = 0 }, { queue = 1 },
                } do
                  options.memory, options.on_error = "1MB", "skip"
                  local got, last = {}, 0
                  local p = range(1, 20):map("work", function(v)
                    if v % 7 == 0 then greedy() end
                    return v
                  end, options):to(function(v)
                    assert(v % 7 ~= 0 and not got[v])
                    if options.ordered or not options.workers then assert(v > last) last = v end
                    got[v] = true
                  end)
                  assert(p:wait())
                  local s = check(p)
                  print(s.delivered, s.failed, s.stages[1].limits.memory.stopped)
                end
                """,
            output: Array(repeating: "18\t2\t2", count: 7)),
        SeededCase(
            name: "memory: what flat_map had emitted has left, at any queue",
            script: head + """
                for _, q in ipairs { 0, 1, 256 } do
                  local p = range(1, 3):flat_map("many", function(v, emit)
                    emit(v) emit(-v)
                    if v == 2 then greedy() end
                    emit(v * 10)
                  end, { memory = "1MB", on_error = "skip" })
                  print(table.concat(p:map("behind", function(v) return v end, { queue = q }):collect(), " "))
                end
                """,
            output: Array(repeating: "1 -1 10 2 -2 3 -3 30", count: 3)),
        SeededCase(
            name: "memory: a task of the stage is over it while the stage waits, sends, or has a value",
            script: head + """
                for _, wait in ipairs { 0.005, 0.05, 0.12 } do
                  local out = stream.chan(0)
                  local p = range(1, 3):map("work", function(v)
                    if v == 2 then stream.go(function() stream.sleep(wait) greedy() end) end
                    stream.sleep(0.01)
                    return v
                  end, { memory = "1MB", on_error = "skip" }):to(out)
                  local n = 0
                  for v in out:range() do n = n + 1 stream.sleep(0.1) end
                  assert(p:wait())
                  local s = check(p)
                  assert(s.delivered == n and s.delivered + s.failed + s.dropped == 3 and n >= 2)
                end
                print("done")
                """,
            output: ["done"]),
        SeededCase(
            name: "memory: setup and teardown run once for each worker, and what it had is taken back",
            script: head + """
                local log, gate = stream.chan(100), stream.concurrency { limit = 2 }
                local p = range(1, 6):map("work", {
                  setup = function() log:send("setup") end,
                  process = function(v)
                    local permit = gate:acquire()
                    stream.go(stream.sleep, 1e6)
                    if v % 3 == 0 then greedy() end
                    stream.sleep(0.01)
                    permit:release()
                  end,
                  teardown = function(reason) stream.sleep(0.01) log:send(reason) end,
                }, { memory = "1MB", on_error = "skip" }):to(stream.null_sink())
                assert(p:wait())
                log:close()
                local line = {}
                for word in log:range() do line[#line + 1] = word end
                print(table.concat(line, " "), gate:available(), check(p).failed)
                """,
            output: ["setup failed setup failed setup done\t2\t2"]),
        SeededCase(
            name: "memory: stop, process, generator: the pipeline fails and the rest goes on",
            script: head + """
                local others = range(1, 50):map("other", function(v) stream.sleep(0.001) return v end):to(stream.null_sink())
                local function told(p)
                  local ok, why = p:wait()
                  check(p)
                  print(ok, (why:gsub("%(memory.-%) ", "")))
                end
                told(range(1, 9):map("map", function(v) if v == 3 then greedy() end return v end, { memory = "1MB" })
                  :to(stream.null_sink()))
                told(range(1, 9):stage("process", function(input, output)
                  for v in input:range() do if v == 3 then greedy() end output:send(v) end
                end, { memory = "1MB" }):to(stream.null_sink()))
                print(others:wait(), others:stats().delivered)
                """,
            output: [
                "nil\tstage \"map\" (script.lua:16): script.lua:9: memory limit of 1MB exceeded (value: 3)",
                "nil\tstage \"process\" (script.lua:18): script.lua:9: memory limit of 1MB exceeded (value: 3)",
                "true\t50",
            ]),
        SeededCase(
            name: "memory: cancelled meanwhile, the pipeline ends with its own reason",
            script: head + """
                for i = 1, 4 do
                  local p = range(1, 50):map("work", function(v)
                    stream.sleep(0.01)
                    if v % 2 == 0 then greedy() end
                    return v
                  end, { memory = "1MB", on_error = "skip", workers = i }):to(stream.null_sink())
                  stream.sleep(0.035)
                  p:cancel("enough")
                  print(p:wait())
                  check(p)
                end
                """,
            output: Array(repeating: "nil\tenough", count: 4)),
        SeededCase(
            name: "memory: workers of their own end with the reason, and so do those that wait for them",
            script: head + """
                local greedy_worker = stream.worker("greedy", function(ch)
                  stream.go(function() ch:recv() end)
                  stream.sleep(0.01)
                  stream.go(greedy)
                  stream.sleep(1e3)
                end, { memory = "1MB" })
                local ch = stream.chan(0)
                local tasks = {}
                for i = 1, 3 do tasks[i] = greedy_worker:start(ch) end
                for i = 1, 3 do
                  local ok, why = tasks[i]:wait()
                  print(ok, why:match("worker \\"greedy\\" %(script.lua:%d+%): script.lua:9: memory limit of 1MB exceeded") ~= nil)
                end
                print(ch:try_send(1))
                """,
            output: Array(repeating: "nil\ttrue", count: 3) + ["nil\tfull"]),
    ]
}

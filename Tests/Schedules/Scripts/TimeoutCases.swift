// The time that a stage gives each value, in every order that a range of seeds gives.
import StreamRuntime

private let head = """
    local stream = require 'stream'
    local function range(a, b) return stream.from(stream.range(a, b)) end
    -- The time from `began` until now, in milliseconds of a clock that moves only while all wait.
    local function ms(began) return math.floor((stream.now() - began) * 1e3 + 0.5) end
    \(SeededCase.accountCheck)

    """

private let late = "nil deadline exceeded 250"

extension Families {
    package static let timeoutCases: [SeededCase] = [
        SeededCase(
            name: "each wait of a value ends exactly at its deadline, and the value passes on",
            script: head + """
                local full, empty, bucket = stream.chan(1), stream.chan(0), stream.token_bucket { rate = 1, burst = 1 }
                local gate = stream.concurrency { limit = 1 }
                full:send(0) bucket:allow() local held = gate:acquire()
                local t = range(1, 10):map("wait", function(i)
                  local waits = {
                    function() return full:send(1) end,
                    function() return empty:recv() end,
                    function() return empty:recv(1) end,
                    function() return stream.sleep(0.251) end,
                    function() return stream.select { { recv = empty }, { send = full, value = 2 } } end,
                    function() return gate:acquire() end,
                    function() for _ in empty:range() do end return nil, stream.context():err() end,
                    function() return stream.go(function() empty:recv() empty:recv() end):wait() end,
                    function() local g = stream.group() g:go(stream.sleep, 60) return g:wait() end,
                    function() return stream.context():run(stream.sleep, 1) end,
                  }
                  local began = stream.now()
                  local ok, why = waits[i]()
                  return tostring(ok) .. " " .. why .. " " .. ms(began)
                end, { timeout = "250ms" }):collect()
                for _, line in ipairs(t) do print(line) end
                """,
            output: Array(repeating: late, count: 10)),
        SeededCase(
            name: "all waits of a value together have its time, and the next value has its own",
            script: head + """
                local p = range(1, 4):map("wait", function(v)
                  local began, n = stream.now(), 0
                  while stream.sleep(0.08) do n = n + 1 end
                  assert(ms(began) == 200 and stream.sleep(0) == nil and ms(began) == 200)
                  return n * 10 + v
                end, { timeout = 0.2 }):to(function(v) print(v) end)
                local began = stream.now()
                print(p:wait(), ms(began), check(p).delivered)
                """,
            output: ["21", "22", "23", "24", "true\t800\t4"]),
        SeededCase(
            name: "one limiter's wait that cannot end in time fails at once and takes nothing",
            script: head + """
                local bucket = stream.token_bucket { rate = 10, burst = 1 }
                local began = stream.now()
                local t = range(1, 2):map("limited", function(v)
                  local ok, why = bucket:wait(v == 1 and 1 or 8)
                  return tostring(ok) .. " " .. tostring(why)
                end, { timeout = 0.5 }):collect()
                print(t[1], t[2], ms(began))
                """,
            output: ["true nil\tnil limited\t0"]),
        SeededCase(
            name: "a value's context has its deadline, and so have the tasks that it started",
            script: head + """
                local told = stream.chan(10)
                local p = range(1, 3):each("start", function(v)
                  local ctx = stream.context()
                  assert(ctx == stream.context() and ms(ctx:deadline() - 0.1 * v) == 0 or v > 1)
                  assert(math.abs(ctx:deadline() - stream.now() - 0.1) < 1e-9)
                  stream.go(function()
                    assert(stream.context():deadline() == ctx:deadline())
                    local _, why = stream.sleep(1)
                    told:send(v .. why)
                  end)
                end, { timeout = 0.1 }):to(stream.null_sink())
                print(p:wait())
                local seen = {}
                for _ = 1, 3 do seen[told:recv()] = true end
                print(seen["1deadline exceeded"], seen["2deadline exceeded"], seen["3deadline exceeded"])
                """,
            output: ["true", "true\ttrue\ttrue"]),
        SeededCase(
            name: "what a value's end raises follows on_error: skip",
            script: head + """
                for _, options in ipairs {
                  {}, { workers = 3 }, { workers = 3, ordered = true }, { workers = 3, key = function(v) return v end },
                  { workers = 2, ordered = true, key = function(v) return v % 3 end }, { queue = 0 }, { queue = 1 },
                } do
                  options.timeout, options.on_error = 0.05, "skip"
                  local got, last = {}, 0
                  local p = range(1, 30):map("work", function(v)
                    assert(stream.sleep(v % 5 == 0 and 0.1 or 0.01))
                    return v
                  end, options):to(function(v)
                    assert(v % 5 ~= 0 and not got[v])
                    if options.ordered or not options.workers then assert(v > last) last = v end
                    got[v] = true
                  end)
                  assert(p:wait())
                  local s = check(p)
                  print(s.delivered, s.failed)
                end
                """,
            output: Array(repeating: "24\t6", count: 7)),
        SeededCase(
            name: "what a value's end raises follows on_error: stop",
            script: head + """
                local p = range(1, 9):map("work", function(v)
                  if v == 3 then assert(stream.sleep(1)) end
                  return v
                end, { timeout = 0.05 }):to(stream.null_sink())
                local ok, why = p:wait()
                check(p)
                print(ok, why)
                """,
            output: ["nil\tstage \"work\" (script.lua:10): script.lua:11: deadline exceeded (value: 3)"]),
        SeededCase(
            name: "flat_map: what was emitted in time has left, and an emit that waits ends at the deadline",
            script: head + """
                for _, q in ipairs { 0, 1, 4 } do
                  local out, said = stream.chan(q), stream.chan(1)
                  local p = range(1, 1):flat_map("many", function(v, emit)
                    local began, n = stream.now(), 0
                    while true do
                      local ok, why = emit(n + 1)
                      if not ok then return said:send(why .. ms(began)) end
                      n = n + 1
                    end
                  end, { timeout = 0.1 }):to(out)
                  print(said:recv())
                  local n = 0
                  for v in out:range() do n = n + 1 assert(v == n) end
                  assert(n >= q and p:wait())
                  check(p)
                end
                """,
            output: Array(repeating: "deadline exceeded100", count: 3)),
        SeededCase(
            name: "scan and reduce have their values' deadlines and keep their state",
            script: head + """
                local function add(s, v) stream.sleep(v == 2 and 1 or 0.01) return s + v end
                local began = stream.now()
                print(table.concat(range(1, 4):scan("scan", 0, add, { timeout = 0.1 }):collect(), " "), ms(began))
                print(range(1, 4):reduce("reduce", 0, add, { timeout = 0.1 }):collect()[1])
                """,
            output: ["1 3 6 10\t130", "10"]),
        SeededCase(
            name: "stages in one worker each have their own time",
            script: head + """
                local began = stream.now()
                local t = range(1, 3):flat_map("outer", function(v, emit)
                    emit(v)
                    local ok, why = stream.sleep(1)
                    emit(why .. ms(began))
                  end, { timeout = 0.3 })
                  :map("inner", function(v)
                    local ok, why = stream.sleep(v == 2 and 1 or 0)
                    return v .. (why or "")
                  end, { timeout = 0.1, isolated = false })
                  :filter("untimed", function(v) stream.sleep(0) return true end, { isolated = false }):collect()
                for _, v in ipairs(t) do print(v) end
                """,
            output: [
                "1", "deadline exceeded300deadline exceeded", "2deadline exceeded",
                "deadline exceeded600deadline exceeded", "3", "deadline exceeded900deadline exceeded",
            ]),
        SeededCase(
            name: "coroutines and contexts of the script's own, over a value's deadline",
            script: head + """
                local own = stream.context():with_cancel()
                local t = range(1, 3):map("work", function(v)
                  local began, seen = stream.now(), {}
                  local co = coroutine.wrap(function()
                    own:run(function() coroutine.yield(stream.context() == own) end)
                    local ok, why = stream.sleep(1)
                    coroutine.yield(why .. ms(began))
                  end)
                  assert(co() and stream.context() ~= own)
                  seen[1] = co()
                  assert(stream.sleep(0) == nil)
                  seen[2] = tostring(stream.context():without_cancel():run(stream.sleep, 0.5)) .. ms(began)
                  seen[3] = stream.context():err()
                  return table.concat(seen, " ")
                end, { timeout = 0.1 }):collect()
                for _, v in ipairs(t) do print(v) end
                """,
            output: Array(repeating: "deadline exceeded100 true600 deadline exceeded", count: 3)),
        SeededCase(
            name: "a pipeline that is cancelled meanwhile ends with its own reason",
            script: head + """
                for i = 1, 4 do
                  local p = range(1, 50):map("work", function(v)
                    local ok, why = stream.sleep(v % 2 == 0 and 0.03 or 0.01)
                    assert(ok, why)
                    return v
                  end, { timeout = 0.02, on_error = "skip", workers = i }):to(stream.null_sink())
                  stream.sleep(0.05)
                  p:cancel("enough")
                  local ok, why = p:wait()
                  local s = check(p)
                  assert(s.delivered < 50)
                  print(ok, why)
                end
                """,
            output: Array(repeating: "nil\tenough", count: 4)),
        SeededCase(
            name: "deadlines of values and sends to others meet: nothing is lost and nothing comes twice",
            script: head + """
                local out, got = stream.chan(0), {}
                local p = range(1, 40):each("send", function(v)
                  local ok, why = out:send(v)
                  if not ok then assert(why == "deadline exceeded") got[v] = (got[v] or 0) + 1 end
                end, { timeout = 0.01, workers = 1 }):to(stream.null_sink())
                local seen = {}
                local reader = stream.go(function()
                  while true do
                    stream.sleep(0.01)
                    local v, why = out:recv(0.03)
                    if not v then return why end
                    assert(not seen[v])
                    seen[v] = true
                  end
                end)
                assert(p:wait())
                print(reader:wait())
                print(check(p).delivered)
                """,
            output: ["timeout", "40"]),
    ]
}

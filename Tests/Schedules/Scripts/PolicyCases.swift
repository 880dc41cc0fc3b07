// What follows a failure, in every order that a range of seeds gives.
import StreamRuntime

private let head = """
    local stream = require 'stream'
    local function range(a, b) return stream.from(stream.range(a, b)) end
    -- The time from `began` until now, in milliseconds of a clock that moves only while all wait.
    local function ms(began) return (stream.now() - began) * 1e3 end
    \(SeededCase.accountCheck)
    -- What each worker of a stage is to lay out its values by.
    local layouts = {
      {}, { workers = 3 }, { workers = 3, ordered = true }, { workers = 3, key = function(v) return v end },
      { workers = 2, ordered = true, key = function(v) return v % 3 end }, { queue = 0 }, { queue = 1 },
    }

    """

extension Families {
    package static let policyCases: [SeededCase] = [
        SeededCase(
            name: "retry waits longer each time, within the bounds of its jitter",
            script: head + """
                local tries, began = {}, {}
                local t = range(1, 3):map("flaky", function(v)
                  tries[v], began[v] = (tries[v] or 0) + 1, began[v] or stream.now()
                  if tries[v] <= v then error("not yet") end
                  return { tries = tries[v], ms = ms(began[v]) }
                end, { on_error = { retry = 3, backoff = "100ms" } }):collect()
                local least = { 50, 150, 350 }  -- half of 100, of 200, of 400
                for i, r in ipairs(t) do
                  assert(r.tries == i + 1 and r.ms > least[i] - 0.01 and r.ms < 2 * least[i] + 0.01, r.ms)
                end
                print(#t)
                """,
            output: ["3"]),
        SeededCase(
            name: "after the tries a value is a dead letter, once, and the others come as ever",
            script: head + """
                for _, options in ipairs(layouts) do
                  local letters, got, last = stream.chan(1), {}, 0
                  options.on_error = { retry = 2, backoff = "10ms", to = letters }
                  local reader = stream.go(function()
                    local n = 0
                    for letter in letters:range() do
                      n = n + 1
                      assert(letter.value % 4 == 0 and not got[letter.value] and letter.stage == "work")
                      assert(letter.error:find("script.lua:%d+: four$") and letter.time == 0)
                      got[letter.value] = true
                    end
                    return n
                  end)
                  local p = range(1, 20):map("work", function(v)
                    if v % 4 == 0 then error("four") end
                    return v
                  end, options):to(function(v)
                    assert(v % 4 ~= 0 and not got[v])
                    if options.ordered or not options.workers then assert(v > last) last = v end
                    got[v] = true
                  end)
                  assert(p:wait())
                  local s = check(p)
                  print(reader:wait(), s.delivered, s.dead_lettered, s.failed, #got)
                end
                """,
            output: Array(repeating: "5\t15\t5\t0\t20", count: 7)),
        SeededCase(
            name: "otherwise: skip and stop after the tries",
            script: head + """
                local tried = stream.chan(100)
                local function work(v)
                  if v == 3 then tried:send(v) error({ why = "three" }) end
                  return v
                end
                local p = range(1, 5):map("work", work, { on_error = { retry = 2, otherwise = "skip" } })
                  :to(stream.null_sink())
                print(p:wait(), check(p).failed, #tried)
                p = range(1, 5):map("work", work, { on_error = { retry = 1 } }):to(stream.null_sink())
                local ok, why = p:wait()
                check(p)
                print(ok, why:match('^stage "work" %(script.lua:%d+%)') ~= nil, why:match("value: %d"), #tried)
                """,
            output: ["true\t1\t3", "nil\ttrue\tvalue: 3\t5"]),
        SeededCase(
            name: "each try gets the value as it came, and a fold its state from before",
            script: head + """
                local n = 0
                local function often() n = n + 1 if n % 3 ~= 0 then error("again") end end
                local once = { on_error = { retry = 2 } }
                for _, isolated in ipairs { true, false } do
                  local options = { on_error = once.on_error, isolated = isolated }
                  local function values()
                    return stream.from(stream.values { { a = { 1 } }, { a = { 5 } } }):map("same", function(v) return v end)
                  end
                  local t = values():map("change", function(v)
                    v.a[1] = v.a[1] + 1
                    often()
                    return v.a[1]
                  end, options):collect()
                  print(t[1], t[2])
                  t = values():scan("sum", { sum = 0 }, function(s, v)
                    s.sum = s.sum + v.a[1]
                    often()
                    return s
                  end, options):map("field", function(s) return s.sum end, { isolated = isolated }):collect()
                  print(t[1], t[2])
                  t = values():reduce("sum", { sum = 0 }, function(s, v)
                    s.sum = s.sum + v.a[1]
                    often()
                    return s
                  end, options):collect()
                  print(t[1].sum)
                end
                """,
            output: ["2\t6", "1\t6", "6", "2\t6", "1\t6", "6"]),
        SeededCase(
            name: "what flat_map emits is held until its function returns",
            script: head + """
                for _, queue in ipairs { 0, 1, 16 } do
                  local tries = {}
                  local t = range(1, 4):flat_map("many", function(v, emit)
                    tries[v] = (tries[v] or 0) + 1
                    local held = { n = v * 10 }
                    assert(emit(held))
                    held.n = 0
                    if v % 2 == 0 and tries[v] == 1 then error("no") end
                    assert(emit { n = v * 10 + 1 })
                    if v == 3 then error("never") end
                  end, { on_error = { retry = 1, backoff = "1ms", otherwise = "skip" } })
                    :buffer { capacity = queue }:map("n", function(v) return v.n end):collect()
                  print(table.concat(t, " "))
                end
                """,
            output: Array(repeating: "10 11 20 21 40 41", count: 3)),
        SeededCase(
            name: "restart: a fresh worker goes on with the next value in order",
            script: head + """
                local log = stream.chan(1000)
                local n = 0
                local p = range(1, 6):map("work", {
                  setup = function() log:send("setup") end,
                  process = function(v)
                    n = n + 1
                    if v % 3 == 2 then error("two") end
                    return v .. ":" .. n
                  end,
                  teardown = function(reason) log:send(reason) end,
                }, { on_error = { restart = 2, within = "1m" } }):to(function(v) print(v) end)
                print(p:wait())
                local s = check(p)
                print(s.delivered, s.failed)
                log:close()
                local lines = {}
                for line in log:range() do lines[#lines + 1] = line end
                print(table.concat(lines, " "))
                print(table.concat(range(1, 5):scan("sum", 0, function(s, v)
                  if v == 3 then error("three") end
                  return s + v
                end, { on_error = { restart = 1 } }):collect(), " "))
                """,
            output: [
                "1:1", "3:1", "4:2", "6:1", "true", "4\t2", "setup failed setup failed setup done", "1 3 4 9",
            ]),
        SeededCase(
            name: "restart: one more than n within the time stops the pipeline, in a longer time it does not",
            script: head + """
                local function work(v)
                  stream.sleep(1)
                  if v % 2 == 0 then error("even") end
                  return v
                end
                local p = range(1, 20):map("work", work, { on_error = { restart = 2, within = "5s" } }):to(stream.null_sink())
                local ok, why = p:wait()  -- fails at 2, 4 and 6 seconds
                local s = check(p)
                print(ok, why:match("even %(value: (%d+)%); (.*)$"))
                p = range(1, 20):map("work", work, { on_error = { restart = 2, within = "4s" } }):to(stream.null_sink())
                print(p:wait(), check(p).failed)
                """,
            output: [
                "nil\t6\tits workers were restarted 2 times within 5 s, and that is the limit (restart)", "true\t10",
            ]),
        SeededCase(
            name: "restart with several workers: one that fails takes no other down, and no value is lost",
            script: head + """
                for _, options in ipairs(layouts) do
                  local letters, seen, last = stream.chan(0), {}, 0
                  options.on_error = { retry = 1, to = letters, restart = 100 }
                  local reader = stream.go(function()
                    for letter in letters:range() do assert(not seen[letter.value]) seen[letter.value] = true end
                  end)
                  local p = range(1, 30):map("work", function(v)
                    stream.sleep(v % 7 * 0.001)
                    if v % 5 == 0 then error("five") end
                    return v
                  end, options):to(function(v)
                    if options.ordered or not options.workers then assert(v > last) last = v end
                    assert(not seen[v])
                    seen[v] = true
                  end)
                  assert(p:wait())
                  reader:wait()
                  local s = check(p)
                  print(s.delivered, s.dead_lettered, #seen)
                end
                """,
            output: Array(repeating: "24\t6\t30", count: 7)),
        SeededCase(
            name: "setup that fails is tried again in a fresh worker, later each time; flush and teardown are as ever",
            script: head + """
                for _, wait in ipairs { { ms = 100 }, { ms = 1000, backoff = "1s" } } do
                  local starts, began = stream.chan(100), stream.now()
                  local p = range(1, 3):map("work", {
                    setup = function()
                      starts:send(ms(began))
                      if #starts < 3 then error("not up") end
                    end,
                    process = function(v) return v end,
                  }, { on_error = { restart = 2, backoff = wait.backoff } }):to(function(v) print(v) end)
                  print(p:wait(), #starts)
                  local first, second, third = starts:recv(), starts:recv(), starts:recv()
                  second, third = (second - first) / wait.ms, (third - second) / wait.ms
                  assert(second > 0.4999 and second < 1.0001, second)
                  assert(third > 0.9999 and third < 2.0001, third)
                end
                local never = { setup = function() error("down") end, process = function(v) return v end }
                local ok, why = range(1, 3):map("work", never, { on_error = { restart = 2 } }):collect()
                print(ok, why:match("in setup: (.*)$"))
                ok, why = range(1, 3):map("work", { process = function(v) return v end, flush = function() error("late") end },
                  { on_error = { restart = 9, otherwise = "skip" } }):collect()
                print(ok, why:match("in flush: (.*)$"))
                """,
            output: [
                "1", "2", "3", "true\t3", "1", "2", "3", "true\t3",
                "nil\tscript.lua:30: down; its workers were restarted 2 times within 60 s, and that is the limit (restart)",
                "nil\tscript.lua:33: late",
            ]),
        SeededCase(
            name: "a :stage process begins anew with the next value",
            script: head + """
                for _, workers in ipairs { 1, 3 } do
                  local got, n = {}, 0
                  local p = range(1, 30):stage("process", function(input, output)
                    for v in input:range() do
                      if v % 10 == 0 then error("ten") end
                      output:send(v)
                    end
                  end, { workers = workers, on_error = { restart = 3 } }):to(function(v)
                    assert(not got[v])
                    got[v] = true
                    n = n + 1
                  end)
                  print(p:wait())
                  print(n, check(p).failed)
                end
                local ok, why = range(1, 30):stage("process", function(input) input:recv() error("always") end,
                  { on_error = { restart = 3 } }):collect()
                print(ok, why:match("always %(value: 4%); its workers were restarted 3 times") ~= nil)
                """,
            output: ["true", "27\t3", "true", "27\t3", "nil\ttrue"]),
        SeededCase(
            name: "dead letters hold the stage back while nobody takes them, and whoever has closed them is done",
            script: head + """
                local letters = stream.chan(1)
                local p = range(1, 5):map("work", function(v) error("no") end, { on_error = { to = letters } })
                  :to(stream.null_sink())
                stream.sleep(1)
                print(#letters, p:stats().dead_lettered <= 2)
                local t = {}
                for letter in letters:range() do t[#t + 1] = letter.value end
                print(table.concat(t, " "), p:wait(), check(p).dead_lettered)
                letters = stream.chan(1)
                letters:close()
                p = range(1, 3):map("work", function(v) error("no") end, { on_error = { to = letters, otherwise = "skip" } })
                  :to(stream.null_sink())
                print(p:wait(), check(p).failed)
                p = range(1, 3):map("work", function(v) error("no") end, { on_error = { to = letters } }):to(stream.null_sink())
                local ok, why = p:wait()
                check(p)
                print(ok, why:match("no %(value: 1%)$"))
                """,
            output: ["1\ttrue", "1 2 3 4 5\ttrue\t5", "true\t3", "nil\tno (value: 1)"]),
        SeededCase(
            name: "a backoff, and the wait for whoever takes a letter, end with the pipeline",
            script: head + """
                for i, make in ipairs {
                  function() return { retry = 9, backoff = "1h" } end,
                  function() return { to = stream.chan(0) } end,
                  function() return { retry = 1, backoff = "1m", to = stream.chan(1), restart = 2 } end,
                } do
                  for _, isolated in ipairs { true, false } do
                    local began = stream.now()
                    local p = range(1, 3):map("same", function(v) return v end)
                      :map("work", function(v) error("no") end, { on_error = make(), isolated = isolated })
                      :to(stream.null_sink())
                    stream.sleep(0.5)
                    p:cancel("enough")
                    local ok, why = p:wait()
                    local s = check(p)
                    print(i, ok, why, ms(began) < 501, s.failed, s.delivered)
                  end
                end
                """,
            output: (1...3).flatMap { Array(repeating: "\($0)\tnil\tenough\ttrue\t0\t0", count: 2) }),
        SeededCase(
            name: "of stages in one worker the one that failed has its own policy",
            script: head + """
                local letters = stream.chan(100)
                local tries = 0
                local p = stream.from(stream.values { { n = 1 }, { n = 2 }, { n = 3 }, { n = 4 } })
                  :map("first", function(v) if v.n == 1 then error("one") end return v end, { on_error = "skip" })
                  :map("second", function(v)
                    v.n = v.n * 10
                    if v.n == 20 then error("two") end
                    return v
                  end, { isolated = false, on_error = { to = letters } })
                  :map("third", function(v)
                    tries = tries + 1
                    v.n = v.n + 1
                    if tries % 2 == 1 then error("odd") end
                    return v.n
                  end, { isolated = false, on_error = { retry = 1 } })
                  :to(function(v) print(v) end)
                print(p:wait())
                local s = check(p)
                print(s.delivered, s.failed, s.dead_lettered)
                local letter = letters:recv()
                print(letter.value.n, letter.stage, letter.error, letters:recv())
                """,
            output: ["31", "41", "true", "2\t1\t1", "2\tsecond\tscript.lua:21: two\tnil\tclosed"]),
        SeededCase(
            name: "the source's policy is that of the stages after it, and all name one channel",
            script: head + """
                local letters = stream.chan(100)
                local p = stream.from(stream.range(1, 6), { on_error = { to = letters } })
                  :map("a", function(v) if v == 2 then error("a") end return v end)
                  :map("b", function(v) if v == 4 then error("b") end return v end)
                  :map("c", function(v) if v == 6 then error("c") end return v end, { on_error = "skip" })
                  :to(stream.null_sink())
                print(p:wait())
                local s, t = check(p), {}
                for letter in letters:range() do t[#t + 1] = letter.stage .. letter.value end
                table.sort(t)
                print(s.delivered, s.failed, s.dead_lettered, table.concat(t, " "))
                """,
            output: ["true", "3\t1\t2\ta2 b4"]),
        SeededCase(
            name: "values without a key are dead letters too",
            script: head + """
                local function values()
                  return stream.from(stream.values { { k = 1 }, { k = 2 }, {}, { k = 3 }, { k = {} } })
                end
                local function go(p, letters)
                  local n = 0
                  local reader = stream.go(function() for letter in letters:range() do n = n + 1 end end)
                  p = p:to(stream.null_sink())
                  assert(p:wait())
                  reader:wait()
                  print(check(p).delivered, n, check(p).dead_lettered)
                end
                for _, ordered in ipairs { false, true } do
                  local letters = stream.chan(0)
                  go(values():map("work", function(v) return v end,
                    { workers = 2, key = "k", ordered = ordered, on_error = { to = letters } }), letters)
                end
                local letters = stream.chan(0)
                go(stream.from(stream.values { { k = 1 }, { k = 2 }, {}, { k = 3 }, { k = {} } },
                  { on_error = { to = letters } }):limit({ rate = 10, burst = 1 }, { key = "k" }), letters)
                """,
            output: Array(repeating: "3\t2\t2", count: 3)),
        SeededCase(
            name: "a breaker opens at failures, lets one probe through, and closes or opens again",
            script: head + """
                local breaker = stream.breaker { failures = 3, within = "10s", reset = "30s" }
                local function fails() return nil, "down" end
                local function works(...) return "up", ... end
                print(breaker:run(works, 1, nil))
                for _ = 1, 2 do breaker:run(fails) end
                stream.sleep(10)  -- these count no more
                breaker:run(fails)
                print(breaker:state(), pcall(breaker.run, breaker, function() error("raised") end))
                print(breaker:state(), breaker:run(fails))
                print(breaker:state(), breaker:run(works))
                stream.sleep(29)
                print(breaker:state())
                stream.sleep(1)
                print(breaker:state(), breaker:run(fails))
                stream.sleep(30)
                local slow = stream.go(function() return breaker:run(function() stream.sleep(1) return "slow" end) end)
                stream.sleep(0.5)
                print(breaker:run(works))
                print(slow:wait(), breaker:state(), breaker:run(works))
                """,
            output: [
                "up\t1\tnil", "closed\tfalse\tscript.lua:22: raised", "closed\tnil\tdown", "open\tnil\topen", "open",
                "half-open\tnil\tdown", "nil\topen", "slow\tclosed\tup",
            ]),
        SeededCase(
            name: "a breaker is shared by all workers, and who is cancelled holds no probe",
            script: head + """
                local breaker = stream.breaker { failures = 2, within = "1m", reset = "5s", name = "api" }
                local t = range(1, 8):map("call", function(v)
                  local ok, why = breaker:run(function() stream.sleep(0.1) return nil, "down" end)
                  return why
                end):collect()
                table.sort(t)
                print(table.concat(t, " "), breaker:state())
                stream.sleep(5)
                local ctx = stream.context():with_cancel()
                local task = stream.go(function()
                  return ctx:run(function() return breaker:run(function() return stream.sleep(100) end) end)
                end)
                stream.sleep(1)
                print(breaker:allow())
                ctx:cancel()
                print(task:wait())
                print(breaker:state(), breaker:allow(), breaker:allow())
                breaker:report(true)
                print(breaker:state())
                breaker:report(false)
                breaker:report(false)
                print(breaker:state())
                breaker:reset()
                print(breaker:state(), breaker:allow())
                """,
            output: [
                "down down open open open open open open\topen", "false", "nil\tcanceled", "half-open\ttrue\tfalse",
                "closed", "open", "closed\ttrue",
            ]),
    ]
}

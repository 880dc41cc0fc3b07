// Scripts that select.
import StreamRuntime

private let head = "local stream = require 'stream'\n"

/// Runs `fn(v)` in a worker of its own: the seed decides when.
private let spawn = """
    local function spawn(fn, v)
      return stream.from(stream.values { v }):each("spawned", fn):to(stream.null_sink())
    end

    """

/// Between workers, in every order.
let selectWorkerCases: [SeededCase] = [
    SeededCase(
        name: "fan-in from workers",
        script: head + spawn + """
            for _, c in ipairs { 0, 1, 8 } do
              local cases = {}
              for s = 1, 3 do
                local ch = stream.chan(c)
                cases[s] = { recv = ch }
                spawn(function(s) for i = 1, 6 do ch:send(s * 100 + i) end ch:close() end, s)
              end
              local last, n, sum, open = { 0, 0, 0 }, 0, 0, 3
              while open > 0 do
                local which, value, reason = stream.select(cases)
                if reason then
                  assert(value == nil and reason == "closed" and last[which] == which * 100 + 6)
                  cases[which].recv, open = false, open - 1
                else
                  assert(value > last[which] and value // 100 == which, "order")
                  last[which], n, sum = value, n + 1, sum + value
                end
              end
              print(n, sum)
            end
            """,
        output: Array(repeating: "18\t3663", count: 3)),
    SeededCase(
        name: "workers that select from both sides",
        script: head + spawn + """
            local a, b, done, log = stream.chan(0), stream.chan(1), stream.chan(0), stream.chan(0)
            local workers = {}
            for t = 1, 3 do
              workers[t] = spawn(function(t)
                local left = 5
                while true do
                  local value = t * 10 + left
                  local which, got = stream.select {
                    { recv = a }, { recv = b }, { recv = done },
                    { send = left > 0 and a, value = value }, { send = left > 0 and b, value = value },
                  }
                  if which == 3 then return end
                  if which > 3 then left = left - 1 log:send(value) else log:send(-got) end
                end
              end, t)
            end
            local sum, sent, received = 0, 0, 0
            while received < 15 do
              local v = log:recv()
              sum = sum + v
              if v > 0 then sent = sent + 1 else received = received + 1 end
            end
            while sent < 15 do sum, sent = sum + log:recv(), sent + 1 end
            done:close()
            for t = 1, 3 do assert(workers[t]:wait()) end
            print(sum, #b)
            """,
        output: ["0\t0"]),
    SeededCase(
        name: "one value is offered to workers, and one takes it",
        script: head + spawn + """
            local offers, stop, log = stream.chan(0), stream.chan(0), stream.chan(0)
            local workers = {}
            for w = 1, 3 do
              workers[w] = spawn(function(w)
                local own = stream.chan(1)
                while true do
                  -- Each has a second channel on which it could go on by itself.
                  local which, value = stream.select { { recv = offers }, { recv = stop }, { send = own, value = w } }
                  if which == 1 then log:send(value) elseif which == 2 then return else assert(own:recv() == w) stream.sleep(0.01) end
                end
              end, w)
            end
            local seen = {}
            for i = 1, 20 do
              local which, value = stream.select { { send = offers, value = i }, { after = 60 } }
              assert(which == 1 and value == true)
              local got = log:recv()
              assert(got == i and not seen[i])
              seen[i] = true
            end
            stop:close()
            for w = 1, 3 do assert(workers[w]:wait()) end
            print(log:try_recv())
            """,
        output: ["nil\tempty"]),
    SeededCase(
        name: "channels that are closed while workers select on them",
        script: head + spawn + """
            local a, b, log = stream.chan(0), stream.chan(1), stream.chan(0)
            for w = 1, 4 do
              spawn(function(w)
                local cases = w % 2 == 0 and { { recv = a }, { recv = b } } or { { send = a, value = w }, { send = b, value = w } }
                while true do
                  local which, value, reason = stream.select(cases)
                  if reason then
                    assert(value == nil and reason == "closed")
                    local case = cases[which]
                    if case.recv then case.recv = false else case.send = false end
                    if not (cases[1].recv or cases[2].recv or cases[1].send or cases[2].send) then break end
                  else
                    log:send(w % 2 == 0 and -1 or 1)
                  end
                end
                log:send(0)
              end, w)
            end
            local ended, balance, n = 0, 0, 0
            while ended < 4 do
              local v = log:recv()
              balance, n = balance + v, n + 1
              if n == 12 then spawn(function() a:close() end, 0) spawn(function() b:close() end, 0) end
              if v == 0 then ended = ended + 1 end
            end
            print(balance == #b, a:is_closed(), b:is_closed())
            """,
        output: ["true\ttrue\ttrue"]),
]

/// In one worker: its tasks take their turns, and only the choices of the selects differ.
let selectCases: [SeededCase] = [
    SeededCase(
        name: "fan-in by select",
        script: head + """
            for _, c in ipairs { 0, 1, 8 } do
              local sources, cases = {}, {}
              for s = 1, 3 do
                local ch = stream.chan(c)
                sources[s], cases[s] = ch, { recv = ch }
                stream.go(function() for i = 1, 10 do ch:send(s * 100 + i) end ch:close() end)
              end
              local last, n, sum, open = { 0, 0, 0 }, 0, 0, 3
              while open > 0 do
                local which, value, reason = stream.select(cases)
                if reason then
                  assert(value == nil and reason == "closed" and last[which] == which * 100 + 10)
                  cases[which].recv, open = false, open - 1
                else
                  assert(value > last[which] and value // 100 == which, "order")
                  last[which], n, sum = value, n + 1, sum + value
                end
              end
              print(n, sum)
            end
            """,
        output: Array(repeating: "30\t6165", count: 3)),
    SeededCase(
        name: "select between sending and receiving",
        script: head + """
            for _, c in ipairs { 0, 1, 3 } do
              local into, out = stream.chan(c), stream.chan(c)
              stream.go(function()  -- a queue without a bound, of two channels and a select
                local queue, open = {}, true
                while open or #queue > 0 do
                  local which, value, reason = stream.select {
                    { recv = open and into },
                    { send = #queue > 0 and out, value = queue[1] },
                  }
                  if which == 2 then assert(value == true) table.remove(queue, 1)
                  elseif reason then open = false
                  else queue[#queue + 1] = value end
                end
                out:close()
              end)
              stream.go(function() for i = 1, 20 do assert(into:send(i)) end into:close() end)
              local got = {}
              for v in out:range() do got[#got + 1] = v end
              for i = 1, 20 do assert(got[i] == i) end
              print(#got)
            end
            """,
        output: Array(repeating: "20", count: 3)),
    SeededCase(
        name: "both sides select",
        script: head + """
            local a, b, done = stream.chan(0), stream.chan(0), stream.chan(0)
            local sent, got, sum = 0, 0, 0
            for t = 1, 4 do
              stream.go(function()
                local left = 8
                while true do
                  local which, value = stream.select {
                    { recv = a }, { recv = b }, { recv = done },
                    { send = left > 0 and a, value = t * 10 + left }, { send = left > 0 and b, value = t * 10 + left },
                  }
                  if which == 3 then break end
                  if which > 3 then
                    sent, sum, left = sent + 1, sum + t * 10 + left, left - 1
                  else
                    got, sum = got + 1, sum - value
                    if got == 32 then done:close() end
                  end
                end
              end)
            end
            done:recv()
            stream.sleep(1)
            print(sent, got, sum, #a, #b)
            """,
        output: ["32\t32\t0\t0\t0"]),
    SeededCase(
        name: "selects in workers of their own",
        script: head + """
            local left, right, results = stream.chan(0), stream.chan(2), stream.chan(0)
            local p = stream.from(stream.range(1, 24))
              :each("spread", function(v)
                local which, ok = stream.select { { send = left, value = v }, { send = right, value = v } }
                assert(which and ok)
              end, { workers = 3, queue = 1 })
              :to(stream.null_sink())
            for _ = 1, 2 do
              stream.go(function()
                while true do
                  local which, v, reason = stream.select { { recv = left }, { recv = right } }
                  if reason then break end
                  results:send(v)
                end
              end)
            end
            local sum, seen = 0, {}
            for _ = 1, 24 do
              local v = results:recv()
              assert(not seen[v])
              seen[v], sum = true, sum + v
            end
            print(p:wait(), sum)
            left:close()
            right:close()
            """,
        output: ["true\t300"]),
    SeededCase(
        name: "closed while it is selected on",
        script: head + """
            for _, c in ipairs { 0, 1 } do
              local ch, other = stream.chan(c), stream.chan(0)
              local ended = 0
              for i = 1, 4 do
                stream.go(function()
                  local cases = i % 2 == 0 and { { recv = other }, { recv = ch } }
                    or { { recv = other }, { send = other, value = i, }, { recv = ch } }
                  local which, value, reason = stream.select(cases)
                  if cases[which].recv == ch then assert(value == nil and reason == "closed") end
                  ended = ended + 1
                end)
              end
              stream.sleep(0.01)
              ch:close()
              stream.sleep(0.01)
              print(ended, stream.select { { send = ch, value = 1 } })
            end
            """,
        output: Array(repeating: "4\t1\tnil\tclosed", count: 2)),
    SeededCase(
        name: "after, and values at the very moment",
        script: head + """
            local ch = stream.chan(0)
            local began = stream.now()
            print(stream.select { { recv = ch }, { after = "500ms" } })
            print(stream.now() - began == 0.5)
            print(stream.select { { after = 3600, run = function(...) return "ran", select("#", ...) end } })
            -- At the same moment either may come first; a value is never lost.
            local got, late = 0, 0
            for i = 1, 10 do
              local task = stream.go(function() stream.sleep(1) return ch:send(i, 0.5) end)
              local which, value = stream.select { { recv = ch }, { after = 1 } }
              if which == 1 then assert(value == i) got = got + 1 else assert(ch:recv() == i) late = late + 1 end
              assert(task:wait())
            end
            print(got + late, stream.select { { recv = ch }, { default = true } })
            """,
        output: ["2", "true", "1\tran\t0", "10\t2"]),
    SeededCase(
        name: "a loop that keeps its table and changes it",
        script: head + """
            local a, b = stream.chan(0), stream.chan(0)
            stream.go(function() for i = 1, 10 do a:send(i) end a:close() end)
            stream.go(function() for i = 1, 10 do b:send(i) end b:close() end)
            local log = {}
            local cases = { { recv = a, run = function(v) return "a", v end }, { recv = b } }
            local count = { 0, 0 }
            while cases[1].recv or cases[2].recv do
              local which, first, second = stream.select(cases)
              if which == 1 then
                assert(first == "a")
                if second then count[1] = count[1] + 1 else cases[1].recv = false end
              elseif first then
                count[2] = count[2] + 1
                if first == 5 then cases[2].run = function(v, reason) return v, reason, "late" end end
              else
                assert(second == "closed")
                cases[2] = { recv = false }
              end
            end
            print(count[1], count[2])
            """,
        output: ["10\t10"]),
    SeededCase(
        name: "disabled cases are never taken",
        script: head + """
            local full, empty = stream.chan(50), stream.chan(50)
            for i = 1, 20 do full:send(i) end
            for i = 1, 20 do
              local which = stream.select {
                { recv = false }, { send = false, value = print }, false, { recv = full }, { after = false },
                { default = false }, { send = i % 2 == 0 and empty, value = i },
              }
              assert(which == 4 or which == 7 and i % 2 == 0, which)
            end
            print(#full + 20 - #full, pcall(stream.select, { { recv = false }, { default = true } }))
            """,
        output: ["20\ttrue\t2"]),
    SeededCase(
        name: "run waits, and its errors pass",
        script: head + """
            local ch, slow = stream.chan(1), stream.chan(0)
            ch:send(3)
            stream.go(function() stream.sleep(2) slow:send("late") end)
            print(stream.select { { recv = ch, run = function(v) return v, slow:recv(), nil, "four" end } })
            ch:send(4)
            print(pcall(stream.select, { { recv = ch, run = function(v) error({}) end } }) == false)
            print(select(2, pcall(stream.select, { { send = ch, value = 1, run = function(v) error("no " .. tostring(v), 0) end } })))
            -- the value was sent before run was called
            print(ch:try_recv())
            print(stream.select { { send = ch, value = 5, run = function(...) return stream.select { { recv = ch } } end } })
            """,
        output: ["1\t3\tlate\tnil\tfour", "true", "no true", "1", "1\t1\t5"]),
    SeededCase(
        name: "inside of a coroutine of the script",
        script: head + """
            local ch = stream.chan(0)
            stream.go(function() for i = 1, 3 do stream.sleep(0.1) ch:send(i) end end)
            local values = coroutine.wrap(function()
              for _ = 1, 3 do
                coroutine.yield(select(2, stream.select { { recv = ch, run = function(v) stream.sleep(0.1) return v * 2 end } }))
              end
            end)
            print(values(), values(), values())
            """,
        output: ["2\t4\t6"]),
    SeededCase(
        name: "cancelled while it waits, and asked after the end",
        script: head + """
            local ch, ready = stream.chan(0), stream.chan(1)
            ready:send(1)
            local log = stream.chan(10)
            local task = stream.go(function()
              log:send({ stream.select { { recv = ch }, { send = ch, value = {} } } })
              log:send({ stream.select { { recv = ready } } })   -- need not wait
              log:send({ stream.select { { recv = ch } } })      -- would wait
              log:send({ stream.select { { after = 1 } } })
              log:send({ stream.select {} })
            end)
            stream.sleep(0.01)
            task:cancel()
            local lines = {}
            for i = 1, 5 do
              local entry = log:recv()
              lines[i] = tostring(entry[1]) .. " " .. tostring(entry[2])
            end
            print(table.concat(lines, ", "))
            print(#ch, ch:try_send(1))
            """,
        output: [
            "nil canceled, 1 1, nil canceled, nil canceled, nil canceled", "0\tnil\tfull",
        ]),
    SeededCase(
        name: "a channel that is sent through a channel",
        script: head + """
            local requests = stream.chan(0)
            stream.go(function()
              for request in requests:range() do request.reply:send(request.n * request.n) end
            end)
            local sum = 0
            for i = 1, 5 do
              local reply = stream.chan(0)
              local which = stream.select { { send = requests, value = { n = i, reply = reply } }, { recv = reply } }
              assert(which == 1)
              sum = sum + reply:recv()
            end
            requests:close()
            print(sum)
            """,
        output: ["55"]),
    SeededCase(
        name: "a stage's own channels",
        script: head + """
            for _, q in ipairs { 0, 1, 256 } do
              local extra = stream.chan(0)
              stream.go(function() for i = 1, 5 do extra:send(-i) end extra:close() end)
              local list = stream.from(stream.range(1, 10))
                :stage("mix", function(input, output)
                  local cases = { { recv = input }, { recv = extra } }
                  local open = 2
                  while open > 0 do
                    local which, value, reason = stream.select(cases)
                    if reason then
                      cases[which].recv, open = false, open - 1
                    else
                      local sent = stream.select { { send = output, value = value } }
                      assert(sent == 1)
                    end
                  end
                end, { queue = q }):collect()
              table.sort(list)
              print(#list, list[1], list[15])
            end
            """,
        output: Array(repeating: "15\t-5\t10", count: 3)),
    SeededCase(
        name: "a worker that ends while a task of it selects",
        script: head + """
            local never = stream.chan(0)
            local list = stream.from(stream.range(1, 3)):map("side", function(v)
              stream.go(function() stream.select { { recv = never }, { send = never, value = { never } }, { after = 3600 } } end)
              return v
            end):take(2):collect()
            print(#list)
            stream.sleep(4000)
            print(never:try_send(1))
            """,
        output: ["2", "nil\tfull"]),
    SeededCase(
        name: "nothing can move",
        script: head + """
            local a, b = stream.chan(0), stream.chan(0)
            stream.go(function() stream.select { { recv = a }, { send = b, value = 1 } } end)
            stream.select { { recv = a }, { recv = false } }
            """,
        output: [], status: .failed, failure: "deadlock"),
]

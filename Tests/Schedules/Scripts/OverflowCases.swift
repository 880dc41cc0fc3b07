// Queues that drop what comes, in every order that a range of seeds gives.
import StreamRuntime

private let head = """
    local stream = require 'stream'
    local function id(v) return v end
    local function check(p)  -- the account of a pipeline that has ended
      local s = p:stats()
      assert(s.created == s.delivered + s.consumed + s.filtered + s.failed + s.dropped + s.dead_lettered + s.returned, "account")
      local sum = 0
      for _, n in pairs(s.drops) do sum = sum + n end
      assert(sum == s.dropped, "reasons")
      return s
    end
    -- What lies in a channel.
    local function drain(ch)
      local t = {}
      while true do
        local v = ch:try_recv()
        if v == nil then return t end
        t[#t + 1] = v
      end
    end

    """

/// What a queue of `capacity` keeps of `arriving`, while nobody takes anything from it: the meaning of each policy, in the
/// words of a list.
private func kept(_ arriving: ClosedRange<Int>, _ policy: String, _ capacity: Int) -> [Int] {
    var queue: [Int] = []
    for value in arriving {
        if queue.count < capacity {
            queue.append(value)
        } else if policy == "drop_oldest" || policy == "latest" {
            queue.removeFirst()
            queue.append(value)
        }
    }
    return queue
}

private func text(_ values: [Int]) -> String { values.map(String.init).joined(separator: " ") }

/// The consumer has value 1 in hand while all others arrive.
private let known: [SeededCase] = ["drop_newest", "drop_oldest", "latest", "timeout"].map { policy in
    let capacities = policy == "latest" ? [1] : [1, 2, 7]
    return SeededCase(
        name: "\(policy) keeps what it says, while the consumer has one value in hand",
        script: head + """
            for _, n in ipairs { \(capacities.map(String.init).joined(separator: ", ")) } do
              for _, how in ipairs { "sink", "stage", "process" } do
                local begun, go, shed = stream.chan(0), stream.chan(0), stream.chan(100)
                local got = {}
                local function slow(v) if v == 1 then begun:send(true) go:recv() end return v end
                local p = stream.from(stream.generate(function(emit)
                    emit(1)
                    begun:recv()
                    for v = 2, 20 do assert(emit(v) == true) end
                    go:send(true)
                  end))
                  :buffer { capacity = \(policy == "latest" ? "1" : "n"), overflow = "\(policy)", on_drop = shed,
                    timeout = \(policy == "timeout" ? "0.5" : "nil") }
                if how == "stage" then
                  p = p:map("slow", slow)
                elseif how == "process" then
                  p = p:stage("slow", function(input, output)
                    for v in input:range() do output:send(slow(v)) end
                  end)
                end
                p = p:to(function(v) if how == "sink" then slow(v) end got[#got + 1] = v end)
                assert(p:wait())
                local s = check(p)
                local lost = drain(shed)
                for i = 2, #lost do assert(lost[i - 1] < lost[i], "the order of what is dropped") end
                assert(#lost == 20 - #got and s.drops["\(policy)"] == #lost and s.drops.ended == 0, "counts")
                print(n, table.concat(got, " "))
              end
            end
            """,
        output: capacities.flatMap { n in
            Array(repeating: "\(n)\t\(text([1] + kept(2...20, policy, n)))", count: 3)
        })
}

/// In front of the queue, and behind it. What is kept depends on the order; what must hold in any is checked.
private let shapes: [SeededCase] = ["drop_newest", "drop_oldest", "latest", "timeout", "fail", "block"].map { policy in
    let options = policy == "timeout" ? ", timeout = '50ms'" : ""
    return SeededCase(
        name: "\(policy), in graphs of every shape",
        script: head + """
            local policy = "\(policy)"
            local function full(ch) for i = 1, 30 do ch:send(i) end ch:close() return ch end
            local sources = {
              range = function() return stream.from(stream.range(1, 30)) end,
              generate = function()
                return stream.from(stream.generate(function(emit) for i = 1, 30 do if not emit(i) then return end end end))
              end,
              channel = function() return stream.from(full(stream.chan(30))) end,
              map = function() return stream.from(stream.range(1, 30)):map("before", id) end,
              process = function()
                return stream.from(stream.range(1, 30)):stage("before", function(input, output)
                  for v in input:range() do output:send(v) end
                end)
              end,
              flat = function()
                return stream.from(stream.range(1, 10)):flat_map("before", function(v, emit)
                  for i = 3 * v - 2, 3 * v do emit(i) end
                end)
              end,
              skip = function() return stream.from(stream.range(-4, 30)):skip(5) end,
              ordered = function()
                return stream.from(stream.range(1, 30)):map("before", id, { workers = 3, ordered = true })
              end,
              route = function()
                return stream.from(stream.range(1, 60)):route {
                  { when = function(v) return v > 30 end, to = function(b) b:to(stream.null_sink()) end } }
              end,
              merge = function() return stream.from(stream.range(1, 20)):merge(stream.from(stream.range(21, 30))) end,
            }
            local sinks = {
              sink = function(p) return p end,
              map = function(p) return p:map("after", id) end,
              process = function(p)
                return p:stage("after", function(input, output)
                  for v in input:range() do if v % 5 == 0 then stream.sleep(0.2) end output:send(v) end
                end)
              end,
              slow = function(p) return p:map("after", function(v) stream.sleep(0.1) return v end) end,
              workers = function(p)
                return p:map("after", function(v) stream.sleep(v % 3 / 10) return v end, { workers = 3 })
              end,
              ordered = function(p)
                return p:map("after", function(v) stream.sleep(v % 3 / 10) return v end, { workers = 3, ordered = true })
              end,
              keyed = function(p)
                return p:map("after", function(v) stream.sleep(v % 3 / 10) return v end, { workers = 2,
                  key = function(v) return v % 4 end })
              end,
              both = function(p)
                return p:map("after", id, { workers = 2, ordered = true, key = function(v) return v % 4 end })
              end,
              fused = function(p)
                return p:map("after", id):filter("too", function() return true end, { isolated = false })
              end,
              skip = function(p) return p:skip(0) end,
              buffer = function(p) return p:buffer { capacity = 2 } end,
            }
            local unordered = { workers = true, keyed = true }
            local function try(name, from, sink, to)
              local capacity = policy ~= "latest" and 3 or nil
              local shed = policy ~= "block" and stream.chan(100) or nil
              local got = {}
              local p = to(from():buffer { capacity = capacity, overflow = policy, on_drop = shed\(options) })
                :to(function(v) got[#got + 1] = v end)
              local ok, reason = p:wait()
              local s = check(p)
              local lost = shed and drain(shed) or {}
              assert((s.drops[policy] or 0) == #lost, "every drop is offered")
              if policy == "fail" then
                if ok then return assert(#got == 30, "all") end
                assert(reason:find('is full (capacity 3, overflow = "fail")', 1, true), reason)
                return assert(#lost >= 1 and s.drops.fail == #lost)
              end
              assert(ok, reason)
              assert(s.drops.ended == 0)
              if policy == "block" then assert(#got == 30, "all") end
              local seen = {}
              for i, v in ipairs(got) do
                assert(not seen[v], "once")
                seen[v] = true
                if not unordered[sink] and name ~= "merge" then assert(i == 1 or got[i - 1] < v, "order") end
              end
              for _, v in ipairs(lost) do
                assert(not seen[v], "either kept or lost")
                seen[v] = true
              end
              for v = 1, 30 do assert(seen[v], "each is kept or lost") end
              if policy == "drop_newest" and name ~= "merge" then table.sort(got) assert(got[1] == 1, "the first") end
              if (policy == "drop_oldest" or policy == "latest") and name ~= "merge" then
                table.sort(got)
                assert(got[#got] == 30, "the last")
              end
            end
            local function names(t)
              local list = {}
              for name in pairs(t) do list[#list + 1] = name end
              table.sort(list)
              return list
            end
            local before, after = names(sources), names(sinks)
            for _ = 1, 6 do  -- the seed says which
              local name, sink = before[math.random(#before)], after[math.random(#after)]
              local ok, problem = pcall(try, name, sources[name], sink, sinks[sink])
              if not ok then print(name, sink, problem) end
            end
            print("done")
            """,
        output: ["done"])
}

private let others: [SeededCase] = [
    SeededCase(
        name: "timeout: the times of a slow consumer, to the moment",
        // In hand 1, stored 2; 3, 4, 5 give up at 0.3, 0.6, 0.9; 6 is let in at 1.0, and so on.
        script: head + """
            local got, times, lost = {}, {}, {}
            local shed = stream.chan(100)
            local began = stream.now()
            stream.go(function()
              for v in shed:range() do lost[#lost + 1] = v times[#times + 1] = ("%.1f"):format(stream.now() - began) end
            end)
            local p = stream.from(stream.range(1, 14))
              :buffer { capacity = 1, overflow = "timeout", timeout = "300ms", on_drop = shed }
              :to(function(v) got[#got + 1] = v stream.sleep(1) end)
            assert(p:wait())
            check(p)
            shed:close()
            stream.sleep(0)
            print(table.concat(got, " "))
            print(table.concat(lost, " "))
            print(table.concat(times, " "))
            """,
        output: [
            "1 2 6 10 14", "3 4 5 7 8 9 11 12 13", "0.3 0.6 0.9 1.3 1.6 1.9 2.3 2.6 2.9",
        ]),
    SeededCase(
        name: "timeout: several senders wait in order, and a rendezvous takes who comes",
        script: head + """
            local got, shed = {}, stream.chan(100)
            local p = stream.from(stream.values { 1 }):merge(stream.from(stream.values { 2 }),
                stream.from(stream.values { 3 }))
              :buffer { capacity = 0, overflow = "timeout", timeout = 1.5, on_drop = shed }
              :to(function(v) got[#got + 1] = v stream.sleep(1) end)
            assert(p:wait())
            check(p)
            print(#got, #shed)
            """,
        output: ["2\t1"]),
    SeededCase(
        name: "a slow branch that drops does not hold the others back",
        script: head + """
            for _, policy in ipairs { "drop_oldest", "drop_newest", "latest" } do
              local go, slow, all = stream.chan(0), {}, {}
              local p = stream.from(stream.range(1, 50)):tee(function(branch)
                branch:buffer { capacity = policy ~= "latest" and 4 or nil, overflow = policy }
                  :to(function(v) if v ~= nil and #slow == 0 then go:recv() end slow[#slow + 1] = v end)
              end):to(function(v)
                all[#all + 1] = v
                if #all == 50 then go:close() end  -- only now does the slow one go on
              end)
              assert(p:wait())
              local s = check(p)
              assert(#all == 50 and #slow <= 5, #slow)
              assert(s.drops[policy] == 50 - #slow)
              local told = 0
              for _, stage in ipairs(s.stages) do
                if stage.name == "tee/1/buffer" then told = stage.drops[policy] assert(stage.received == #slow) end
              end
              assert(told == 50 - #slow, "told once, by the queue's own step")
              if policy ~= "drop_newest" then assert(slow[#slow] == 50) end
              print(policy)
            end
            """,
        output: ["drop_oldest", "drop_newest", "latest"]),
    SeededCase(
        name: "fail raises at the line of a process, which may go on",
        script: head + """
            local go = stream.chan(0)
            local p = stream.from(stream.range(1, 9)):stage("sender", function(input, output)
              local failures = 0
              for v in input:range() do
                local ok, problem = pcall(output.send, output, v)
                if not ok then
                  failures = failures + 1
                  assert(problem:find('the queue of "slow" is full (capacity 2, overflow = "fail")', 1, true), problem)
                  local sent, reason = output:try_send(v)
                  assert(sent == nil and reason == "full")
                end
              end
              assert(failures >= 6, failures)
              go:close()
            end):map("slow", function(v) go:recv() return v end, { queue = { capacity = 2, overflow = "fail" } })
              :to(stream.null_sink())
            assert(p:wait())
            local s = check(p)
            print(s.created, s.consumed, s.delivered + s.drops.fail)
            """,
        output: ["18\t9\t9"]),
    SeededCase(
        name: "fail names the stage that sent, and where it does not, the pipeline",
        script: head + """
            local never = stream.chan(0)
            local function slow(v) never:recv() return v end
            local queue = { capacity = 1, overflow = "fail" }
            local function reason(p)
              local ok, text = p:to(stream.null_sink()):wait()
              return (text:gsub("script.lua:%d+", "LINE"))
            end
            print(reason(stream.from(stream.range(1, 9)):map("slow", slow, { queue = queue })))
            print(reason(stream.from(stream.range(1, 9)):map("fast", id, { on_error = "skip" })
              :map("slow", slow, { queue = queue })))
            """,
        output: [
            "LINE: the queue of \"slow\" is full (capacity 1, overflow = \"fail\")",
            "stage \"fast\" (LINE): the queue of \"slow\" is full (capacity 1, overflow = \"fail\")",
        ]),
    SeededCase(
        name: "what finds no room in on_drop is dropped and counted; the channel stays open",
        script: head + """
            local begun, go, shed = stream.chan(0), stream.chan(0), stream.chan(2)
            local p = stream.from(stream.generate(function(emit)
                emit { n = 1, shed = shed }
                begun:recv()
                for v = 2, 10 do emit { n = v, shed = shed } end
                go:close()
              end)):buffer { capacity = 1, overflow = "drop_oldest", on_drop = shed }
              :to(function(v) if v.n == 1 then begun:send(true) end go:recv() end)
            assert(p:wait())
            print(check(p).drops.drop_oldest, #shed, shed:recv().n, shed:recv().n, shed:is_closed())
            """,
        output: ["8\t2\t2\t3\tfalse"]),
    SeededCase(
        name: "bounded in bytes: room is made for a large value, which may stand alone",
        script: head + """
            local begun, go, got = stream.chan(0), stream.chan(0), {}
            local p = stream.from(stream.generate(function(emit)
                emit "first"
                begun:recv()
                for _ = 1, 10 do emit(("x"):rep(1000)) end
                emit(("y"):rep(100000))
                emit("last")
                go:close()
              end)):buffer { capacity = 100, bytes = 3000, overflow = "drop_oldest" }
              :to(function(v) if v == "first" then begun:send(true) end go:recv() got[#got + 1] = #v end)
            assert(p:wait())
            print(check(p).drops.drop_oldest, table.concat(got, " "))
            """,
        output: ["11\t5 4"]),
    SeededCase(
        name: "a pipeline that is cancelled accounts for what was dropped before",
        script: head + """
            for _, policy in ipairs { "drop_oldest", "drop_newest", "latest", "timeout" } do
              local seen = stream.chan(0)
              local p = stream.from(stream.generate(function(emit) local n = 0 repeat n = n + 1 stream.sleep(0.01)
                  until not emit(n) end))
                :map("a", id, { workers = 2, queue = { overflow = policy, timeout = policy == "timeout" and 0.1 or nil } })
                :to(function(v) seen:send(v) stream.sleep(0.05) end)
              stream.go(function() for i = 1, 3 do assert(seen:recv()) end stream.sleep(0.3) p:cancel("enough") end)
              print(p:wait())
              check(p)
            end
            """,
        output: Array(repeating: "nil\tenough", count: 4)),
    SeededCase(
        name: "a buffer in front of a channel is a queue of its own",
        script: head + """
            local out = stream.chan(0)
            local p = stream.from(stream.range(1, 20)):buffer { capacity = 3, overflow = "drop_oldest" }:to(out)
            stream.sleep(1)
            local got = {}
            for v in out:range() do got[#got + 1] = v end
            print(table.concat(got, " ", #got - 2), check(p).drops.drop_oldest + #got)
            """,
        output: ["18 19 20\t20"]),
]

package let overflowCases = known + shapes + others

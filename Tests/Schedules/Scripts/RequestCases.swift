// Stages that bound their intake, in every order that a range of seeds gives.
import StreamRuntime

private let head = """
    local stream = require 'stream'
    -- Counts what it has emitted on a channel; ends when nobody wants more.
    local function counting(emitted)
      return stream.generate(function(emit)
        local n = 0
        repeat
          n = n + 1
          if emit(n) then emitted:send(n) else return end
        until n == 1000
      end)
    end

    """

package let requestCases: [SeededCase] = [
    SeededCase(
        name: "the source hands over what was requested, and no more",
        script: head + """
            for _, q in ipairs { 1, 2, 3, 256 } do
              local emitted = stream.chan(2000)
              local p = stream.from(counting(emitted)):stage("asks", function(input, output)
                local asked = 0
                for _, n in ipairs { 1, 2, 5, 1, 17 } do
                  input:request(n)
                  for i = 1, n do output:send((input:recv())) end
                  asked = asked + n
                  stream.sleep(1)
                  assert(#emitted == asked, #emitted .. " of " .. asked)
                  local none, reason = input:recv(1)
                  assert(none == nil and reason == "timeout", reason)
                end
              end, { queue = q })
              local list = p:collect()
              for i = 1, 26 do assert(list[i] == i) end
              print(q, #list)
            end
            """,
        output: [1, 2, 3, 256].map { "\($0)\t26" }),
    SeededCase(
        name: "what is requested and not yet received is prefetched, up to the queue",
        script: head + """
            for _, q in ipairs { 4, 256 } do
              local emitted = stream.chan(2000)
              stream.from(counting(emitted)):stage("asks", function(input)
                input:request(10)
                stream.sleep(1)
                assert(#emitted == math.min(10, q), #emitted)
                for i = 1, 10 do assert(input:recv() == i) end
                stream.sleep(1)
                print(q, #emitted)
              end, { queue = q }):to(stream.null_sink())
              stream.run()
            end
            """,
        output: ["4\t10", "256\t10"]),
    SeededCase(
        name: "requests by another task of the stage; range goes on with them",
        script: head + """
            local emitted = stream.chan(2000)
            local list = stream.from(counting(emitted)):stage("asks", function(input, output)
              input:request(2)
              stream.go(function()
                for i = 1, 5 do stream.sleep(1) assert(#emitted == 2 * i, #emitted) input:request(2) end
              end)
              for v in input:range() do output:send(v) if v == 12 then return end end
            end):collect()
            print(#list, #emitted)
            """,
        output: ["12\t12"]),
    SeededCase(
        name: "a stage that does not ask takes what comes, whatever it waits for first",
        script: head + """
            for _, first in ipairs { "recv", "sleep", "range", "channel" } do
              local emitted, go = stream.chan(2000), stream.chan(0)
              local p = stream.from(counting(emitted)):stage("plain", function(input)
                if first == "sleep" then stream.sleep(5) elseif first == "channel" then go:recv()
                elseif first == "recv" then assert(input:recv() == 1) end
                local n = 0
                for v in input:range() do n = n + 1 end
                assert(n >= 999)
              end, { queue = 8 }):to(stream.null_sink())
              stream.go(function() stream.sleep(1) if first ~= "range" then assert(#emitted >= 8) end go:close() end)
              assert(p:wait())
              print(first, #emitted)
            end
            """,
        output: ["recv", "sleep", "range", "channel"].map { "\($0)\t1000" }),
    SeededCase(
        name: "the end of the input is seen through requests; a request after it is in order",
        script: head + """
            local list = stream.from(stream.range(1, 3)):map("m", function(v) return v end)
              :stage("asks", function(input, output)
                input:request(2)
                for v in input:range() do output:send(v) input:request(1) end
                input:request(math.huge)
              end):collect()
            print(table.concat(list, " "))
            """,
        output: ["1 2 3"]),
    SeededCase(
        name: "several workers share what they request, and merged sources fill it",
        script: head + """
            local a, b = stream.chan(2000), stream.chan(2000)
            local p = stream.from(counting(a)):merge(stream.from(counting(b))):stage("asks", function(input, output)
              input:request(5)
              for i = 1, 5 do output:send((input:recv())) end
              stream.sleep(1)
              assert(#a + #b == 15, #a + #b)
            end, { workers = 3 })
            print(#p:collect())
            """,
        output: ["15"]),
    SeededCase(
        name: "mistakes",
        script: head + """
            local function try(fn, ...)
              local ok, problem = pcall(fn, ...)
              print((problem:gsub("^script.lua:%d+: ", ""):gsub("script.lua:%d+", "LINE")))
            end
            local other = stream.chan(1)
            stream.from(stream.range(1, 3)):stage("asks", function(input, output)
              for _, n in ipairs { 0, -1, 1.5, "2" } do try(input.request, input, n) end
              try(input.request, input)
              try(input.request, output, 1)
              try(other.request, other, 1)
              try(input.request, 1, 1)
            end):to(stream.null_sink())
            assert(stream.run())
            stream.from(stream.range(1, 3)):stage("none", function(input) try(input.request, input, 1) end, { queue = 0 })
              :to(stream.null_sink())
            assert(stream.run())
            stream.from(stream.range(1, 3)):stage("drops", function(input) try(input.request, input, 1) end,
              { queue = { overflow = "latest" } }):to(stream.null_sink())
            """,
        output: ["0", "-1", "1.5", "\"2\"", "nil"].map {
            "argument 1 of request expected how many more values to take, a whole number from 1, got \($0)"
        } + [
            "request expected a stage's input: the queue of the sink is none. Whoever sends on a channel waits when it is "
                + "full: bound its capacity",
            "request expected a stage's input: the channel of LINE is none. Whoever sends on a channel waits when "
                + "it is full: bound its capacity",
            "request expected a stage's input, got number: call it as input:request(n)",
            "request expected a stage's input: the queue of \"none\" is a rendezvous (queue = 0), which takes in nothing "
                + "that the stage does not receive",
            "request expected a stage's input: the queue of \"drops\" has overflow = \"latest\", so it drops values rather "
                + "than wait for requests",
        ]),
]

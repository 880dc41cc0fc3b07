// What channels and select say of bad input: each as an error of the script's line, or as the documented meaning.
import Foundation
import Testing

@Suite struct ChannelMistakeTests {
    /// A line of a script in which `c` is a rendezvous, and what its error must contain.
    static let mistakes: [(String, [String])] = [
        // channels
        ("stream.chan(-1)", ["argument 1 of chan expected a capacity", "-1"]),
        ("stream.chan(1.5)", ["argument 1 of chan expected a capacity", "1.5"]),
        ("stream.chan(0/0)", ["argument 1 of chan expected a capacity", "nan"]),
        ("stream.chan(math.huge)", ["argument 1 of chan expected a capacity", "inf"]),
        ("stream.chan('10')", ["argument 1 of chan expected a capacity", "10"]),
        ("stream.chan()", ["argument 1 of chan expected a capacity", "nil"]),
        ("c:send(nil)", ["cannot send value: nil is no value"]),
        ("c:send()", ["cannot send value: nil is no value"]),
        ("c:try_send(print)", ["cannot send value: a function stays in the worker that made it"]),
        ("c:send({ list = { 1, { go = coroutine.create(print) } } })", ["cannot send value.list[2].go: a coroutine"]),
        ("local t = { a = {} } t.a.back = t c:send(t)", ["cannot send value.a.back: a cycle"]),
        ("local t = {} for i = 1, 201 do t = { t } end c:try_send(t)", ["nested deeper than 200"]),
        ("c:send({ [{}] = 1 })", ["cannot send value: a key that is a table"]),
        ("c:send(stream.go(function() end))", ["cannot send value: a task stays"]),
        ("c:close() c:close()", ["close of a closed channel"]),
        ("c:send(1, '5 parsecs')", ["argument 2 of send expected a duration", "0.8", "800ms", "5 parsecs"]),
        ("c:send(1, -1)", ["argument 2 of send expected a duration", "-1"]),
        ("c:recv('5 parsecs')", ["argument 1 of recv expected a duration", "5 parsecs"]),
        ("c:recv(0/0)", ["argument 1 of recv expected a duration", "nan"]),
        ("c:recv({})", ["argument 1 of recv expected a duration"]),
        ("c.send(1)", ["send expected a channel, got", "channel:send(...)"]),
        ("c.recv()", ["recv expected a channel, got", "channel:recv(...)"]),
        ("c.range()", ["range expected a channel"]),
        ("c.close({})", ["close expected a channel"]),
        ("c:sned(1)", ["a channel has no method 'sned'", "send"]),
        ("c.x = 1", ["attempt to index"]),
        // waiting where Lua cannot leave
        ("assert(load(function() c:recv() end))", ["recv cannot wait here", "reader of load"]),
        ("table.concat(setmetatable({}, { __index = function() c:send(1) end }), '', 1, 2)", ["send cannot wait here"]),
        (
            "local a = setmetatable({}, { __lt = function() stream.select { { recv = c } } end }) table.sort { a, a }",
            ["select cannot wait here", "table.concat"]
        ),
        (
            "tostring(setmetatable({}, { __tostring = function() for v in c:range() do end end }))",
            ["range cannot wait here", "metamethod"]
        ),
        // select
        ("stream.select()", ["argument 1 of select expected a list of cases", "nil"]),
        ("stream.select(c)", ["argument 1 of select expected a list of cases", "a channel"]),
        ("stream.select { recv = c }", ["argument 1 of select expected a list of cases", "'recv'"]),
        ("stream.select { { recv = c }, [7] = {} }", ["argument 1 of select expected a list of cases"]),
        ("stream.select { nil, { recv = c } }", ["case 1 of select is nil", "false disables"]),
        ("stream.select { { recv = c }, 5 }", ["case 2 of select expected a table", "5"]),
        ("stream.select { {} }", ["case 1 of select has none of recv, send, after, default"]),
        ("stream.select { { value = 1 } }", ["case 1 of select has none of"]),
        ("stream.select { { recv = c, send = c, value = 1 } }", ["case 1 of select has more than one of"]),
        ("stream.select { { rcv = c } }", ["case 1 of select has a field 'rcv'", "recv"]),
        ("stream.select { { c } }", ["case 1 of select has a field '1'"]),
        ("stream.select { { recv = 5 } }", ["recv of case 1 of select expected a channel or false", "5"]),
        (
            "stream.select { { send = stream.context(), value = 1 } }",
            ["send of case 1", "expected a channel or false"]
        ),
        ("stream.select { { send = c } }", ["case 1 of select: cannot send value: nil is no value"]),
        (
            "stream.select { { send = c, value = { f = print } } }",
            ["case 1 of select: cannot send value.f: a function"]
        ),
        ("stream.select { { recv = c, value = 1 } }", ["case 1 of select has a value, but nothing to send it on"]),
        ("stream.select { { after = 1 }, { after = 2 } }", ["case 2 of select is the second after or default"]),
        ("stream.select { { default = true }, { after = 2 } }", ["case 2 of select is the second after or default"]),
        ("stream.select { { after = '5 parsecs' } }", ["after of case 1", "expected a duration", "5 parsecs"]),
        ("stream.select { { after = -1 } }", ["after of case 1", "expected a duration", "-1"]),
        ("stream.select { { default = 1 } }", ["default of case 1 of select expected true or false", "1"]),
        ("stream.select { { recv = c, run = 'f' } }", ["run of case 1 of select expected a function", "f"]),
    ]

    @Test(arguments: mistakes) func mistake_namesTheLineAndWhatWasExpected(_ line: String, _ parts: [String]) throws {
        let outcome = try CommandLine.run("local stream, c = require 'stream'\nc = stream.chan(0)\n\(line)\n")
        #expect(outcome.status != 0 && outcome.output == "")
        for part in ["script.lua:3:"] + parts {
            #expect(outcome.errors.contains(part), "\(part): \(outcome.errors)")
        }
    }

    /// After a mistake the channel is as it was, and a select that failed has kept and lost nothing.
    @Test func mistakes_leaveTheChannelsAsTheyWere() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local c, inner = stream.chan(1), stream.chan(0)
            for _ = 1, 1000 do
              assert(not pcall(c.send, c, { inner, print }))
              assert(not pcall(stream.select, { { send = c, value = { inner } }, { send = c, value = { inner, print } } }))
              assert(not pcall(stream.select, { { send = c, value = { inner } }, { after = "soon" } }))
            end
            print(#c, c:try_recv())
            print(stream.select { { send = c, value = inner }, { default = true } })
            print(rawequal(c:recv(), inner))
            """)
        #expect(outcome.output == "0\tnil\tempty\n1\ttrue\ntrue\n")
        #expect(outcome.status == 0)
    }

    /// The contract's table, row by row.
    @Test func returns_areThoseOfTheTable() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local r, q = stream.chan(0), stream.chan(2)
            print(r:try_send(1), select(2, r:try_send(1)))
            print(r:try_recv())
            print(q:try_send(1), q:send("two"), q:try_send(3))
            print(#q, q:capacity(), #r, r:capacity())
            print(q:send(3, 0))
            print(q:send(3, "1ms"))
            print(r:recv(0))
            print(r:recv(0.001))
            stream.go(function() print("got", r:recv()) end)
            stream.sleep(0)
            print(r:try_send("rendezvous"))
            stream.go(function() print("sent", r:send(false)) end)
            stream.sleep(0)
            print(r:try_recv())
            print(q:is_closed(), q:close())
            print(q:is_closed(), q:recv(), q:try_recv())
            print(q:recv())
            print(q:try_recv())
            print(q:send(4))
            print(q:try_send(4))
            for v in q:range() do print("never") end
            print(stream.select { { recv = q } })
            stream.sleep(0)
            """)
        #expect(
            outcome.lines == [
                "nil\tfull", "nil\tempty", "true\ttrue\tnil\tfull", "2\t2\t0\t0", "nil\ttimeout", "nil\ttimeout",
                "nil\ttimeout", "nil\ttimeout", "true", "got\trendezvous", "false", "false", "true\t1\ttwo",
                "nil\tclosed", "nil\tclosed", "nil\tclosed", "nil\tclosed", "1\tnil\tclosed", "sent\ttrue",
            ])
        #expect(outcome.errors == "")
    }
}

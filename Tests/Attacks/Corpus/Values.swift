// Values that are huge, deep, cyclic or lie; arguments at the ends of their ranges.

extension Corpus {
    /// The stage returns what the body makes.
    private static func returned(_ name: String, _ fails: String, _ body: String) -> Attack {
        Attack(
            .values, name, .refusal, "made = (function() \(body) end)()",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):map("hostile", function(value)
                  if value ~= 2 then return value end
                  attack(value)
                  return made
                end, OPTIONS)
                """), before: "local made", outcome: .fails(fails))
    }

    static let values = [
        returned("a cycle", "a cycle", "local t = {} t.a = { back = t } return t"),
        returned(
            "ten thousand deep", "nested deeper than 200", "local t = {} for _ = 1, 10000 do t = { t } end return t"),
        returned("a function in it", "a function", "return { a = { b = print } }"),
        returned("a coroutine in it", "a coroutine", "return { coroutine.create(print) }"),
        returned("keys of every kind", "key", "return { [{}] = 1 }"),
        Attack(
            .values, "larger than a value may be", .refusal, "made = ('x'):rep(2 << 20)",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):map("hostile", function(value)
                  if value ~= 2 then return value end
                  attack(value)
                  return made
                end, { max_value = "1MB", on_error = "skip" })
                """), before: "local made", outcome: .fails("larger than 1MB")),
        Attack(
            .values, "a billion by sharing", .timeout,
            """
            local t = { "x" }
            for _ = 1, 60 do t = { t, t } end
            local queue = stream.chan(1)
            while true do pcall(queue.try_send, queue, t) end
            """),
        Attack(
            .values, "a billion by sharing, as JSON", .timeout,
            """
            local t = { "x" }
            for _ = 1, 60 do t = { t, t } end
            while true do pcall(stream.json.encode, t) end
            """),
        Attack(
            .values, "a million keys, again and again", .timeout,
            """
            local t = {}
            for i = 1, 100000 do t["key" .. i] = i end
            local queue = stream.chan(1)
            while true do queue:try_send(t) queue:try_recv() end
            """),
        Attack(
            .values, "keys that are always new", prints: ["100000"],
            """
            local queue, n = stream.chan(1), 0
            for i = 1, 100000 do
              queue:send { ["attack key " .. i] = i }
              if queue:recv()["attack key " .. i] == i then n = n + 1 end
            end
            print(n)
            """),
        Attack(
            .values, "metamethods stay behind", prints: ["nil\tnil\t1"],
            """
            local function loop() while true do end end
            local queue = stream.chan(1)
            queue:send(setmetatable({ 1 }, { __index = loop, __pairs = loop, __len = loop, __name = "x" }))
            local got = queue:recv()
            print(tostring(getmetatable(got)) .. "\\t" .. tostring(got.x) .. "\\t" .. got[1])
            """),
        Attack(
            .values, "JSON that is deep, long or none", prints: ["nil", "nil", "nil", "nil", "nil", "nil"],
            """
            local decode = stream.json.decode
            print((decode(("["):rep(1000000))))
            print((decode(('{"a":'):rep(100000))))
            print((decode('"' .. ("\\\\u"):rep(1000))))
            print((decode("\\xff\\xfe")))
            print((decode(("[1,"):rep(300) .. ("]"):rep(300))))
            print((decode("")))
            """),
        Attack(
            .values, "numbers of many digits", prints: ["float", "float", "nil"],
            """
            print(math.type(stream.json.decode(("1"):rep(300))))
            print(math.type(stream.json.decode("0." .. ("1"):rep(100000))))
            print((stream.json.decode(("9"):rep(100000))))
            """),
    ]

    static let arguments = [
        Attack(
            .arguments, "ends of the integers", prints: ["", "", "0", "false", "false", "true", "false", "nil"],
            """
            print((""):rep(math.mininteger))
            print(("abc"):sub(math.maxinteger, math.mininteger))
            print(select("#", ("abc"):byte(math.mininteger, math.mininteger)))
            print((pcall(table.unpack, {}, math.mininteger, math.maxinteger)))
            print((pcall(table.concat, {}, "", math.maxinteger - 1, math.maxinteger)))
            print((pcall(math.random, math.mininteger, math.maxinteger)))
            print((pcall(table.move, {}, math.mininteger, math.maxinteger, 1)))
            print((utf8.offset("abc", math.maxinteger)))
            """),
        Attack(
            .arguments, "formats", prints: Array(repeating: "false", count: 6) + ["true"],
            """
            print((pcall(string.format, "%" .. ("0"):rep(1000) .. "d", 1)))
            print((pcall(string.format, "%.100f", 1)))
            print((pcall(string.format, "%n", 1)))
            print((pcall(string.format, ("%s"):rep(300))))
            print((pcall(string.format, "%d", 1e400)))
            print((pcall(string.format, "%", 1)))
            print(#("%99.99f"):format(-1e308) > 400)
            """),
        Attack(
            .arguments, "pack and unpack", prints: Array(repeating: "false", count: 6) + ["true"],
            """
            print((pcall(string.pack, "i17", 1)))
            print((pcall(string.unpack, "s8", ("\\255"):rep(8))))
            print((pcall(string.unpack, "i8", "x")))
            print((pcall(string.packsize, "c2147483647c2147483647")))
            print((pcall(string.pack, "!17 i4", 1)))
            print((pcall(string.unpack, "z", "no end")))
            print(string.unpack("i4", "abcdefgh", math.mininteger) == string.unpack("i4", "abcdefgh", 1))
            """),
        Attack(
            .arguments, "dates", prints: ["false", "false", "false"],
            """
            print((pcall(os.date, "%Ez", 0)))
            print((pcall(os.date, "%c", 1 << 62)))
            print((pcall(os.time, { year = 1 << 60, month = 1, day = 1 })))
            """),
        Attack(
            .arguments, "times that are none", prints: ["false", "false", "false", "false", "true"],
            """
            print((pcall(stream.sleep, 0 / 0)))
            print((pcall(stream.sleep, "1 fortnight")))
            print((pcall(stream.sleep, {})))
            print((pcall(stream.after, "x")))
            print((pcall(stream.after, 1e300)))
            """),
        Attack(
            .arguments, "sizes that are none", prints: Array(repeating: "false", count: 6),
            """
            print((pcall(stream.chan, -1)))
            print((pcall(stream.chan, 1 << 62)))
            print((pcall(stream.chan, 0.5)))
            print((pcall(stream.token_bucket, { rate = -1, burst = 1 })))
            print((pcall(stream.token_bucket, { rate = 0 / 0, burst = 1 })))
            print((pcall(stream.concurrency, { limit = 0 })))
            """),
    ]
}

// C functions of the library that no hook interrupts: patterns that backtrack, functions told to build or walk giants.

extension Corpus {
    static let patterns = [
        Attack(
            .patterns, "twenty lazy items", .timeout,
            "return (('a'):rep(30000):find(('a-'):rep(20) .. 'b'))"),
        Attack(.patterns, "ten lazy dots", .timeout, "return (('x'):rep(400):match(('.-'):rep(10) .. 'y'))"),
        Attack(.patterns, "greedy items", .timeout, "return (('a'):rep(2000):match(('a*'):rep(6) .. 'b'))"),
        Attack(
            .patterns, "lazy dots in gsub", .timeout,
            "return (('x'):rep(400):gsub(('.-'):rep(10) .. 'y', ''))"),
        Attack(
            .patterns, "lazy dots in gmatch", .timeout,
            "for _ in ('x'):rep(400):gmatch(('.-'):rep(10) .. 'y') do end"),
        Attack(
            .patterns, "brackets that never close", .timeout,
            "while true do local _ = ('('):rep(200000):find('%b()') end"),
        Attack(
            .patterns, "under pcall, again and again", .timeout,
            "while true do pcall(string.find, ('a'):rep(20000), '.-.-.-b') end"),
        Attack(
            .patterns, "a plain search in a periodic text", .timeout,
            """
            local text, want = ("ab"):rep(500000), ("ab"):rep(250000) .. "b"
            while true do local _ = text:find(want, 1, true) end
            """),
        Attack(
            .patterns, "back references", .timeout, "return (('a'):rep(3000):match('(a*)(a*)(a*)%1%2%3b'))"),
        Attack(
            .patterns, "matches that nest too deep are refused",
            prints: ["false\ttoo complex", "false\ttoo many captures"],
            """
            local ok, problem = pcall(string.find, ("x"):rep(1000), ("x?"):rep(300) .. "y")
            print(ok, ok or problem:match("too complex"))
            ok, problem = pcall(string.find, "x", ("()"):rep(33))
            print(ok, problem:match("too many captures"))
            """),
    ]

    static let giants = [
        Attack(
            .libraryGiants, "rep of a byte", .timeout, "while true do pcall(string.rep, 'x', 2 * most) end",
            memory: "4MB"),
        Attack(
            .libraryGiants, "rep of nothing with a separator", .timeout,
            "while true do pcall(string.rep, '', most, 'xx') end", memory: "4MB"),
        Attack(
            .libraryGiants, "rep of more than the memory is refused", prints: ["false"], memory: "4MB",
            "print((pcall(string.rep, 'x', 2 * most)))"),
        Attack(.libraryGiants, "rep of nothing for ever", prints: ["0"], "print(#(''):rep(1 << 62))"),
        Attack(
            .libraryGiants, "rep beyond all memory is refused", prints: ["false", "false", "false"],
            """
            print((pcall(string.rep, "x", 1 << 62)))
            print((pcall(string.rep, "x", 1 << 40, "y")))
            print((pcall(string.rep, "xy", math.maxinteger)))
            """),
        Attack(
            .libraryGiants, "concat", .memory,
            """
            local piece, t = ("x"):rep(100000), {}
            for i = 1, 2 * most // #piece do t[i] = piece end
            while true do pcall(table.concat, t) end
            """),
        Attack(
            .libraryGiants, "concat of a table that lies about its length", .timeout,
            """
            local t = setmetatable({}, { __len = function() return 1 << 50 end, __index = function() return "" end })
            while true do pcall(table.concat, t) end
            """),
        Attack(
            .libraryGiants, "concat of nothing from one end of the integers to the other", .timeout,
            """
            local t = setmetatable({}, { __index = function() return "" end })
            while true do pcall(table.concat, t, "", 1, math.maxinteger) end
            """),
        Attack(.libraryGiants, "move of nothing", .timeout, "while true do pcall(table.move, {}, 1, 1 << 50, 2) end"),
        Attack(
            .libraryGiants, "move of one value to ever higher places", .memory,
            """
            local t = setmetatable({}, { __index = function() return 1 end })
            while true do pcall(table.move, t, 1, most // 16, 1, {}) end
            """),
        Attack(
            .libraryGiants, "insert into a table that lies about its length", .timeout,
            """
            local t = setmetatable({}, { __len = function() return 1 << 50 end, __newindex = function() end })
            while true do pcall(table.insert, t, 1, "x") end
            """),
        Attack(
            .libraryGiants, "remove from a table that lies about its length", .timeout,
            """
            local t = setmetatable({}, { __len = function() return 1 << 50 end, __newindex = function() end })
            while true do pcall(table.remove, t, 1) end
            """),
        Attack(
            .libraryGiants, "unpack of very many", .timeout,
            "while true do pcall(table.unpack, {}, 1, 200000) pcall(table.unpack, {}, 1, 1 << 40) end"),
        Attack(
            .libraryGiants, "sort of very many", .timeout,
            """
            local t = {}
            while true do
              for i = 1, 500000 do t[i] = i * 7919 % 1000003 end
              table.sort(t)
            end
            """),
        Attack(
            .libraryGiants, "format", .memory,
            """
            local piece = ("x"):rep(1 << 20)
            local list = {}
            for i = 1, 2 * most // #piece do list[i] = piece end
            while true do pcall(string.format, ("%s"):rep(#list), table.unpack(list)) end
            """),
        Attack(.libraryGiants, "pack", .memory, "while true do pcall(string.pack, 'c' .. 2 * most, '') end"),
        Attack(
            .libraryGiants, "a gsub that blows up", .memory,
            """
            local text, by = ("x"):rep(1 << 15), ("y"):rep(2 * most >> 15)
            while true do pcall(string.gsub, text, "x", by) end
            """),
        Attack(
            .libraryGiants, "char and byte of very many", .timeout,
            """
            local text = ("x"):rep(200000)
            while true do local _ = string.char(text:byte(1, -1)) end
            """),
        Attack(
            .libraryGiants, "utf8 functions on a long text", .timeout,
            """
            local text = ("\\u{20ac}"):rep(1000000)
            while true do
              local _ = utf8.len(text)
              _ = utf8.offset(text, -1)
              for _ in utf8.codes(text) do end
            end
            """),
        Attack(
            .libraryGiants, "upper, lower, reverse of a long text", .timeout,
            """
            local text = ("x"):rep(1 << 22)
            while true do local _ = text:upper():lower():reverse() end
            """),
        Attack(
            .libraryGiants, "load of a chunk as long as may be", .timeout,
            """
            local source = ("x = 1 "):rep(170000)
            while true do load(source) end
            """),
    ]
}

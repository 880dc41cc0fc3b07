// What takes memory until it is stopped: of the state, and of the host on its behalf. Each begins anew at `most` bytes,
// far above its limit, so that its twin stays in bounds.

extension Corpus {
    static let memory = [
        Attack(
            .strings, "many strings", .memory,
            """
            while true do
              local keep = {}
              for i = 1, most // 2000 do keep[i] = ("x"):rep(1000) .. i end
            end
            """),
        Attack(
            .strings, "one that doubles", .memory,
            "while true do local s = 'x' while #s < most do s = s .. s end end"),
        Attack(
            .strings, "one that doubles, under pcall", .memory,
            """
            while true do
              local s = "x"
              local function double() s = s .. s end
              while #s < most do if not pcall(double) then break end end
            end
            """),
        Attack(
            .strings, "short ones, each a key", .memory,
            """
            while true do
              local keep = {}
              for i = 1, most // 100 do keep["key " .. i] = true end
            end
            """),
        Attack(
            .tables, "many tables", .memory,
            "while true do local keep = {} for i = 1, most // 100 do keep[i] = {} end end"),
        Attack(
            .tables, "a list of tables, one in the other", .memory,
            "while true do local list = {} for _ = 1, most // 100 do list = { list } end end"),
        Attack(
            .tables, "one table that doubles", .memory,
            "while true do local t = {} for i = 1, most // 16 do t[i] = i end end"),
        Attack(
            .tables, "one table of integer keys far apart", .memory,
            "while true do local t = {} for i = 1, most // 40 do t[i << 20] = i end end"),
        Attack(
            .tables, "metatables, each with the one before", .memory,
            """
            while true do
              local last = {}
              for _ = 1, most // 120 do last = setmetatable({}, { __index = last }) end
            end
            """),
        Attack(
            .tables, "vararg tables", .memory,
            """
            local function more(n, ...) if n == 0 then return { ... } end return more(n - 1, n, ...) end
            while true do
              local keep = {}
              for i = 1, most // 4000 do keep[i] = more(100) end
            end
            """),
        Attack(
            .coroutineMemory, "many coroutines", .memory,
            "while true do local keep = {} for i = 1, most // 1000 do keep[i] = coroutine.create(print) end end"),
        Attack(
            .coroutineMemory, "coroutines that wait in a recursion", .memory,
            """
            local function deep(n) if n == 0 then coroutine.yield() else deep(n - 1) end return n end
            while true do
              local keep = {}
              for i = 1, most // 30000 do
                keep[i] = coroutine.create(deep)
                coroutine.resume(keep[i], 100)
              end
            end
            """),
        Attack(
            .coroutineMemory, "a coroutine that starts the next", .memory,
            """
            while true do
              local keep, n = {}, 0
              local function start()
                n = n + 1
                keep[n] = coroutine.wrap(function() coroutine.yield() end)
                keep[n]()
              end
              while n < most // 1500 do start() end
            end
            """),
        Attack(
            .closures, "many closures", .memory,
            """
            while true do
              local keep = {}
              for i = 1, most // 100 do keep[i] = function() return i end end
            end
            """),
        Attack(
            .closures, "many loaded chunks", .memory,
            """
            while true do
              local keep = {}
              for i = 1, most // 1000 do keep[i] = load("local a = " .. i .. " return function() return a end") end
            end
            """),
        Attack(
            .closures, "a chain of closures", .memory,
            """
            while true do
              local last = print
              for _ = 1, most // 100 do
                local before = last
                last = function() return before end
              end
            end
            """),
        Attack(
            .swallowed, "tables under pcall", .memory,
            """
            while true do
              local keep = {}
              for i = 1, most // 100 do pcall(function() keep[#keep + 1] = { i } end) end
            end
            """),
        Attack(
            .swallowed, "error objects that are kept", .memory,
            """
            while true do
              local keep = {}
              for i = 1, most // 300 do local _, problem = pcall(error, { ("x"):rep(200) .. i }) keep[i] = problem end
            end
            """),
        Attack(
            .swallowed, "messages that grow", .memory,
            """
            while true do
              local text = "x"
              while #text < most do
                local _, longer = pcall(error, text .. text, 0)
                if type(longer) ~= "string" or #longer <= #text then break end
                text = longer
              end
            end
            """),
        Attack(
            .swallowed, "a recursion under pcall", .memory,
            """
            local function deep(n, ...) if n == 0 then return ... end return 1 + #{ deep(n - 1, n, ...) } end
            while true do pcall(deep, 190) pcall(function() local function f() return 1 + f() end f() end) end
            """),
        Attack(
            .swallowed, "in a sort that swallows", .memory,
            """
            while true do
              local keep = {}
              pcall(table.sort, { 5, 4, 3, 2, 1 }, function()
                for _ = 1, most // 500 do keep[#keep + 1] = { {} } end
                return false
              end)
            end
            """),
    ]

    static let hostMemory = [
        Attack(
            .hostMemory, "many channels", .memory,
            "while true do local keep = {} for i = 1, most // 200 do keep[i] = stream.chan(1) end end"),
        Attack(
            .hostMemory, "a channel with room for a million", .memory,
            """
            while true do
              local queue = stream.chan(1000000)
              for i = 1, most // 500 do if not queue:try_send(("x"):rep(400) .. i) then break end end
            end
            """),
        Attack(
            .hostMemory, "many contexts", .memory,
            "while true do local keep = {} for i = 1, most // 500 do keep[i] = stream.context():with_cancel() end end"),
        Attack(
            .hostMemory, "many limiters", .memory,
            """
            while true do
              local keep = {}
              for i = 1, most // 500 do keep[i] = stream.token_bucket { rate = 1, burst = 1 } end
            end
            """),
        Attack(
            .hostMemory, "many timers", .memory,
            "while true do local keep = {} for i = 1, most // 500 do keep[i] = stream.after(1e6) end end"),
        Attack(
            .hostMemory, "many timers that nobody keeps", .memory,
            "for _ = 1, most // 100 do stream.after(1e6) end while true do end"),
        Attack(
            .hostMemory, "many tasks that sleep", .memory,
            """
            for _ = 1, most // 500 do stream.go(stream.sleep, 1e6) end
            while true do end
            """),
        Attack(
            .hostMemory, "values of a context, one on the other", .memory,
            """
            while true do
              local ctx = stream.context()
              for i = 1, most // 500 do ctx = ctx:with_value(i, ("x"):rep(100)) end
            end
            """),
    ]
}

// What computes for ever, bare and behind whatever might catch the stop.

extension Corpus {
    static let loops = [
        Attack(.endlessLoop, "while true", .timeout, "while true do end"),
        Attack(.endlessLoop, "goto", .timeout, "::again:: goto again"),
        Attack(.endlessLoop, "a counter to the greatest integer", .timeout, "for _ = 1, math.maxinteger do end"),
        Attack(.endlessLoop, "a tail call to itself", .timeout, "local function f() return f() end return f()"),
        Attack(
            .endlessLoop, "sleeps of no length", .timeout, "while true do pcall(stream.sleep, 0) end"),
        Attack(
            .endlessLoop, "a select that is always ready", .timeout,
            "local never = stream.chan(0) while true do stream.select { { recv = never }, { default = true } } end"),
        Attack(
            .endlessLoop, "a context without the deadline", .timeout,
            "while true do stream.context():without_cancel():run(stream.sleep, 0) end"),
        Attack(
            .endlessLoop, "waits that the deadline ends, again and again", .timeout,
            "local never = stream.chan(0) while true do never:recv() end"),
        Attack(.endlessLoop, "while true, by processor time", .cpu, "while true do end"),
        Attack(
            .endlessLoop, "loops under pcall, by processor time", .cpu,
            "while true do pcall(function() while true do end end) end"),
        Attack(
            .endlessLoop, "while true in a coroutine, by processor time", .cpu,
            "coroutine.wrap(function() while true do end end)()"),
        Attack(
            .endlessLoop, "a filter", .timeout, "while true do end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):filter("hostile", function(v)
                  if v == 2 then attack(v) end
                  return true
                end, OPTIONS)
                """)),
        Attack(
            .endlessLoop, "a flat_map", .timeout, "while true do pcall(function() while true do end end) end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):flat_map("hostile", function(v, emit)
                  if v == 2 then attack(v) end
                  emit(v)
                end, OPTIONS)
                """)),
        Attack(
            .endlessLoop, "a scan, whose state is the initial one again", .timeout, "while true do end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):scan("hostile", 0, function(sum, v)
                  if v == 2 then attack(v) end
                  return sum + v
                end, OPTIONS)
                """)),
    ]

    static let wrappedLoops = [
        Attack(
            .protectedCall, "pcall in a loop", .timeout, "while true do pcall(function() while true do end end) end"),
        Attack(
            .protectedCall, "pcall in a recursion", .timeout,
            "local function again() pcall(again) while true do end end while true do pcall(again) end"),
        Attack(
            .protectedCall, "xpcall with a handler that loops", .timeout,
            "while true do xpcall(function() while true do end end, function() while true do end end) end"),
        Attack(
            .protectedCall, "a handler that raises", .timeout,
            "local function raise() error(raise) end while true do xpcall(raise, raise) end"),
        Attack(.protectedCall, "errors without end", .timeout, "while true do pcall(error, {}) end"),
        Attack(
            .coroutines, "a coroutine that loops", .timeout,
            "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"),
        Attack(
            .coroutines, "a wrapped one", .timeout,
            "while true do pcall(coroutine.wrap(function() while true do end end)) end"),
        Attack(
            .coroutines, "a hundred inside one another", .timeout,
            """
            local function nest(n)
              if n == 0 then while true do end end
              while true do coroutine.resume(coroutine.create(nest), n - 1) end
            end
            nest(100)
            """),
        Attack(
            .coroutines, "a generator without end", .timeout,
            """
            local next = coroutine.wrap(function() while true do pcall(coroutine.yield) end end)
            while true do next() end
            """),
        Attack(
            .coroutines, "inside sort inside a coroutine", .timeout,
            """
            while true do
              pcall(coroutine.wrap(function()
                pcall(table.sort, { 3, 2, 1 }, function() while true do end end)
                while true do end
              end))
            end
            """),
        Attack(
            .coroutines, "one that is left suspended, a million times", .timeout,
            "while true do local co = coroutine.wrap(function() coroutine.yield() end) co() end"),
        Attack(
            .closing, "a variable to close", .timeout,
            """
            local guard <close> = setmetatable({}, { __close = function() while true do end end })
            error "out"
            """),
        Attack(
            .closing, "in a wrapped coroutine that raises, where nothing is closed", .refusal,
            """
            coroutine.wrap(function()
              local guard <close> = setmetatable({}, { __close = function() while true do end end })
              error "out"
            end)()
            """, outcome: .fails("out")),
        Attack(
            .closing, "closing opens the next", .timeout,
            """
            local again
            local meta = { __close = function() return pcall(again) end }
            again = function() local guard <close> = setmetatable({}, meta) error "out" end
            while true do pcall(again) end
            """),
        Attack(
            .closing, "of an iterator", .timeout,
            """
            local guard = setmetatable({}, { __close = function() while true do end end })
            for _ in function() return true end, nil, nil, guard do break end
            """),
        Attack(
            .closing, "while the stop unwinds sort", .timeout,
            """
            local meta = { __close = function() while true do end end }
            while true do
              pcall(table.sort, { 3, 2, 1 }, function()
                local guard <close> = setmetatable({}, meta)
                while true do end
              end)
            end
            """),
        Attack(
            .metamethods, "__index", .timeout,
            "local t = setmetatable({}, { __index = function() while true do end end }) return t.x"),
        Attack(
            .metamethods, "__index of the globals", .timeout,
            """
            local function loop() while true do end end
            setmetatable(_G, { __index = loop, __newindex = loop })
            return undefined
            """),
        Attack(
            .metamethods, "an __index chain that is a circle", .timeout,
            """
            local t = {}
            setmetatable(t, { __index = t })
            while true do pcall(function() return t.x end) end
            """),
        Attack(
            .metamethods, "__newindex", .timeout,
            "local t = setmetatable({}, { __newindex = function() while true do end end }) t.x = 1"),
        Attack(
            .metamethods, "__call of __call", .timeout,
            """
            local t = setmetatable({}, { __call = function() while true do end end })
            while true do pcall(t) end
            """),
        Attack(
            .metamethods, "arithmetic and comparison", .timeout,
            """
            local function loop() while true do end end
            local t = setmetatable({}, { __add = loop, __lt = loop, __eq = loop, __len = loop, __unm = loop })
            pcall(function() return t + 1 end)
            return t < t or #t == -t
            """),
        Attack(
            .metamethods, "__pairs", .timeout,
            """
            for _ in pairs(setmetatable({}, { __pairs = function() return function() return true end end })) do end
            """),
        Attack(
            .metamethods, "__tostring", .timeout,
            "return tostring(setmetatable({}, { __tostring = function() while true do end end }))"),
        Attack(
            .metamethods, "__tostring inside print", .timeout,
            "print(setmetatable({}, { __tostring = function() while true do end end }))"),
        Attack(
            .metamethods, "__tostring inside format", .timeout,
            "return ('%s'):format(setmetatable({}, { __tostring = function() while true do end end }))"),
    ]

    static let callbacks = [
        Attack(
            .comparators, "sort", .timeout, "table.sort({ 1, 2, 3, 4 }, function() while true do end end)"),
        Attack(
            .comparators, "sort under pcall", .timeout,
            "while true do pcall(table.sort, { 1, 2, 3, 4 }, function() while true do end end) end"),
        Attack(
            .comparators, "one that lies, on a large table", .timeout,
            """
            local t = {}
            for i = 1, 100000 do t[i] = i end
            while true do pcall(table.sort, t, function() return true end) end
            """),
        Attack(
            .comparators, "__lt inside sort", .timeout,
            """
            local meta = { __lt = function() while true do end end }
            while true do pcall(table.sort, { setmetatable({}, meta), setmetatable({}, meta) }) end
            """),
        Attack(
            .callbacks, "gsub", .timeout, "return (('abc'):gsub('.', function() while true do end end))"),
        Attack(
            .callbacks, "gsub under pcall", .timeout,
            "while true do pcall(string.gsub, 'abc', '.', function() while true do end end) end"),
        Attack(
            .callbacks, "__index of a table that gsub reads", .timeout,
            "return (('abc'):gsub('.', setmetatable({}, { __index = function() while true do end end })))"),
        Attack(
            .callbacks, "gsub inside gsub inside sort", .timeout,
            """
            while true do
              pcall(table.sort, { 2, 1 }, function()
                return (("ab"):gsub(".", function()
                  return (("cd"):gsub(".", function() while true do end end))
                end))
              end)
            end
            """),
        Attack(.callbacks, "a reader of load", .timeout, "while true do load(function() while true do end end) end"),
        Attack(
            .callbacks, "an iterator without end", .timeout, "for _ in function() return true end do end"),
        Attack(
            .callbacks, "a once function that never returns", .timeout, "once()",
            before: "local once = stream.once(function() while true do end end)"),
    ]

    static let collector = [
        Attack(
            .finalizers, "setmetatable refuses __gc", prints: ["false\tnot supported", "false\tnot supported"],
            """
            local function try(meta)
              local ok, problem = pcall(setmetatable, {}, meta)
              print(ok, problem:match("'__gc' is (not supported)"))
            end
            try { __gc = function() while true do end end }
            try { __gc = true }
            """),
        Attack(
            .finalizers, "one that is added later is never called", prints: ["0"],
            """
            local fired, meta = 0, {}
            for _ = 1, 100 do setmetatable({}, meta) end
            meta.__gc = function() fired = fired + 1 while true do end end
            collectgarbage() collectgarbage()
            print(fired)
            """),
        Attack(
            .finalizers, "collections without end", .timeout,
            """
            local keep = {}
            for i = 1, 20000 do keep[i] = { i } end
            while true do collectgarbage() end
            """, memory: "4MB"),
        Attack(
            .finalizers, "a chain of ephemerons", .timeout,
            """
            local weak, first = setmetatable({}, { __mode = "k" }), {}
            local key = first
            for _ = 1, 10000 do
              local next = {}
              weak[key], key = next, next
            end
            while true do collectgarbage() end
            """, memory: "4MB"),
        Attack(
            .finalizers, "the collector cannot be stopped", prints: ["false", "false", "false", "false"],
            """
            for _, option in ipairs { "stop", "generational", "step", "setpause" } do
              print((pcall(collectgarbage, option)))
            end
            """),
    ]
}

// Depth: of calls, of the parser, of chains; and error objects that want to run code while they are reported.

extension Corpus {
    static let recursion = [
        Attack(
            .recursion, "calls without end", prints: ["false\tstack overflow"], memory: "256MB",
            """
            local function f(n) return 1 + f(n + 1) end
            local ok, problem = pcall(f, 1)
            print(ok, problem:match("stack overflow"))
            """),
        Attack(
            .recursion, "calls without end, through C", prints: ["false\tC stack overflow"],
            """
            local function f() return (("x"):gsub("x", f)) end
            local ok, problem = pcall(f)
            print(ok, problem:match("C stack overflow"))
            """),
        Attack(
            .recursion, "sort inside sort", prints: ["false\tC stack overflow"],
            """
            local function f() table.sort({ 2, 1 }, f) end
            local ok, problem = pcall(f)
            print(ok, problem:match("C stack overflow"))
            """),
        Attack(
            .recursion, "metamethods without end", prints: ["false\tstack overflow"], memory: "256MB",
            """
            local meta = {}
            meta.__index = function(t, k) return setmetatable({}, meta)[k] end
            local ok, problem = pcall(function() return setmetatable({}, meta).x end)
            print(ok, problem:match("stack overflow"))
            """),
        Attack(
            .recursion, "coroutines inside one another", prints: ["false\tC stack overflow"],
            """
            local function f() return coroutine.wrap(f)() end
            local ok, problem = pcall(f)
            print(ok, problem:match("C stack overflow"))
            """),
        Attack(
            .recursion, "without end under pcall", .timeout,
            "local function f() pcall(f) return 1 + f() end while true do pcall(f) end", memory: "256MB"),
        Attack(
            .recursion, "handlers of handlers", prints: ["true"],
            """
            local function handler(problem) return xpcall(error, handler, problem) end
            local function deep(n) return n == 0 or xpcall(deep, handler, n - 1) end
            print((pcall(deep, 150)))
            """),
        Attack(
            .parser, "brackets", prints: ["nil\toverflow", "nil\toverflow", "nil\toverflow", "nil\toverflow"],
            """
            for _, text in ipairs { "(", "{", "a(", "a[" } do
              local f, problem = load("return " .. text:rep(100000))
              print(f, problem:match("overflow"))
            end
            """),
        Attack(
            .parser, "operators", prints: ["nil\toverflow", "nil\toverflow", "nil\toverflow"],
            """
            for _, text in ipairs { "- ", "not ", "2 ^ " } do
              local f, problem = load("return " .. text:rep(100000) .. "1")
              print(f, problem:match("overflow"))
            end
            """),
        Attack(
            .parser, "blocks", prints: ["nil\toverflow", "nil\toverflow", "nil\toverflow"],
            """
            for _, text in ipairs { "do ", "while true do ", "function f() " } do
              local f, problem = load(text:rep(50000))
              print(f, problem:match("overflow"))
            end
            """),
        Attack(
            .parser, "a chain of fields as long as may be", prints: ["false\tattempt to index", "nil\tat most"],
            """
            local f = assert(load("local a = {} return a" .. (".b"):rep(500000)))
            local ok, problem = pcall(f)
            print(ok, problem:match("attempt to index"))
            f, problem = load("local a = {} return a" .. (".b"):rep(600000))
            print(f, problem:match("at most"))
            """),
        Attack(
            .parser, "more of everything than fits", prints: ["nil", "nil", "nil", "nil"],
            """
            local names = {}
            for i = 1, 300 do names[i] = "a" .. i end
            local list = table.concat(names, ", ")
            print((load("local " .. list)))
            print((load("return function(" .. list .. ") end")))
            print((load("return " .. ("'x' .. "):rep(300) .. "'x'")))
            print((load("goto nowhere")))
            """),
        Attack(
            .parser, "chunks that are no Lua", prints: ["0"],
            """
            local loaded = 0
            math.randomseed(7)
            for _ = 1, 2000 do
              local bytes = {}
              for i = 1, 40 do bytes[i] = string.char(math.random(0, 255)) end
              if load("\\27" .. table.concat(bytes)) then loaded = loaded + 1 end
              load("return " .. table.concat(bytes))
            end
            print(loaded)
            """),
    ]

    static let errors = [
        Attack(
            .errorObjects, "__tostring that loops", .refusal,
            "error(setmetatable({}, { __tostring = function() while true do end end }))",
            outcome: .fails("an error that is no string")),
        Attack(
            .errorObjects, "__tostring that raises", .refusal,
            "error(setmetatable({}, { __tostring = function(t) error(t) end }))",
            outcome: .fails("an error that is no string")),
        Attack(
            .errorObjects, "every metamethod there is", .refusal,
            """
            local meta = {}
            local function loop() while true do end end
            for _, name in ipairs { "tostring", "name", "index", "len", "pairs", "eq", "call", "close", "metatable" } do
              meta["__" .. name] = loop
            end
            error(setmetatable({ 1, 2, 3 }, meta))
            """, outcome: .fails("an error that is no string")),
        Attack(
            .errorObjects, "a table in itself, very deep and very wide", .refusal,
            """
            local t = {}
            for i = 1, 10000 do t[i] = t end
            for _ = 1, 10000 do t = { t } end
            error(t)
            """, outcome: .fails("an error that is no string")),
        Attack(.errorObjects, "nil", .refusal, "error(nil)", outcome: .fails("an error that is no string")),
        Attack(
            .errorObjects, "a coroutine", .refusal, "error(coroutine.create(print))",
            outcome: .fails("an error that is no string")),
        Attack(
            .errorObjects, "a text of many megabytes, with codes for the terminal", .refusal,
            "error(('\\27[2J\\0\\n'):rep(1000000))", outcome: .fails("skipped")),
        Attack(
            .errorObjects, "raised while closing what an error closes", .refusal,
            """
            local function deep(n)
              local guard <close> = setmetatable({}, { __close = function(_, problem) error(problem, 0) end })
              if n > 0 then deep(n - 1) end
              error "first"
            end
            deep(150)
            """, outcome: .fails("first")),
        Attack(
            .errorObjects, "one that names the host's own stop", .refusal, "error('deadline exceeded', 0)",
            outcome: .fails("deadline exceeded")),
    ]
}

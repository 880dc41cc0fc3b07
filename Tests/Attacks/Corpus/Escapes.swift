// Attempts to reach what a script must not have. Each prints what it got.

extension Corpus {
    static let escapes = [
        Attack(
            .bytecode, "load",
            prints: [
                "nil\tattempt to load a binary chunk", "nil\tattempt to load a binary chunk",
                "nil\tattempt to load a binary chunk", "nil\tonly text", "nil",
            ],
            """
            local head = "\\27Lua\\x54\\0\\x19\\x93\\r\\n\\x1a\\n\\4\\8\\8"
            local function try(...)
              local f, problem = load(...)
              print(f, problem:match("attempt to load a binary chunk") or problem:match("only text") or problem)
            end
            try(head)
            try(head, "x", "bt")
            local pieces = { "\\27", "Lua", head:sub(5) }
            try(function() return table.remove(pieces, 1) end, "x", "bt")
            try("return 1", "x", "b")
            print(string.dump)
            """),
        Attack(
            .bytecode, "as a value that goes through the stages", prints: ["false"],
            """
            local queue = stream.chan(1)
            print((pcall(queue.try_send, queue, load("return 1"))))
            """),
        Attack(
            .escapes, "names that must not be there", prints: ["none of them"],
            """
            local found = {}
            local names = { "debug", "package", "io", "dofile", "loadfile", "loadstring", "module", "getfenv",
              "setfenv", "unpack", "newproxy", "ffi", "jit" }
            for _, name in ipairs(names) do if rawget(_G, name) ~= nil then found[#found + 1] = name end end
            for _, name in ipairs { "execute", "exit", "getenv", "remove", "rename", "tmpname", "setlocale" } do
              if os[name] ~= nil then found[#found + 1] = "os." .. name end
            end
            if coroutine.close ~= nil or string.dump ~= nil then found[#found + 1] = "close, dump" end
            print(#found == 0 and "none of them" or table.concat(found, " "))
            """),
        Attack(
            .escapes, "require of what Lua would have loaded", prints: Array(repeating: "false\tnil", count: 9),
            """
            local names = { "debug", "io", "package", "../../etc/passwd", "/etc/passwd", "a..b", "", "x\\0y", "_G.x" }
            for _, name in ipairs(names) do
              local ok, got = pcall(require, name)
              print(ok, ok and got or nil)
            end
            """),
        Attack(
            .escapes, "through environments of chunks", prints: ["nil\tnil", "nil", "true", "nil"],
            """
            print(load("return debug, package")())
            print(load("return _G and _G.io or _ENV.io")())
            print(load("return _ENV", "x", "t")() == _G)
            print(load("return print", "x", "t", {})())
            """),
        Attack(
            .escapes, "through metatables of functions, numbers, nil, coroutines", prints: ["nil nil nil nil nil"],
            """
            local list = {}
            for i, value in ipairs { print, 1, true, coroutine.create(print), "" } do
              local meta = getmetatable(value)
              list[i] = tostring(meta or nil)
            end
            print(table.concat(list, " "))
            """),
        Attack(
            .escapes, "all globals removed", prints: ["0"],
            """
            local next, print = next, print
            local globals = _G
            for key in next, globals do globals[key] = nil end
            local n = 0
            for _ in next, globals do n = n + 1 end
            print(n)
            """),
        Attack(
            .escapes, "changes that others must not see", prints: ["changed"],
            """
            string.upper = function() return "changed" end
            string.rep, table.concat, math.max, next = nil, nil, nil, nil
            stream.sleep, stream.now = error, error
            print(("x"):upper())
            """),
        Attack(
            .escapes, "the host's own functions, with what they do not expect", prints: ["nothing got out"],
            """
            local function walk(value, path, seen)
              if type(value) ~= "table" or seen[value] then return end
              seen[value] = true
              for key, member in next, value do
                if type(member) == "function" then
                  for _, bad in ipairs { {}, -1, "x", true } do pcall(coroutine.wrap(member), bad) end
                else
                  walk(member, path, seen)
                end
              end
            end
            walk(stream.json, "json", {})
            walk(stream.host, "host", {})
            pcall(function() for _ = 1, 3 do stream.host.anything(1) end end)
            print "nothing got out"
            """),
    ]

    static let metatables = [
        Attack(
            .metatables, "of strings", prints: ["false", "false", "false", "X"],
            """
            print(getmetatable(""))
            print((pcall(setmetatable, "", {})))
            print((pcall(function() getmetatable("").__index = {} end)))
            print(("x"):upper())
            """),
        Attack(
            .metatables, "of a channel", prints: ["false", "false", "false", "false", "false", "1"],
            """
            local channel = stream.chan(3)
            print(getmetatable(channel) or false)
            print((pcall(setmetatable, channel, {})))
            print((pcall(rawset, channel, "send", print)))
            print((pcall(function() channel.send = print end)))
            print((pcall(function() return channel.__gc(channel) end)))
            channel:send(1)
            print(channel:recv())
            """),
        Attack(
            .metatables, "methods of one object on another", prints: ["false 20", "true"],
            """
            local channel, ctx = stream.chan(1), stream.context():with_cancel()
            local bucket = stream.token_bucket { rate = 1, burst = 1 }
            local failures, passed = 0, false
            local methods = { channel.send, channel.recv, channel.close, ctx.cancel, bucket.allow }
            for i, method in ipairs(methods) do
              for _, other in ipairs { channel, ctx, bucket, {}, "x" } do
                local own = i <= 3 and other == channel or i == 4 and other == ctx or i == 5 and other == bucket
                if not own then
                  local ok = pcall(method, other)
                  if ok then passed = true else failures = failures + 1 end
                end
              end
            end
            print(tostring(passed) .. " " .. failures)
            print(channel:try_send(1))
            """),
        Attack(
            .metatables, "of null", prints: ["false", "false", "false", "null"],
            """
            print(getmetatable(stream.null))
            print((pcall(setmetatable, stream.null, {})))
            print((pcall(function() stream.null.x = 1 end)))
            print(tostring(stream.null))
            """),
        Attack(
            .metatables, "of a record", prints: ["2\t1\t3", "true"],
            """
            local queue = stream.chan(2)
            queue:send { a = 1, b = { c = 2 } }
            local record = queue:recv()
            setmetatable(record, { __index = function() return 3 end, __pairs = error, __len = error })
            rawset(record, "z", 1)
            print(record.b.c .. "\\t" .. record.a .. "\\t" .. record.missing)
            print(queue:try_send(record))
            """),
        Attack(
            .metatables, "__concat is refused", prints: ["false\tnot supported"],
            """
            local ok, problem = pcall(setmetatable, {}, { __concat = function() return "x" end })
            print(ok, problem:match("'__concat' is (not supported)"))
            """),
        Attack(
            .metatables, "a finalizer and a concatenation that are added later", prints: ["0", "ab"],
            """
            local fired, meta = 0, {}
            local t = setmetatable({}, meta)
            meta.__gc, meta.__concat = function() fired = fired + 1 end, function() return "ab" end
            t = t .. ""
            collectgarbage()
            print(fired)
            print(t)
            """),
        Attack(
            .metatables, "protected ones stay", prints: ["false", "locked"],
            """
            local t = setmetatable({}, { __metatable = "locked" })
            print((pcall(setmetatable, t, {})))
            print(getmetatable(t))
            """),
    ]
}

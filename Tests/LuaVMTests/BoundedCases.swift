// A script of thousands of random calls of the library functions that are ours, each with its results or its error. Run by
// Lua's own program and in our sandbox from the same SEED it prints the same lines.
enum BoundedCases {
    static func script(seed: Int) -> String { "SEED = \(seed)\n" + script }

    private static let script = #"""
        local seed = SEED
        local function random(n) -- 1 ... n, the same in every Lua
          seed = (seed * 6364136223846793005 + 1442695040888963407)
          return (seed >> 33) % n + 1
        end
        local function pick(list) return list[random(#list)] end

        local function show(v)
          if type(v) == "string" then return (("%q"):format(v):gsub("[\128-\255]", function(c) return "\\" ..
            c:byte() end)) end
          if math.type(v) == "float" then return ("%.17g"):format(v) .. "f" end
          if type(v) == "table" then return "table" end
          return tostring(v)
        end
        local function results(ok, ...)
          local list = {}
          for i = 1, select("#", ...) do list[i] = show((select(i, ...))) end
          return (ok and "" or "error ") .. table.concat(list, ", ")
        end
        -- By its field or method name, so that messages name it.
        local function report(label, f, ...) print(label, results(pcall(f, ...))) end

        local calls = {}
        for _, name in ipairs { "find", "match", "gsub", "rep", "reverse", "upper", "lower", "format", "pack",
          "packsize", "unpack" } do
          calls[name] = load(("return function(...) return string.%s(...) end"):format(name), "=case")()
          calls[":" .. name] = load(("return function(s, ...) return s:%s(...) end"):format(name), "=case")()
        end
        for _, name in ipairs { "concat", "insert", "remove", "move", "unpack", "sort" } do
          calls["table." .. name] = load(("return function(...) return table.%s(...) end"):format(name), "=case")()
        end

        -- ---- Patterns
        local singles = { "a", "b", "x", ".", "%a", "%d", "%w", "%s", "%A", "%W", "%%", "%.", "[ab]", "[^a]",
          "[a-c]", "[%w_]", "[^%s,]",
          "[%a-]", "[]]", "[^]a]", "%p", "%l", "%u", "%x", "%z", "%g", "%c", "\0", "\200", "%-", "[%d.]", "[a-]",
            "[^%]]", "-", "]", "%e", "[\0-a]" }
        local broken = { "[a", "%", "(", ")", "%f", "%b", "%bx", "[%", "[^", "%1", "%9", "(()", "%0", "[]", "%f[",
          "[%a" }
        local function pattern()
          local parts, open = {}, 0
          if random(5) == 1 then parts[1] = "^" end
          for _ = 1, random(6) do
            local r = random(40)
            if r <= 4 then parts[#parts + 1] = "(" open = open + 1
            elseif r <= 6 and open > 0 then parts[#parts + 1] = ")" open = open - 1
            elseif r == 7 then parts[#parts + 1] = "()"
            elseif r == 8 then parts[#parts + 1] = pick { "%b()", "%bab", "%bxx" }
            elseif r == 9 then parts[#parts + 1] = pick { "%f[%w]", "%f[%W]", "%f[%z]", "%f[^a]", "%f[ab]" }
            elseif r == 10 then parts[#parts + 1] = pick { "%1", "%2" }
            elseif r == 11 and random(3) == 1 then parts[#parts + 1] = pick(broken)
            else parts[#parts + 1] = pick(singles) .. pick { "", "", "", "*", "+", "-", "?" } end
          end
          if random(12) > 1 then parts[#parts + 1] = (")"):rep(open) end
          if random(6) == 1 then parts[#parts + 1] = "$" end
          return table.concat(parts)
        end
        local alphabet = { "a", "b", "c", "x", " ", ",", "(", ")", "1", "7", ".", "_", "-", "]", "\0", "\200", "A",
          "Z", "ab", "aa", "%" }
        local function subject()
          local parts = {}
          for i = 1, random(14) - 1 do parts[i] = pick(alphabet) end
          local s = table.concat(parts)
          return random(12) == 1 and s:rep(random(30)) or s
        end
        local positions = { 0, 1, 2, 3, 5, -1, -2, -5, 100, -100, math.maxinteger, math.mininteger, 2.0, "2", 1.5,
          "x", false }
        local replacements = { "", "<%0>", "%1", "%2", "%%", "%", "x", "%1%1", "[%0%1]", "%x", "%9", 7, 1.5, true }
        local function replacement()
          local r = random(8)
          if r <= 4 then return pick(replacements) end
          if r == 5 then return { a = "A", b = 2, [""] = "e", aa = false, x = {}, [1] = "one" } end
          if r == 6 then return setmetatable({}, { __index = function(_, k) return "<" .. tostring(k) .. ">" end })
            end
          if r == 7 then return function(...) return (...) end end
          return function(a, b) if a == "b" then return nil end if a == "x" then return {} end return (b or "") ..
            "/" .. tostring(a) end
        end
        local function patterns(count)
          for i = 1, count do
            local s, p = subject(), pattern()
            -- Backtracking takes n to the power of these: Lua's own matcher could take hours.
            local _, repeats = p:gsub("[*+?-]", "")
            s = s:sub(1, repeats > 3 and 20 or repeats > 2 and 60 or -1)
            local what = random(6)
            local label = what .. " " .. show(s) .. " " .. show(p)
            local colon = random(2) == 1 and ":" or ""
            if what == 1 then report(label, calls[colon .. "find"], s, p, random(3) == 1 and pick(positions) or nil,
              random(8) == 1)
            elseif what == 2 then report(label, calls[colon .. "match"], s, p, random(3) == 1 and pick(positions) or
              nil)
            elseif what == 3 then
              report(label, function()
                local list = {}
                local init
                if random(3) == 1 then init = pick(positions) end
                for a, b in s:gmatch(p, init) do
                  list[#list + 1] = show(a) .. show(b)
                  if #list > 60 then break end
                end
                return table.concat(list, ";")
              end)
            else
              local most
              if random(4) == 1 then most = pick(positions) end
              report(label, calls[colon .. "gsub"], s, p, replacement(), most)
            end
          end
          for _, n in ipairs { 1, 31, 32, 33, 198, 199, 200, 201, 250 } do
            for _, item in ipairs { "a*", "a-", "a?", "(", "()", "(a)", "x?" } do
              report(n .. item, string.find, ("a"):rep(n), item:rep(n))
            end
          end
          local long = ("abc def, "):rep(3000)
          report("long", string.gsub, long, "%w+", "<%0>")
          report("long", string.gsub, long, "[%w_]+", string.upper)
          report("long", string.gsub, long, "", "-")
          report("long", string.find, long, long:sub(20))
          report("long", string.find, long, long:sub(20) .. "z", 1, true)
          report("long", string.find, long .. "z", "f, z", 1, true)
          report("long", string.match, long:sub(1, 3000), "(.-)z")
          report("long", string.match, long .. "(" .. long .. ")", "%b()")
          report("long", string.find, long, "(%w+) (%w+), %1 %2, ", 500)
        end

        -- ---- Strings
        local function strings(count)
          for _ = 1, count do
            local s = subject()
            local what = random(5)
            if what == 1 then report("rep", calls.rep, s, pick { 0, 1, 2, 3, 17, 100, -1, math.mininteger, 2.0, "3",
              "x", 1.5, false }, random(2) == 1 and subject() or nil)
            elseif what == 2 then report("reverse", calls.reverse, pick { s, 12, 1.5, false })
            elseif what == 3 then report("upper", calls.upper, pick { s, 12, s:rep(100), {} })
            elseif what == 4 then report("lower", calls.lower, pick { s, "ÄÖ", s:rep(100), print })
            else report("self", calls[":rep"], pick { s, 5 }, s) end
          end
          for _, n in ipairs { 1 << 62, (1 << 62) + 1, math.maxinteger } do -- fewer: Lua's own would have gigabytes
            report("rep " .. n, string.rep, "xy", n)
            report("rep " .. n, string.rep, "", n, "ab")
            report("rep " .. n, string.rep, "x", n, ("y"):rep(1000))
          end
          report("reverse", calls.reverse) report("rep", calls.rep, "x") report("find", calls.find, "x")
            report("gsub", calls.gsub, "x", "y")
        end

        -- ---- UTF-8, packing
        calls.len = load("return function(...) return utf8.len(...) end", "=case")()
        local pieces = { "a", "é", "€", "𝄞", "\0", "\x80", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
          "\xfd\xbf\xbf\xbf\xbf\xbf", "\xf8\x88\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80", "\xfe" }
        local function encodings(count)
          for _ = 1, count do
            local parts = {}
            for i = 1, random(8) - 1 do parts[i] = random(3) == 1 and pick(pieces) or pick { "a", "é", "€" } end
            local s = table.concat(parts)
            report(show(s), calls.len, s, random(2) == 1 and pick(positions) or nil, random(2) == 1 and pick(positions) or nil,
              random(2) == 1)
          end
          for _, form in ipairs { "c5", "c1", "c0", "i4c3", "c", "z", "s1", "!8 i3 c2", "<i2 >i2", "x", "Xi4", "" } do
            report(form, calls.pack, form, pick { "ab", 5, "x\0y" }, pick { "cd", 7 }, 1)
            report(form, calls.pack, form)
            report(form, calls.packsize, form)
            report(form, calls.unpack, form, "\1\2\3abc\0defghij", random(4))
          end
          report("size", calls.packsize) report("size", calls.packsize, {}) report("unpack", calls.unpack, "i4")
        end

        -- ---- Numbers
        calls.tonumber = load("return function(...) return tonumber(...) end", "=case")()
        local texts = { "0", "-0", "10", "zZ9", "  7f\t", "-  1", "+11", "-ff", "+", "", " ", "1 1", "1\0", "\0", "08", "1.5",
          "0x1F", "1e3", "nan", "é1", ("9"):rep(30), ("z"):rep(20), 10, 1.5, true, {} }
        local bases = { 2, 3, 7, 8, 10, 16, 35, 36, 1, 0, -1, 37, "10", 2.0, 2.5, "x", {} }
        local function conversionsOfText()
          for _, text in ipairs(texts) do
            report(show(text), calls.tonumber, text)
            report(show(text), calls.tonumber, text, nil)
            for _, base in ipairs(bases) do report(show(text), calls.tonumber, text, base) end
          end
          report("none", calls.tonumber) report("none", calls.tonumber, nil) report("none", calls.tonumber, nil, 10)
          report("long", calls.tonumber, ("1"):rep(600000), 7) report("long", calls.tonumber, ("1"):rep(600000) .. "9", 7)
        end

        -- ---- Formats
        local conversions = { "d", "i", "u", "o", "x", "X", "c", "e", "E", "f", "F", "g", "G", "a", "A", "s", "q",
          "%", "y", "p", "", "ld", "n" }
        local flags = { "", "", "", "-", "+", " ", "#", "0", "-+", "00", "- #0+", "123", "5", "10", "99", "100",
          ".3", ".0", ".", ".99", ".100", "5.2", "-20.10", "020.5", ".-1", "1.2.3", "-----", ("0"):rep(25) }
        local values = { 0, 1, -1, 42, 255, 65, 1 << 40, math.maxinteger, math.mininteger, 0.0, -0.0, 1.5, -2.25,
          1e100, 1e308, 3.0, 0.1, 1 / 0, -1 / 0,
          "text", "", "10", "0x10", "1e2", "a\0b", "new\nline\r\0001\"\\", ("long"):rep(40), true, false }
        local function formats(count)
          for _ = 1, count do
            local form, arguments = {}, {}
            for i = 1, random(4) do
              local spec = "%" .. pick(flags) .. pick(conversions)
              form[#form + 1] = pick { "", "x", " = ", "\0", "%%" } .. spec
              if random(20) > 1 then arguments[#arguments + 1] = pick(values) end
            end
            local f = table.concat(form)
            if not f:find("p") then report(show(f), calls.format, f, table.unpack(arguments)) end
          end
          local named = setmetatable({}, { __tostring = function() return "named" end })
          report("s", calls.format, "%s|%10s|%-10s|%.2s", named, named, named, named)
          report("s", calls.format, "%s", setmetatable({}, { __tostring = function() return 1 end }))
          report("s", calls.format, "%s %s %s", nil, true)
          report("s", calls.format, "%s %s", nil, true)
          report("q", calls.format, "%q", {}) report("q", calls.format, "%q", named) report("q", calls.format,
            "%10q", 1)
          report("q", calls.format, "%q %q %q %q %q", nil, true, 1 / 0, -1 / 0, math.mininteger)
          report("q", calls.format, "%q", 0 / 0 ~= 0 / 0)
          report("s", calls.format, "%99999s", "x") report("s", calls.format, "%.20s", ("x"):rep(200)) report("s",
            calls.format, "%5s", "a\0b")
          report("d", calls.format, "%d", "1.5") report("d", calls.format, "%d", 2 ^ 70) report("c", calls.format,
            "%c%c%5c|%-5c|", 0, 65, 66, 67)
          report("p", calls.format, "%p", 1) report("p", calls.format, "%10p|%-10p|", true, "x" == 1) report("p",
            calls.format, "%5.3p", {})
          report("none", calls.format) report("none", calls.format, {}) report("none", calls.format, 5)
        end

        -- ---- Tables
        local numbers = { 0, 1, 2, 3, 5, 7, -1, -3, 100, math.maxinteger, math.maxinteger - 1, math.mininteger,
          math.mininteger + 1, 2.0, "2", "x", 1.5 }
        local function list()
          local t = {}
          for i = 1, random(9) - 1 do t[i] = random(12) == 1 and pick { 1.5, true, {} } or random(30) end
          if random(5) == 1 then for _ = 1, random(3) do t[random(10)] = nil end end
          if random(6) == 1 then for i = -3, 0 do t[i] = i end end
          if random(8) == 1 then t[math.maxinteger] = "max" t[math.maxinteger - 1] = "max1" t[math.mininteger] =
            "min" end
          return t
        end
        local function content(t)
          local keys = {}
          for k in next, t do keys[#keys + 1] = k end
          table.sort(keys, function(a, b) return a < b end)
          for i, k in ipairs(keys) do keys[i] = show(k) .. "=" .. show(t[k]) end
          return "{" .. table.concat(keys, " ") .. "}"
        end
        -- A table that is reached through metamethods, each of which is written down.
        local function watched(t, length)
          local log = {}
          return setmetatable({}, {
            __index = function(_, k) log[#log + 1] = "get " .. show(k) return t[k] end,
            __newindex = function(_, k, v) log[#log + 1] = "set " .. show(k) .. " " .. show(v) t[k] = v end,
            __len = function() log[#log + 1] = "len" if length == nil then return #t end return length end,
          }), log
        end
        local function tables(count)
          for _ = 1, count do
            local t = list()
            local before = content(t)
            local given, log = t, {}
            local length = nil
            if random(4) == 1 then
              if random(3) == 1 then length = pick { 0, 1, 4, -2, 20, "3", 1.5, {}, 3.0 } end
              given, log = watched(t, length)
            elseif random(20) == 1 then
              given = pick { 5, "text", false, print }
            end
            local what = random(6)
            local a, b, c = nil, nil, nil
            if random(4) > 1 then a = pick(numbers) end
            if random(4) > 1 then b = pick(numbers) end
            if random(4) > 1 then c = pick(numbers) end
            local name
            if what == 1 then name = "insert"
              if length == -2 then a = -1 end -- Lua would move all elements from there to the least integer
              if random(3) == 1 then report(before, calls["table.insert"], given, b)
              elseif random(10) == 1 then report(before, calls["table.insert"], given, a, b, c)
              else report(before, calls["table.insert"], given, random(3) > 1 and random(8) or a, b) end
            elseif what == 2 then name = "remove"
              if random(3) == 1 then report(before, calls["table.remove"], given)
              else report(before, calls["table.remove"], given, random(3) > 1 and random(8) or a) end
            elseif what == 3 then name = "concat"
              -- not from the least integer: that many elements are missing, but the first one already is no string
              report(before, calls["table.concat"], given, pick { ", ", "", 7, "\0" }, random(2) == 1 and a or nil,
                random(2) == 1 and b or nil)
            elseif what == 4 then name = "move"
              local from, to, at = random(12) - 3, random(12) - 3, random(12) - 3
              if random(4) == 1 then from, to, at = a, b, c end
              local small = math.tointeger(from) and math.tointeger(to) and math.tointeger(to) - math.tointeger(from)
              if small and small >= 0 and small < 1000 or not small or math.tointeger(to) < math.tointeger(from) then
                local target
                if random(3) == 1 then target = random(2) == 1 and list() or given end
                if random(20) == 1 then target = pick { 5, false, "x" } end
                report(before, calls["table.move"], given, from, to, at, target)
                if type(target) == "table" and target ~= given then print(content(target)) end
              end
            elseif what == 5 then name = "unpack"
              report(before, calls["table.unpack"], given, random(2) == 1 and a or nil, random(2) == 1 and
                random(12) or b)
            else name = "sort"
              report(before, calls["table.sort"], given, pick { nil, nil, nil, 5, "x", {} })
            end
            print(name, content(t), table.concat(log, ","))
          end
          local t = {}
          for i = 1, 300 do t[i] = "e" .. i end
          report("concat", table.concat, t, "--") report("concat", table.concat, t, ("s"):rep(2000))
          for _, name in ipairs { "concat", "insert", "remove", "move", "unpack", "sort" } do report(name,
            calls["table." .. name]) end
          report("unpack", table.unpack, {}, 1, 1e7) report("unpack", table.unpack, {}, math.mininteger,
            math.maxinteger)
          report("unpack", table.unpack, {}, 1, 2 ^ 31) report("concat", table.concat, {}, "", math.maxinteger,
            math.maxinteger)
          report("concat", table.concat, { [math.maxinteger] = "m" }, "", math.maxinteger, math.maxinteger)
          report("sort", table.sort, setmetatable({}, { __len = function() return math.maxinteger end }))
        end

        -- ---- Sorting
        local function sorts(count)
          for i = 1, count do
            local t, n = {}, random(random(4) == 1 and 1000 or 40) - 1
            local kind = random(7)
            for k = 1, n do
              local v = random(kind == 1 and 4 or 1000)
              if kind == 2 then v = v / 8 elseif kind == 3 then v = "k" .. v elseif kind == 4 then v = k elseif kind
                == 5 then v = -k end
              t[k] = v
            end
            if kind == 6 and n > 0 then t[random(n)] = pick { true, {}, "x" } end
            local order = pick { false, false, "<", ">", "key", "error" }
            local calls_made = 0
            local compare = order == "<" and function(a, b) calls_made = calls_made + 1 return a < b end
              or order == ">" and function(a, b) return a > b end
              or order == "key" and function(a, b) return tostring(a):sub(1, 2) < tostring(b):sub(1, 2) end
              or order == "error" and function(a, b) if random(20) == 1 then error("order") end return a < b end or
                nil
            report("sort " .. kind .. " " .. tostring(order), calls["table.sort"], t, compare)
            local h = {}
            -- where Lua draws a pivot by the clock, elements that are equal may come in any order
            if order ~= "key" or n < 100 then for k = 1, n do h[k] = show(t[k]) end end
            print(kind ~= 5 and calls_made, table.concat(h, " ")) -- a reversed list gets a random pivot from Lua
          end
          -- equal elements that can be told apart
          for _ = 1, 20 do
            local t = {}
            for k = 1, random(90) do t[k] = { key = random(8), place = k } end
            table.sort(t, function(a, b) return a.key < b.key end)
            for k, v in ipairs(t) do t[k] = v.key .. "." .. v.place end
            print(table.concat(t, " "))
          end
          -- invalid orders: that they end is all that is asked
          for i = 1, 60 do
            local t = {}
            for k = 1, random(200) do t[k] = random(50) end
            pcall(table.sort, t, pick { function() return true end, function() return random(2) == 1 end,
              function(a, b) return a <= b end, function() return 1 end })
            table.sort(t)
            for k = 2, #t do assert(t[k - 1] <= t[k]) end
          end
        end

        patterns(4000)
        encodings(600)
        conversionsOfText()
        strings(300)
        formats(1500)
        tables(2500)
        sorts(150)
        """#
}

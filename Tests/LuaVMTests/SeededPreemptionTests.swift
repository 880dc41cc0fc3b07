// Preempted more than a hundred thousand times, at random instructions, scripts compute what they compute undisturbed.
import Testing

@testable import LuaVM

@Suite struct SeededPreemptionTests {
    /// `arm()` where a coroutine begins or goes on: it is preempted by itself, as well as the task.
    static let programs: [(name: String, text: String)] = [
        (
            "sort with a comparison function",
            """
            local t, seed = {}, 12345
            for i = 1, 1500 do seed = (seed * 1103515245 + 12345) % 2147483648 t[i] = { key = seed % 500, place = i } end
            table.sort(t, function(a, b) if a.key ~= b.key then return a.key < b.key end return a.place > b.place end)
            local h = 0
            for i, v in ipairs(t) do h = (h * 31 + v.key * 7 + v.place + i) % 1000000007 end
            print(h)
            """
        ),
        (
            "sort by Lua's order, and by a function of C",
            """
            local h = 0
            for round = 1, 40 do
              local t, s = {}, {}
              for i = 1, 400 do t[i] = i * 7919 % 1009 s[i] = "k" .. t[i] end
              table.sort(t) table.sort(s) table.sort(t, rawequal)
              for i = 1, 400 do h = (h * 31 + t[i] + #s[i] * i + s[i]:byte(-1)) % 1000000007 end
            end
            print(h)
            """
        ),
        (
            "gsub with a function and with a table's metamethod",
            """
            local text, n = ("the quick brown fox %d "):rep(300), 0
            text = text:gsub("%w+", function(w) n = n + #w if #w == 3 then return nil end return w:upper():reverse() end)
            local table = setmetatable({}, { __index = function(_, k) n = n + 1 return k:lower() .. "!" end })
            text = text:gsub("(%u)%u", table)
            for w in text:gmatch("%u+") do n = n + w:byte() end
            print(n, #text, text:sub(1, 60), text:gsub("%d", "x", 7))
            """
        ),
        (
            "patterns that search for long",
            """
            local s, n = ("ab"):rep(700) .. "c", 0
            for i = 1, 12 do
              local from, to, first = s:find("(a.-b)b", i)
              n = n + (from or 1) + #(s:match("(.-)c", i)) + #s:gsub("a.-c", "%0%0")
              for a, b in s:gmatch("(ab)(.-)$") do n = n + #a + #b end
              n = n + select(2, s:gsub("[^c]-c", "<%0>")) + select(2, s:gsub("", "-")) + #(s:match("^(.*)%1c") or "")
              n = n + #s:gsub("(a.-)-b", string.upper)
            end
            print(n)
            """
        ),
        (
            "pcall, xpcall, error",
            """
            local n, failed = 0, 0
            for i = 1, 6000 do
              local ok, e = pcall(function(x) if x % 7 == 0 then error({ x }) end return x end, i)
              if ok then n = n + e else failed = failed + e[1] end
              ok, e = xpcall(function(x) if x % 5 == 0 then error(x) end return pcall(pcall, error, x) end,
                function(e) for k = 1, 5 do failed = failed + k end return tostring(e):match("%d+$") end, i)
              if not ok then failed = failed + tonumber(e) end
            end
            print(n, failed, select(2, pcall(error, "m", 0)))
            """
        ),
        (
            "metamethods",
            """
            local V = {}
            V.__index = function(_, k) return k * 2 end
            V.__newindex = function(t, k, v) rawset(t, k, v + 1) end
            V.__add = function(a, b) return setmetatable({ x = a.x + b.x }, V) end
            V.__unm = function(a) return setmetatable({ x = -a.x }, V) end
            V.__eq = function(a, b) return a.x == b.x end
            V.__lt = function(a, b) return a.x < b.x end
            V.__le = function(a, b) return a.x <= b.x end
            V.__len = function(a) return a.x end
            V.__call = function(self, y, ...) return self.x + y + select("#", ...) end
            V.__pairs = function(t) return function(_, k) if k < 3 then return k + 1, t.x end end, t, 0 end
            V.__tostring = function(t) local n = 0 for i = 1, 3 do n = n + i end return "V" .. t.x + n end
            local a, n = setmetatable({ x = 0 }, V), 0
            assert(not pcall(setmetatable, {}, { __concat = print })) -- refused: Lua 5.4.4 corrupts memory with it
            for i = 1, 2500 do
              local b = setmetatable({ x = i }, V)
              a = a + b
              b.y = i
              n = (n + a[i] + #a + a(i, i, nil) + (a == a + -b + b and 1 or 0) + (a < b and 5 or 0) + (a <= a and 3 or 0)
                + b.y + #tostring(b)) % 1000000007
              for k, v in pairs(b) do n = n + k * v end
            end
            print(n)
            """
        ),
        (
            "nested coroutines",
            """
            local function filter(p, g) return coroutine.wrap(function() arm() for n in g do
              if n % p ~= 0 then coroutine.yield(n) arm() end end end) end
            local g = coroutine.wrap(function() for i = 2, 400 do arm() coroutine.yield(i) end end)
            local list = {}
            for i = 1, 40 do local p = g() list[i] = p g = filter(p, g) end
            print(table.concat(list, " "))
            local co = coroutine.create(function(a, ...)
              arm()
              for i = 1, 300 do a = a + select("#", ...) + select(-1, coroutine.yield(a, i)) arm() end
              error({ a })
            end)
            local sum, ok, a = 0, coroutine.resume(co, 1, nil, 3)
            while coroutine.status(co) == "suspended" do sum = sum + a ok, a = coroutine.resume(co, sum % 17, 4) end
            print(sum, ok, a[1], coroutine.status(co))
            """
        ),
        (
            "coroutines inside comparators and callbacks",
            """
            local t = {}
            for i = 1, 120 do t[i] = (i * 37) % 121 end
            table.sort(t, function(a, b)
              local g = coroutine.wrap(function() arm() local n = 0 for i = 1, 20 do n = n + i end coroutine.yield(n) return a < b end)
              assert(g() == 210)
              return g()
            end)
            print(table.concat(t, " "))
            print(coroutine.wrap(function()
              arm()
              local text = ("a1b2c3"):rep(60):gsub("%a%d", function(x)
                return coroutine.wrap(function() arm() local s = "" for c in x:gmatch(".") do s = c .. s end return s end)()
              end)
              return text
            end)())
            """
        ),
        (
            "__close, goto, for, varargs, strings",
            """
            local log, n = {}, 0
            local function closing(name)
              return setmetatable({}, { __close = function(_, e) for i = 1, 10 do n = n + i end log[#log + 1] = name .. tostring(e) end })
            end
            local function sum(...) local s = 0 for i = 1, select("#", ...) do s = s + (select(i, ...)) end return s, ... end
            for i = 1, 400 do
              local ok, e = pcall(function(...)
                local a <close> = closing("a")
                for k = 1, 3 do
                  local b <close> = closing("b" .. k)
                  if k == 2 and i % 3 == 0 then error("e" .. i, 0) end
                  if k == 2 and i % 3 == 1 then goto out end
                end
                ::out::
                return (sum(...))
              end, i, 2, 3)
              log[#log + 1] = tostring(e)
              for x = 10, 1, -3 do n = n + x end
              for x = 0.5, 2 do n = n + x end
            end
            local s = ""
            for i = 1, 2000 do s = s .. string.char(65 + i % 26) if #s > 100 then s = s:sub(-50) .. #s end end
            print(#log, n, s, select("#", sum(table.unpack({ 1, 2, 3, 4 }))), table.concat(log, ","):sub(-300))
            """
        ),
        (
            "table functions through metamethods",
            """
            local store, reads = {}, 0
            local t = setmetatable({}, { __index = function(_, k) reads = reads + 1 return store[k] end,
              __newindex = function(_, k, v) store[k] = v end, __len = function() return #store end })
            for i = 1, 200 do table.insert(t, i * 7 % 31) end
            for i = 1, 40 do table.insert(t, i, -i) end
            for i = 1, 30 do table.remove(t, i) end
            table.move(t, 5, 100, 20) table.sort(t)
            local plain = {}
            for i = 1, 30000 do plain[i] = i end
            for i = 1, 20 do table.insert(plain, i, -i) table.remove(plain, 2 * i) end
            table.move(plain, 1, 20000, 5000)
            print(reads, table.concat(t, " "), #plain, plain[20000], #table.concat(plain, ","))
            """
        ),
    ]

    @Test func aHundredThousandPreemptions() {
        var total = 0
        for (index, program) in Self.programs.enumerated() {
            let calm = TestState()
            #expect(calm.run(program.text) == .returned, "\(program.name)")
            #expect(calm.preemptions == 0 && !calm.lines.isEmpty)
            var preemptions = 0
            var rounds: UInt64 = 0
            while preemptions < 10_500 && rounds < 3000 {
                rounds += 1
                let state = TestState()
                state.preemptionSeed = UInt64(index) << 32 + rounds
                let end = state.run(program.text)
                guard end == .returned && state.lines == calm.lines && state.preemptions > 0 else {
                    Issue.record("\(program.name), round \(rounds): \(end), \(state.lines), \(calm.lines)")
                    return
                }
                preemptions += state.preemptions
            }
            #expect(preemptions >= 10_500, "\(program.name): \(preemptions) in \(rounds) rounds")
            total += preemptions
        }
        #expect(total >= 100_000)
    }
}

// Random operations on a record and on the table that its text decodes to at once give the same results.
import Testing

@testable import LuaVM

/// Makes random JSON texts, and does the same random things to `lazy` and `plain`; both must answer alike. `n` operations.
private let program =
    sameRecords + #"""
        local names = { "a", "b", "status", "", "k\n", "long" .. ("x"):rep(50), "é" }
        local function quoted(s) return '"' .. s:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"' end
        local numbers = { "0", "-0", "1", "1.0", "-12", "1e2", "0.5", "123456789012345678", "12345678901234567890", "5e-324" }
        local function pick(list) return list[math.random(#list)] end
        local function space() return math.random(6) == 1 and pick { " ", "\t", "  " } or "" end

        local function text(depth)
          local kind = math.random(depth == 0 and 6 or 1, depth > 2 and 5 or 7)
          if kind == 1 then return pick { "true", "false" } end
          if kind == 2 then return "null" end
          if kind <= 4 then return pick(numbers) end
          if kind == 5 then return quoted(pick { "", "plain", "quo\"te", "back\\slash", "é\t", ("y"):rep(math.random(60)) }) end
          local parts = {}
          local open, close = "[", "]"
          if kind == 7 or depth == 0 then open, close = "{", "}" end
          for i = 1, math.random(0, depth == 0 and 9 or 4) do
            local key = open == "{" and quoted(pick(names)) .. space() .. ":" .. space() or ""
            parts[i] = space() .. key .. text(depth + 1) .. space()
          end
          return open .. table.concat(parts, ",") .. close
        end

        local function value(depth)
          local kind = math.random(9)
          if kind == 1 then return nil end
          if kind == 2 then return math.random(3) end
          if kind == 3 then return 1.0 * math.random(3) end
          if kind == 4 then return pick { "plain", "new", "" } end
          if kind == 5 then return math.random(2) == 1 end
          if kind == 6 then return null end
          if kind == 7 and depth < 2 then return { value(depth + 1), [pick(names)] = value(depth + 1) or 1 } end
          return math.random(100)
        end

        local function clone(v)
          if type(v) ~= "table" then return v end
          local t = {}
          for k, w in pairs(v) do t[k] = clone(w) end
          return t
        end

        local function count(t)
          local n = 0
          for _ in pairs(t) do n = n + 1 end
          return n
        end

        local operations = {
          function(t, k) return t[k] end,
          function(t, k) return t[k] end,
          function(t, k) return rawget(t, k) end,
          function(t, k, v) t[k] = clone(v) end,
          function(t, k, v) t[k] = clone(v) end,
          function(t, k, v) rawset(t, k, clone(v)) end,
          function(t, k) t[k] = nil end,
          function(t, k) if math.type(t[k]) == "integer" then t[k] = t[k] + 1 end return t[k] end,
          function(t, k, v, j) if type(t[k]) == "table" then t[k][j] = clone(v) return t[k][j] end end,
          function(t, k, v, j) if type(t[k]) == "table" then return t[k][j] end end,
          function(t, k) return t[k] == t[k], type(t[k]) end,
          function(t) return count(t) end,
          function(t) return next(t) == nil end,
          function(t) return #t, rawlen(t) end,
          function(t) return getmetatable(t), type(t) end,
          function(t) local n = 0 for i in ipairs(t) do n = i end return n end,
          function(t) return select("#", table.unpack(t)) end,
          function(t, _, v) if v ~= nil then table.insert(t, clone(v)) end return #t end,
          function(t) return table.remove(t), #t end,
          function(t, k) for key in pairs(t) do if key == k then t[key] = 5 end end return t[k] end,
        }

        for case = 1, cases do
          math.randomseed(seed, case)
          local source = text(0)
          local lazy, plain = record(source, math.random(2) == 1), json(source)
          assert(sent(lazy) == source)
          local log = {}
          for step = 1, math.random(0, 12) do
            local operation = math.random(#operations)
            local k, v, j = pick(names), value(0), pick(names)
            if math.random(8) == 1 then k = math.random(3) end
            if math.random(3) == 1 then j = math.random(3) end
            log[step] = operation .. " " .. tostring(k)
            local a, b = table.pack(operations[operation](lazy, k, v, j)), table.pack(operations[operation](plain, k, v, j))
            assert(same(a, b), source .. ": case " .. case .. ", " .. table.concat(log, ", "))
            if math.random(20) == 1 then lazy = copy(lazy) end
            if math.random(40) == 1 then lazy = setmetatable(lazy, nil) end
          end
          local where = source .. ": case " .. case .. ", " .. table.concat(log, ", ")
          local out, expected = to_json(lazy), to_json(plain)
          -- an empty array of JSON's that got other keys has no text where it is a plain table
          if expected then assert(out and same(json(out), json(expected)), where .. " -> " .. tostring(out)) end
          assert(same(copy(lazy), plain) and same(lazy, plain), where)
          if same(lazy, json(source)) and #log == 0 then assert(out == source, where) end
          lazy, plain = nil, nil
        end
        print("done")
        """#

@Suite struct RecordPropertyTests {
    @Test(arguments: 1...20)
    func randomOperations_giveWhatAPlainTableGives(seed: Int) {
        let state = TestState()
        #expect(state.run("local seed, cases = \(seed), 250\n" + program, text: "") == .returned)
        #expect(state.lines == ["done"])
    }
}

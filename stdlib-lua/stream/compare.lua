-- Values as text for people, and where two values differ: for the failures of tests.
local host = ...

local null = host.null()
local longest = 2000  -- bytes of a value's text
local most = 10       -- differences that are told

-- ---- Text ---------------------------------------------------------------------------------------------------------

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function byte_escape(c) return escapes[c] or ("\\x%02X"):format(c:byte()) end

local function quoted(value)
  if #value > longest then value = value:sub(1, longest) .. "..." end
  local pattern = utf8.len(value) and '[%c"\\]' or '[%c"\\\128-\255]'
  return '"' .. value:gsub(pattern, byte_escape) .. '"'
end

local function scalar(value)
  local kind = type(value)
  if kind == "string" then return quoted(value) end
  if kind == "number" then return host.format_number(value) or ("%d"):format(value) end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  if value == null then return "null" end
  return kind == "function" and "a function" or kind == "thread" and "a coroutine" or tostring(value)
end

local ranks = { number = 1, string = 2, boolean = 3 }

-- Numbers by value, then strings by bytes, then the rest by their text.
local function key_order(a, b)
  local kind, other = type(a), type(b)
  if kind ~= other then return (ranks[kind] or 9) < (ranks[other] or 9) end
  if kind == "number" or kind == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function sorted_keys(...)
  local keys, seen = {}, {}
  for i = 1, select("#", ...) do
    for key in next, (select(i, ...)) do
      if not seen[key] then seen[key], keys[#keys + 1] = true, key end
    end
  end
  table.sort(keys, key_order)
  return keys
end

local function is_list(value, keys)
  for i = 1, #keys do
    if rawget(value, i) == nil then return false end
  end
  return #keys > 0
end

-- Appends the pieces of a value's text; `open` holds the tables that are being written. False: it is long enough.
local function write(value, out, open)
  if out.length > longest then return end
  local function put(piece)
    out[#out + 1] = piece
    out.length = out.length + #piece
  end
  if type(value) ~= "table" then return put(scalar(value)) end
  if open[value] then return put "(a table that contains this)" end
  open[value] = true
  local keys = sorted_keys(value)
  local list = is_list(value, keys)
  put(list and "[" or "{")
  for i, key in ipairs(keys) do
    if out.length > longest then break end
    if i > 1 then put ", " end
    if not list then put((type(key) == "string" and quoted(key) or ("[%s]"):format(scalar(key))) .. ": ") end
    write(rawget(value, key), out, open)
  end
  put(list and "]" or "}")
  open[value] = nil
end

-- A value like JSON: tables with their keys sorted, long ones cut.
local function show(value)
  local out = { length = 0 }
  write(value, out, {})
  local text = table.concat(out)
  return #text > longest + 100 and text:sub(1, longest) .. " ..." or text
end

-- ---- Differences --------------------------------------------------------------------------------------------------

local function step(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return "." .. key end
  return ("[%s]"):format(scalar(key))
end

local function decides(value)
  local metatable = getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__eq") ~= nil
end

-- Appends to `found` where the values differ. `met`: the pairs of tables that are compared already, where cycles end.
local function compare(actual, expected, path, found, met)
  if actual == expected or #found > most then return end
  if type(actual) ~= "table" or type(expected) ~= "table" or decides(actual) or decides(expected) then
    found[#found + 1] = ("%sexpected %s, got %s"):format(
      path == "" and "" or ("at %s: "):format(path), show(expected), show(actual))
    return
  end
  local others = met[actual]
  if not others then
    others = {}
    met[actual] = others
  elseif others[expected] then
    return
  end
  others[expected] = true
  for _, key in ipairs(sorted_keys(actual, expected)) do
    compare(rawget(actual, key), rawget(expected, key), path .. step(key), found, met)
  end
end

-- Nil where the values are equal; else texts that say where they differ: `at .items[3].name: expected "a", got "b"`.
local function differences(actual, expected)
  local found = {}
  compare(actual, expected, "", found, {})
  if #found == 0 then return nil end
  if #found > most then found[most + 1] = "and in further places" end
  return found
end

return { show = show, differences = differences }

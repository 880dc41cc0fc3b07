-- Checks of what a script declares: names, options, numbers. A mistake is told as one of the script's line.
local host = ...

local misuse = host.misuse
local options_of = {}

-- ---- Names: the nearest one to a misspelt one ------------------------------------------------------------------

-- Insertions, deletions, substitutions and swaps of neighbours (Damerau and Levenshtein's, restricted).
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    local row, above = { [0] = i }, rows[i - 1]
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], rows[i - 2][j - 2] + 1)
      end
    end
    rows[i] = row
  end
  return rows[#a][#b]
end

-- The longest that is a part of the name, or of which the name is one: 'channel' and 'chan', 'cap' and 'capacity'.
local function contained(name, names)
  local given, best = name:lower(), nil
  if #given < 3 then return nil end
  for candidate in pairs(names) do
    if type(candidate) == "string" and #candidate >= 3
      and (given:find(candidate, 1, true) or candidate:find(given, 1, true))
      and (not best or #candidate > #best or (#candidate == #best and candidate < best)) then
      best = candidate
    end
  end
  return best
end

-- The one that begins with the same four letters, or more: 'retries' and 'retry'.
local function related(name, names)
  local best, most = nil, 3
  for candidate in pairs(names) do
    if type(candidate) == "string" then
      local same = 0
      while same < #name and name:byte(same + 1) == candidate:byte(same + 1) do same = same + 1 end
      if same > most or (same == most and best and candidate < best) then best, most = candidate, same end
    end
  end
  return best
end

local function nearest(name, names)
  local best, least = nil, math.max(1, #name // 3) + 1
  for candidate in pairs(names) do
    if type(candidate) == "string" then
      local d = distance(name, candidate)
      if d < least or (d == least and best and candidate < best) then best, least = candidate, d end
    end
  end
  return best or contained(name, names) or related(name, names)
end

-- What follows the message about a name that is none of `names`: the nearest one, or all where they are few.
local function hint(name, names)
  local best = nearest(name, names)
  if best then return (" (did you mean '%s'?)"):format(best) end
  local all = {}
  for known in pairs(names) do
    if type(known) == "string" then all[#all + 1] = known end
  end
  if #all == 0 or #all > 20 then return "" end
  table.sort(all)
  return (" (there is: %s)"):format(table.concat(all, ", "))
end

local function unknown(what, name, names)
  misuse(("unknown %s '%s'%s"):format(what, tostring(name), hint(tostring(name), names)))
end

-- ---- Options ----------------------------------------------------------------------------------------------------

local function check_options(what, options, known)
  if options == nil then return {} end
  if type(options) ~= "table" then
    misuse(("%s expected a table of options, got %s"):format(what, host.kind(options)))
  end
  for name in pairs(options) do
    if not known[name] then unknown(("option of %s:"):format(what), name, known) end
  end
  return options
end

-- As in Lua's own functions, a float with a whole value will do: 1e6.
local function whole(what, given, least, most)
  local value = type(given) == "number" and math.tointeger(given)
  if not value or value < least or value > most then
    misuse(("%s expected a whole number from %d to %d, got %s"):format(what, least, most, host.kind(given)))
  end
  return value
end

local function text(what, value)
  if type(value) ~= "string" then misuse(("%s expected a string, got %s"):format(what, host.kind(value))) end
  return value
end

-- What follows a failure, as the host has it.
local function policy(what, value)
  if value == nil then return nil end
  if type(value) == "table" then return host.part("policies")(what, value) end
  if value ~= "stop" and value ~= "skip" then
    misuse(([[on_error of %s expected "stop", "skip" or a table such as { retry = 3, backoff = "100ms" }, got %s]])
      :format(what, host.kind(value)))
  end
  return { skips = value == "skip" }
end

local function switch(what, value)
  if value ~= nil and type(value) ~= "boolean" then
    misuse(("%s expected true or false, got %s"):format(what, host.kind(value)))
  end
  return value
end

options_of.unknown, options_of.check, options_of.whole = unknown, check_options, whole
options_of.hint, options_of.nearest = hint, nearest
options_of.text, options_of.policy, options_of.switch = text, policy, switch

return options_of

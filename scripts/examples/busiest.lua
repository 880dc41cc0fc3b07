-- Requests by status and the ten busiest paths of an access log in the combined format. Shows lines parsed with
-- patterns in two workers at a time, and reduce, whose one value the script takes with collect.
--   streamhost run busiest.lua < access.log
local stream = require "stream"

local pattern = '^%S+ %S+ .- %[.-%] "(.-)" (%d%d%d) '

local counts = assert(stream.from(stream.stdin())
  :map("parse", function(line)
    local request, status = line:match(pattern)
    if not request then return nil end -- not a line of this format: dropped
    return { status = status, path = request:match("^%u+ ([^%s?]+)") or "(none)" }
  end, { workers = 2 })
  :reduce("count", { status = {}, path = {} }, function(state, request)
    for what, value in pairs(request) do state[what][value] = (state[what][value] or 0) + 1 end
    return state
  end)
  :collect())[1]

local function show(count, order, most)
  local names = {}
  for name in pairs(count) do names[#names + 1] = name end
  table.sort(names, order)
  for i = 1, math.min(#names, most) do print(("%8d %s"):format(count[names[i]], names[i])) end
end

print("requests by status")
show(counts.status, nil, math.huge)
print("busiest paths")
show(counts.path, function(a, b)
  local m, n = counts.path[a], counts.path[b]
  return m > n or m == n and a < b
end, 10)

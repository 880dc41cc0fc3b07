-- The peer of combined.lua: the same functions in plain lua5.4.
package.path = arg[0]:match "^.*/" .. "?.lua"
local report = require "combined_report"

local function count(counts, line)
  local path, status = line:match '^%S+ %S+ %S+ %[[^%]]*%] "%S+ (%S+) [^"]*" (%d+) '
  if path then
    counts.status[status] = (counts.status[status] or 0) + 1
    counts.paths[path] = (counts.paths[path] or 0) + 1
  end
  return counts
end

local counts = { status = {}, paths = {} }
for line in io.lines() do counts = count(counts, line) end
report(counts, print)

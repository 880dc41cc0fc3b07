-- Apache's combined format: requests by status, and the ten busiest paths. One stage parses and counts.
local stream = require "stream"
local report = require "combined_report"

local function count(counts, line)
  local path, status = line:match '^%S+ %S+ %S+ %[[^%]]*%] "%S+ (%S+) [^"]*" (%d+) '
  if path then
    counts.status[status] = (counts.status[status] or 0) + 1
    counts.paths[path] = (counts.paths[path] or 0) + 1
  end
  return counts
end

stream.from(stream.stdin())
  :reduce("count", { status = {}, paths = {} }, count)
  :flat_map("report", report)
  :to(stream.stdout())

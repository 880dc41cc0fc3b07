-- As combined.lua, with two workers that parse and count their share of the lines; what they counted is added up.
local stream = require "stream"
local report = require "combined_report"

local counts = { status = {}, paths = {} }

local count = {
  process = function(line)
    local path, status = line:match '^%S+ %S+ %S+ %[[^%]]*%] "%S+ (%S+) [^"]*" (%d+) '
    if path then
      counts.status[status] = (counts.status[status] or 0) + 1
      counts.paths[path] = (counts.paths[path] or 0) + 1
    end
  end,
  flush = function(emit) emit(counts) end,
}

local function add(total, part)
  for key, n in pairs(part) do total[key] = (total[key] or 0) + n end
end

local function merge(total, part)
  add(total.status, part.status)
  add(total.paths, part.paths)
  return total
end

stream.from(stream.stdin())
  :flat_map("count", count, { workers = 2 })
  :reduce("merge", { status = {}, paths = {} }, merge)
  :flat_map("report", report)
  :to(stream.stdout())

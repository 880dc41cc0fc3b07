-- As combined.lua, with two workers that parse; each line's record goes on to the one that counts.
local stream = require "stream"
local report = require "combined_report"

local function parse(line)
  local path, status = line:match '^%S+ %S+ %S+ %[[^%]]*%] "%S+ (%S+) [^"]*" (%d+) '
  return path and { path = path, status = status }
end

local function count(counts, request)
  local path, status = request.path, request.status
  counts.status[status] = (counts.status[status] or 0) + 1
  counts.paths[path] = (counts.paths[path] or 0) + 1
  return counts
end

stream.from(stream.stdin())
  :map("parse", parse, { workers = 2 })
  :reduce("count", { status = {}, paths = {} }, count)
  :flat_map("report", report)
  :to(stream.stdout())

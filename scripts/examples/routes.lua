-- An access log in three parts: failures as text in one file, how often each path was slow in another, the rest on
-- standard output. Shows three pipelines of one script, which channels connect, and route: the first that matches.
--   streamhost run routes.lua failures.txt slow.json < access.jsonl
local stream = require "stream"

local failures, slow = stream.chan(256), stream.chan(256)

stream.from(stream.stdin { format = "json" })
  :route {
    {
      name = "failure",
      when = function(request) return request.status >= 500 end,
      to = function(branch) branch:to(failures) end,
    },
    {
      name = "slow",
      when = function(request) return request.ms > 1000 end,
      to = function(branch) branch:to(slow) end,
    },
  }
  :to(stream.stdout { format = "json" })

stream.from(failures)
  :map("text", function(request) return ("%d %s"):format(request.status, request.path) end)
  :to(stream.file { path = arg[1] })

stream.from(slow)
  :reduce("count", {}, function(counts, request)
    counts[request.path] = (counts[request.path] or 0) + 1
    return counts
  end)
  :to(stream.file { path = arg[2], format = "json" })

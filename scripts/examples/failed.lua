-- The failed requests of a JSON access log: streamhost run failed.lua < access.log
local stream = require "stream"

stream.from(stream.stdin { format = "json" }, { on_error = "skip" })
  :filter("failed", function(event) return event.status >= 400 end)
  :to(stream.stdout { format = "json" })

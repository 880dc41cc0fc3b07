-- The failed requests of a JSON access log, byte for byte as they came. Shows records, and a policy for bad lines: they
-- are named on standard error, and the rest goes on.
--   streamhost run failed.lua < access.jsonl
local stream = require "stream"

stream.from(stream.stdin { format = "json" }, { on_error = "skip" })
  :filter("failed", function(event) return event.status >= 400 end)
  :to(stream.stdout { format = "json" })

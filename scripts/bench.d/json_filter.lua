-- The failed requests of an access log in JSON lines, as `jq -c 'select(.status >= 400)'`.
local stream = require "stream"

stream.from(stream.stdin { format = "json" })
  :filter("failed", function(event) return event.status >= 400 end)
  :to(stream.stdout { format = "json" })

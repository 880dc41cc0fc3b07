-- Drops the small responses of an access log in JSON lines, one in ten, and gives each other one a field more, as
-- `jq -c 'select(.bytes >= 18000) | .class = if .status >= 400 then "error" else "ok" end'`.
local stream = require "stream"

stream.from(stream.stdin { format = "json" })
  :filter("large", function(event) return event.bytes >= 18000 end)
  :map("classify", function(event)
    event.class = event.status >= 400 and "error" or "ok"
    return event
  end)
  :to(stream.stdout { format = "json" })

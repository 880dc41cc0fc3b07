-- Tests of first_seen.lua: an hour passes in no time, and workers run in a hundred orders.
--   streamhost test first_seen_test.lua
local stream, test = require "stream", require "stream.test"
local first_seen = require "first_seen"

test.case("an id passes again after an hour", function(t)
  local source, sink = t.source(), t.sink()
  stream.from(source):filter("first", first_seen("id", 3600)):to(sink)
  source:push { id = 1 }
  source:push { id = 1 }
  stream.sleep "59m"
  source:push { id = 1 }
  stream.sleep(0)  -- returns when all others wait: what was pushed has gone through
  t.equal(sink:values(), { { id = 1 } })
  stream.sleep "1m"
  source:push { id = 1 }
  t.equal(sink:next(), { id = 1 })
  t.equal(sink:next(), { id = 1 })
end)

test.case("with a key, workers share nothing and lose nothing", { schedules = 100 }, function(t)
  local events = {}
  for i = 1, 60 do events[i] = { id = i % 20 } end
  local list = stream.from(stream.values(events))
    :filter("first", first_seen("id", 3600), { workers = 3, key = "id" })
    :collect()
  local seen = {}
  for _, event in ipairs(list) do
    t.is_nil(seen[event.id], "passed twice: " .. event.id)
    seen[event.id] = true
  end
  t.equal(#list, 20)
end)

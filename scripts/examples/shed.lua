-- Load shedding: a slow consumer gets the newest values, and what it had no time for is counted. The source says how
-- many values come while the consumer works on one.
--   streamhost run shed.lua [values [queue]]
local stream = require "stream"

local n, queue = tonumber(arg[1]) or 20, tonumber(arg[2]) or 3

local begun, done = stream.chan(0), stream.chan(0)
local shed = stream.chan(n)

local p = stream.from(stream.generate(function(emit)
    emit(1)
    begun:recv() -- the consumer has the first one in hand, and meanwhile all others come
    for i = 2, n do emit(i) end
    done:close()
  end))
  :buffer { capacity = queue, overflow = "drop_oldest", on_drop = shed }
  :map("slow", function(i)
    if i == 1 then begun:send(true) end
    done:recv()
    return i
  end)
  :to(function(i) print("kept", i) end)

assert(p:wait())
shed:close()
local first = shed:recv()
print("dropped", p:stats().drops.drop_oldest, "beginning with", first)

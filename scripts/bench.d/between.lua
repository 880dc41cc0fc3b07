-- Two workers and a channel of a given capacity: 1..n go from one to the other.
local stream = require "stream"

local n, capacity = tonumber(arg[1]) or 100000, tonumber(arg[2]) or 0
local channel = stream.chan(capacity)

local producer = stream.worker("producer", function()
  for i = 1, n do channel:send(i) end
  channel:close()
end)
local consumer = stream.worker("consumer", function()
  local sum = 0
  for v in channel:range() do sum = sum + v end
  return sum
end)

producer:start()
print(consumer:start():wait())

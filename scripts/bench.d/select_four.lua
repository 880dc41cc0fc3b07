-- Four tasks that send on a channel each, without room, and one that selects over the four until it has n values.
local stream = require "stream"

local n = tonumber(arg[1]) or 100000
local cases = {}
for i = 1, 4 do
  local channel = stream.chan(0)
  cases[i] = { recv = channel }
  stream.go(function()
    for _ = 1, n // 4 do channel:send(i) end
  end)
end

local sum = 0
for _ = 1, n // 4 * 4 do
  local _, value = stream.select(cases)
  sum = sum + value
end
print(sum)

-- Two tasks of one worker and a channel without room: each of 1..n is handed over.
local stream = require "stream"

local n = tonumber(arg[1]) or 100000
local channel = stream.chan(0)

stream.go(function()
  for i = 1, n do channel:send(i) end
  channel:close()
end)

local sum = 0
for v in channel:range() do sum = sum + v end
print(sum)

-- n tasks that wait on one channel, and are then let go by its close. Prints how many there were.
local stream = require "stream"

local n = tonumber(arg[1]) or 100000
local gate, done = stream.chan(0), 0
local tasks = {}
for i = 1, n do
  tasks[i] = stream.go(function()
    gate:recv()
    done = done + 1
  end)
end
stream.sleep(0)
gate:close()
for i = 1, n do tasks[i]:wait() end
print(done)

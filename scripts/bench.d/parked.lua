-- Starts n isolated workers of stages, and prints "parked" when all of them wait for values. They end a second later.
local stream = require "stream"

local n = tonumber(arg[1]) or 10000
local most = 2500 -- workers of a stage
local ready = stream.chan(n)
local values = {}

for first = 1, n, most do
  local source = stream.chan(1)
  values[#values + 1] = source
  stream.from(source)
    :each("wait", { setup = function() ready:send(true) end, process = function() end },
      { workers = math.min(most, n - first + 1) })
    :to(stream.null_sink())
end

for _ = 1, n do ready:recv() end
print "parked"
stream.sleep("1s")
for _, source in ipairs(values) do source:close() end

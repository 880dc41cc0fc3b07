-- Bursts of requests to a service with a short queue: what does not fit is answered at once from an older result, in
-- place of keeping everyone waiting. Shows graceful degradation with try_send. Arguments: the queue's length, bursts.
--   streamhost run degrade.lua 4 3 10 6
local stream = require "stream"

local jobs, answers = stream.chan(tonumber(arg[1]) or 4), stream.chan(0)

stream.go(function()
  for request in jobs:range() do
    stream.sleep("1ms")  -- the work
    answers:send(request)
  end
  answers:close()
end)

local in_full, degraded = 0, 0
for burst = 2, #arg do
  stream.sleep("1ms")  -- between the bursts the service is idle
  local accepted, refused = 0, 0
  for request = 1, tonumber(arg[burst]) do
    local ok, reason = jobs:try_send({ burst = burst - 1, request = request })
    if ok then
      accepted = accepted + 1
    else
      assert(reason == "full")
      refused = refused + 1
    end
  end
  for _ = 1, accepted do answers:recv() end
  print(("burst %d: %d served in full, %d degraded"):format(burst - 1, accepted, refused))
  in_full, degraded = in_full + accepted, degraded + refused
end

jobs:close()
print(("in all: %d served in full, %d degraded"):format(in_full, degraded))

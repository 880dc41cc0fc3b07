-- Decisions of a limiter from one worker: nanoseconds each, granted and refused.
local stream = require "stream"

local n = tonumber(arg[1]) or 5000000
for _, case in ipairs { { "granted", 1e9, 1000000 }, { "refused", 1e-6, 1 } } do
  local bucket = stream.token_bucket { rate = case[2], burst = case[3] }
  local granted, began = 0, stream.now()
  for _ = 1, n do if bucket:allow() then granted = granted + 1 end end
  local seconds = stream.now() - began
  print(("%s\t%.1f ns\t%d of %d"):format(case[1], seconds / n * 1e9, granted, n))
end

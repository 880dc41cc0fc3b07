-- Two workers that ask one limiter: nanoseconds each decision, by the wall clock, over both.
local stream = require "stream"

local n = tonumber(arg[1]) or 5000000
local bucket = stream.token_bucket { rate = 1e9, burst = 1000000 }
local began = stream.now()
local done = stream.from(stream.values { n // 2, n // 2 }):map("asks", function(count)
  local granted = 0
  for _ = 1, count do if bucket:allow() then granted = granted + 1 end end
  return granted
end, { workers = 2, queue = 2 }):collect()
local seconds = stream.now() - began
print(("two workers\t%.1f ns\t%d of %d"):format(seconds / n * 1e9, done[1] + done[2], n))

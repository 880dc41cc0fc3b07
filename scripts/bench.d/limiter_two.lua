-- Two workers that ask one limiter: `limiter_two.lua [N]` decisions in all; prints how many were granted.
local stream = require "stream"

local n = tonumber(arg[1]) or 5000000
local bucket = stream.token_bucket { rate = 1e9, burst = 1000000 }
local done = stream.from(stream.values { n // 2, n // 2 }):map("asks", function(count)
  local granted = 0
  for _ = 1, count do if bucket:allow() then granted = granted + 1 end end
  return granted
end, { workers = 2, queue = 2 }):collect()
print(done[1] + done[2])

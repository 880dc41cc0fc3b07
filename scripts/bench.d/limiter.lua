-- Decisions of a limiter, asked by one worker: `limiter.lua [N ["granted" | "refused"]]` prints how many were granted.
local stream = require "stream"

local n = tonumber(arg[1]) or 5000000
local refused = arg[2] == "refused"
local bucket = stream.token_bucket(refused and { rate = 1e-6, burst = 1 } or { rate = 1e9, burst = 1000000 })
local granted = 0
for _ = 1, n do if bucket:allow() then granted = granted + 1 end end
print(granted)

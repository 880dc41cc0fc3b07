-- The first n primes by a chain of tasks, one a prime, linked by channels without room.
local stream = require "stream"

local n = tonumber(arg[1]) or 100

local function filter(from, to, prime)
  for v in from:range() do
    if v % prime ~= 0 and not to:send(v) then return end
  end
end

local numbers = stream.chan(0)
local source = stream.go(function()
  local i = 2
  while numbers:send(i) do i = i + 1 end
end)

local chain, tasks, last = numbers, { source }, nil
for _ = 1, n do
  last = chain:recv()
  local following = stream.chan(0)
  tasks[#tasks + 1] = stream.go(filter, chain, following, last)
  chain = following
end
print(last)
for _, task in ipairs(tasks) do task:cancel() end

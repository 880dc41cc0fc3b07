-- The first primes, by a chain of tasks: each takes the multiples of one prime out of the numbers that pass through it.
-- Shows channels without room, and select: the numbers go on until they are taken or `stop` is closed.
--   streamhost run sieve.lua 10
local stream = require "stream"

local count = tonumber(arg[1]) or 10
local numbers, stop = stream.chan(0), stream.chan(0)

stream.go(function()
  local n = 1
  repeat
    n = n + 1
    local which = stream.select { { send = numbers, value = n }, { recv = stop } }
  until which == 2
  numbers:close()
end)

local sieved = numbers
for _ = 1, count do
  local prime = sieved:recv()
  print(prime)
  local input, output = sieved, stream.chan(0)
  stream.go(function()
    for n in input:range() do
      if n % prime ~= 0 then output:send(n) end
    end
    output:close()
  end)
  sieved = output
end

-- The end runs through the chain: what is still in it is taken out.
stop:close()
for _ in sieved:range() do end

-- Builds n strings of 100 bytes, keeps those whose number is even, sums the lengths.
-- Three isolated stages, with queues of 1024 as in Go.
local stream = require "stream"

local n = tonumber(arg[1]) or 1000000
local padding = ("x"):rep(90)

stream.from(stream.generate(function(emit)
  for i = 1, n do
    if not emit(1000000000 + i .. padding) then return end
  end
end))
  :filter("even", function(text) return text:byte(10) % 2 == 0 end, { queue = 1024 })
  :reduce("sum", 0, function(sum, text) return sum + #text end, { queue = 1024 })
  :to(stream.stdout())

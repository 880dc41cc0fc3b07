-- Sums the even ones of 1..n through three isolated stages: generate, filter, sum.
local stream = require "stream"

local n = tonumber(arg[1]) or 1000000

stream.from(stream.generate(function(emit)
  for i = 1, n do
    if not emit(i) then return end
  end
end))
  :filter("even", function(v) return v % 2 == 0 end)
  :reduce("sum", 0, function(sum, v) return sum + v end)
  :to(stream.stdout())

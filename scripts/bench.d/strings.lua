-- Builds n strings of 100 bytes, keeps those whose number is even, sums the lengths: three isolated stages.
local stream = require "stream"

local n = tonumber(arg[1]) or 1000000
local padding = ("x"):rep(90)

stream.from(stream.generate(function(emit)
  for i = 1, n do
    if not emit(1000000000 + i .. padding) then return end
  end
end))
  :filter("even", function(text) return text:byte(10) % 2 == 0 end)
  :reduce("sum", 0, function(sum, text) return sum + #text end)
  :to(stream.stdout())

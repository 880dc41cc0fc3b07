-- Sums the even ones of 1..n through three isolated stages: generate, filter, sum.
local stream = require "stream"

local n = tonumber(arg[1]) or 1000000
local total = { sum = 0 }

stream.from(stream.generate(function(emit)
  for i = 1, n do
    if not emit(i) then return end
  end
end))
  :filter("even", function(v) return v % 2 == 0 end)
  :each("sum", {
    process = function(v) total.sum = total.sum + v end,
    teardown = function() print(total.sum) end,
  })
  :to(stream.null_sink())

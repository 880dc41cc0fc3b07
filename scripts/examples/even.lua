-- The even numbers up to an argument. Shows the shortest pipeline: a source, one stage, a sink.
--   streamhost run even.lua 10
local stream = require "stream"

local last = tonumber(arg[1]) or 10

stream.from(stream.range(1, last))
  :filter("even", function(n) return n % 2 == 0 end)
  :to(stream.stdout())

-- Builds n records of ten fields, keeps those with an even id, sums another field: three isolated stages.
local stream = require "stream"

local n = tonumber(arg[1]) or 1000000

stream.from(stream.generate(function(emit)
  for i = 1, n do
    local record = {
      id = i, user = "user-17", host = "www.example.com", path = "/api/v1/orders", method = "GET",
      status = 200, bytes = i % 5000, duration = i / 8, cached = i % 3 == 0, region = "eu-west",
    }
    if not emit(record) then return end
  end
end))
  :filter("even", function(record) return record.id % 2 == 0 end)
  :reduce("sum", 0, function(sum, record) return sum + record.bytes end)
  :to(stream.stdout())

-- A sender whose rate changes while it runs: whoever waits for the limiter waits as long as the new rate says.
--   streamhost run rate_change.lua
local stream = require "stream"

local letters = stream.token_bucket { name = "letters", rate = 2, burst = 1, bounds = { 1, 1000 } }
local sent = stream.chan(100)

local sender = stream.go(function()
  for number = 1, 20 do
    letters:wait()
    sent:send(number)
  end
  sent:close()
end)

-- At two a second this would take nearly ten seconds.
stream.go(function()
  stream.sleep("100ms")
  letters:set_rate(200)
  if not pcall(letters.set_rate, letters, 5000) then
    print("5000 a second is out of bounds, it stays at", letters:rate())
  end
end)

local count, last = 0, 0
for number in sent:range() do count, last = count + 1, number end
assert(sender:wait() == nil)
print("sent", count, "the last one", last)

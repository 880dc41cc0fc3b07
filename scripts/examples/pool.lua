-- A pool of workers, each a Lua state of its own, that take jobs from one channel and put results into another. Shows
-- stream.worker, channels shared by workers, and a group that closes the results once all of them are done.
--   streamhost run pool.lua [workers [jobs]]
-- Counts the steps of the Collatz sequence of each number, and prints them in the order of the jobs.
local stream = require "stream"

local workers, count = tonumber(arg[1] or 4), tonumber(arg[2] or 20)
local jobs, results = stream.chan(0), stream.chan(0)

local worker = stream.worker("steps", function()
  local done = 0
  for n in jobs:range() do
    local steps, m = 0, n
    while m ~= 1 do
      m = m % 2 == 0 and m // 2 or 3 * m + 1
      steps = steps + 1
    end
    results:send { n = n, steps = steps }
    done = done + 1
  end
  return done
end)

local total = 0
local pool = stream.group()
for _ = 1, workers do
  pool:go(function()
    local done, reason = worker:start():wait()
    if not done then return nil, reason end
    total = total + done
  end)
end

stream.go(function()
  for n = 1, count do jobs:send(n) end
  jobs:close()
  assert(pool:wait())
  results:close()
end)

local steps = {}
for result in results:range() do steps[result.n] = result.steps end
for n = 1, count do print(n, steps[n]) end
print("jobs done", total)

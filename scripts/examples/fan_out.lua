-- One question to several services at once, and the answers that come before a deadline. Shows fan-out to tasks, fan-in
-- over one channel, and a context with a timeout that ends all that still wait.
--   streamhost run fan_out.lua [deadline [name=delay ...]]
-- The services are made up: each answers after its delay. Answers are printed in the order of the names, late ones as
-- missing.
local stream = require "stream"

local deadline = arg[1] or "300ms"
local delays, names = {}, {}
for i = 2, math.max(#arg, 1) do
  local name, delay = arg[i]:match("^(%w+)=(.+)$")
  if not name then error("expected name=delay, got " .. arg[i], 0) end
  delays[name] = delay
end
if next(delays) == nil then delays = { stock = "10ms", price = "20ms", reviews = "30s", ratings = "1h" } end
for name in pairs(delays) do names[#names + 1] = name end
table.sort(names)

local function ask(name)
  local ok, reason = stream.sleep(delays[name])
  if not ok then return nil, reason end
  return { name = name, text = ("answer of %s"):format(name) }
end

local ctx <close> = stream.context():with_timeout(deadline)
local answers = stream.chan(#names)
ctx:run(function()
  for _, name in ipairs(names) do
    stream.go(function()
      local ok, answer, reason = pcall(ask, name)
      if not ok then answer, reason = nil, answer end  -- a service that fails is missing, too
      answers:send(answer or { name = name, missing = reason })
    end)
  end
end)

local came, answered = {}, 0
for _ = 1, #names do
  local answer = answers:recv()
  came[answer.name] = answer
  if answer.text then answered = answered + 1 end
end
for _, name in ipairs(names) do print(name, came[name].text or "missing: " .. came[name].missing) end
print(("%d of %d answered"):format(answered, #names))

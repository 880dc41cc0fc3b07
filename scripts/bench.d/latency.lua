-- How late timers are beside scripts that compute for ever, one of them where Lua cannot leave a C function: prints the
-- median, the 99th percentile and the worst, in milliseconds.
local stream = require "stream"

local naps = tonumber(arg[1])

local loops = {
  function() while true do end end,
  function() while true do ("x"):rep(100):upper() end end,
  function() while true do pcall(error, "caught") end end,
  function() table.sort({ 3, 1, 2 }, function() while true do end end) end,
}
local busy = {}
for i, loop in ipairs(loops) do
  busy[i] = stream.from(stream.values { 1 }):each("busy " .. i, loop):to(stream.null_sink())
end
stream.sleep("100ms") -- they have all begun

local late = {}
for i = 1, naps do
  local due = stream.now() + 0.005
  stream.sleep(0.005)
  late[i] = (stream.now() - due) * 1e3
end
for _, pipeline in ipairs(busy) do
  pipeline:cancel()
  pipeline:wait()
end

table.sort(late)
local function percentile(p) return late[math.max(1, math.ceil(#late * p))] end
print(("%.2f %.2f %.2f"):format(percentile(0.5), percentile(0.99), late[#late]))

-- The Lua side of `require "stream"`: checks what a script declares and hands the host plain tables.
-- `host` holds the host's functions; see HostAPI.swift. The parts are in the folder stream: each is loaded once, gets
-- `host` too, and returns what others use of it.
local host = ...

local parts = {}
function host.part(name)
  local part = parts[name]
  if part == nil then
    part = host.load(name)(host) or true
    parts[name] = part
  end
  return part
end

local misuse, unknown = host.misuse, host.part("options").unknown
local pipelines = host.part "pipeline"
host.part "stages"
host.part "shapes"

local stream = { from = pipelines.from }
for name, make in pairs(host.part("connectors").make) do stream[name] = make end
for name, make in pairs(host.part("limiters").make) do stream[name] = make end
for _, name in ipairs { "reader", "writer", "pipe" } do  -- loaded by the first who needs it: start-up is short
  stream[name] = function(...) return host.part("bytes").make[name](...) end
end

function stream.breaker(...) return host.part("breaker").breaker(...) end
-- In every worker: one that got a breaker from elsewhere runs it too.
host.breaker_runner(function(call, fn, ...) return host.breaker_settle(call, fn(...)) end)

-- ---- Concurrency, time, data ----------------------------------------------------------------------------------------

stream.chan, stream.sleep, stream.now, stream.run = host.chan, host.sleep, host.now, host.run
stream.select = host.select
for name, make in pairs(host.part "tasks") do stream[name] = make end
stream.ticker, stream.after = host.ticker, host.after
stream.null = host.null()
stream.array = host.mark_array
stream.json = { encode = host.json_encode, decode = host.json_decode }

stream.log = {}
for _, level in ipairs { "debug", "info", "warn", "error" } do
  stream.log[level] = function(message, fields)
    local text = type(message) == "table" and host.json_encode(message) or tostring(message)
    if fields ~= nil then
      if type(fields) ~= "table" then
        misuse(("fields of log.%s expected a table, got %s"):format(level, host.kind(fields)))
      end
      text = text .. " " .. host.json_encode(fields)
    end
    host.log(level, text)
  end
end

for name, library in pairs { json = stream.json, log = stream.log } do
  setmetatable(library, {
    __metatable = false,
    __index = function(_, key) unknown(("function of stream.%s:"):format(name), key, library) end,
  })
end

-- Functions of the program that embeds the host: stream.host.name(...).
stream.host = setmetatable({}, {
  __metatable = false,
  __index = function(_, name)
    if not host.has_host(name) then misuse(("the host has no function '%s'"):format(tostring(name))) end
    return function(...) return host.call(name, ...) end
  end,
})

if host.is_test() then
  local tests = host.part "test"
  host.keep_test(tests.module, tests.checks)
end

host.unfinished(pipelines.unfinished)  -- for the report at the end of the run

return setmetatable(stream, {
  __metatable = false,
  __index = function(_, name) unknown("function of stream:", name, stream) end,
})

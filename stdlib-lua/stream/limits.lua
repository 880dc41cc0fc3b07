-- Limits of workers, and of the values that they work on.
local host = ...

local misuse = host.misuse
local limits = {}

-- Bytes of a worker's memory.
function limits.memory(what, value)
  if value == nil then return nil end
  local bytes = host.size(value)
  if not bytes or bytes < 65536 then
    misuse(([[memory of %s expected a size of at least "64KB": bytes or text such as "64MB", "1GB"; got %s]]):format(
      what, host.kind(value)))
  end
  return bytes
end

-- Bytes; 0 for false: there is no limit.
local function bytes(option, what, value, meaning)
  if value == nil then return nil end
  if value == false then return 0 end
  local size = host.size(value)
  if not size or size < 1 then
    misuse(([[%s of %s expected a size, %s: bytes or text such as "64KB", "1MB" (false: no limit); got %s]]):format(
      option, what, meaning, host.kind(value)))
  end
  return size
end

-- Nanoseconds; 0 for false: there is no limit.
local function time(option, what, value, meaning)
  if value == nil then return nil end
  if value == false then return 0 end
  local seconds = host.duration(value)
  if not seconds or seconds <= 0 then
    misuse(([[%s of %s expected a duration over 0, %s: seconds (0.8) or text such as "800ms", "1.5s", "2m", "1h"; ]]
      .. [[got %s]]):format(option, what, meaning, host.kind(value)))
  end
  return math.max(1, math.tointeger((math.min(seconds, 9e9) * 1e9 + 0.5) // 1))
end

function limits.timeout(what, value) return time("timeout", what, value, "the time for one value") end
function limits.cpu(what, value, meaning) return time("cpu", what, value, meaning or "the CPU time for one value") end
function limits.max_value(what, value)
  return bytes("max_value", what, value, "that of the largest value that it may send")
end
function limits.max_output(what, value)
  return bytes("max_output", what, value, "of all that one value may put out")
end

return limits

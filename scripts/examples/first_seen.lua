-- A filter for stages: passes on the first value of each key, and the next one only after `window` seconds. A module,
-- so that scripts and tests share it: first_seen_test.lua shows how a stage is tested.
local stream = require "stream"

return function(field, window)
  local passed = {}  -- key -> when; each worker has its own
  return function(value)
    local key, now = value[field], stream.now()
    if passed[key] and now - passed[key] < window then return false end
    passed[key] = now
    return true
  end
end

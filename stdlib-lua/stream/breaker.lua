-- Circuit breakers: what a script asks for, checked. Loaded by the first who makes one.
local host = ...

local misuse = host.misuse
local options_of = host.part "options"
local check_options, whole, text = options_of.check, options_of.whole, options_of.text

local known = { failures = true, within = true, reset = true, probes = true, name = true }
local example = "stream.breaker { failures = 5, within = \"10s\", reset = \"30s\" }"

local function time(name, value)
  local seconds = host.duration(value)
  if not seconds or seconds < 1e-9 then
    misuse(([[%s of breaker expected a duration above 0: seconds (0.8) or text such as "800ms", "1.5s", "2m", "1h"; ]]
      .. "got %s"):format(name, host.kind(value)))
  end
  return seconds
end

return {
  breaker = function(options)
    options = check_options("breaker", options, known)
    for _, name in ipairs { "failures", "within", "reset" } do
      if options[name] == nil then misuse(("breaker needs %s: %s"):format(name, example)) end
    end
    return host.breaker(options.name ~= nil and text("name of breaker", options.name) or nil,
      whole("failures of breaker", options.failures, 1, 1000000), time("within", options.within),
      time("reset", options.reset),
      options.probes == nil and 1 or whole("probes of breaker", options.probes, 1, 1000000))
  end,
}

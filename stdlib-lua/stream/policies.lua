-- The tables of `on_error`: what follows a failure, checked. Loaded by the first who gives one.
local host = ...

local misuse = host.misuse
local options_of, connectors = host.part "options", host.part "connectors"
local check_options, whole = options_of.check, options_of.whole

local known = { retry = true, backoff = true, to = true, otherwise = true, restart = true, within = true }
-- Sinks are opened once in a pipeline, however many stages name them: by these numbers.
local numbers, count = setmetatable({}, { __mode = "k" }), 0

local function nanoseconds(what, value, least, which)
  local seconds = host.duration(value)
  if not seconds or seconds < least then
    misuse(([[%s expected a duration%s: seconds (0.8) or text such as "800ms", "1.5s", "2m", "1h"; got %s]]):format(
      what, which, host.kind(value)))
  end
  return math.tointeger((math.min(seconds, 9e9) * 1e9 + 0.5) // 1)
end

local function letters(what, to)
  if host.is_channel(to) then return { kind = "channel", channel = to } end
  if connectors.is_sink(to) then
    connectors.check_end(to, "follow", "source")
    if not numbers[to] then
      count = count + 1
      numbers[to] = count
    end
    return to, numbers[to]
  end
  local remedy = ""
  if type(to) == "string" then remedy = (': a file is to = stream.file { path = %q, format = "json" }'):format(to) end
  for _, name in ipairs { "stdout", "stderr", "file", "null_sink" } do
    if to == connectors.make[name] then remedy = (": call it, as in to = stream.%s(...)"):format(name) end
  end
  misuse(("to of %s expected a sink (stream.stdout, stderr, file, null_sink) or a channel, got %s%s"):format(
    what, host.kind(to), remedy))
end

-- `name`: of the stage or "stream.from".
return function(name, options)
  local what = "on_error of " .. name
  check_options(what, options, known)
  if next(options) == nil then
    misuse(("%s is an empty table: say what follows a failure, { retry = 3, backoff = \"100ms\" } for one")
      :format(what))
  end
  local policy = {}
  if options.retry ~= nil then policy.retry = whole("retry of " .. what, options.retry, 0, 1000000) end
  if options.backoff ~= nil then
    if not policy.retry and options.restart == nil then
      misuse(("backoff of %s goes with retry = n or restart = n: it is the time before the second try")
        :format(what))
    end
    policy.backoff = nanoseconds("backoff of " .. what, options.backoff, 0, "")
  end
  if options.to ~= nil then policy.to, policy.number = letters(what, options.to) end
  if options.restart ~= nil then policy.restart = whole("restart of " .. what, options.restart, 1, 1000000) end
  if options.within ~= nil then
    if not policy.restart then
      misuse(("within of %s goes with restart = n: so many fresh workers within that time, at most"):format(what))
    end
    policy.within = nanoseconds("within of " .. what, options.within, 1e-9, " above 0")
  end
  local otherwise = options.otherwise
  if otherwise ~= nil and otherwise ~= "stop" and otherwise ~= "skip" then
    misuse(([[otherwise of %s expected "stop" or "skip", got %s]]):format(what, host.kind(otherwise)))
  end
  policy.skips = otherwise == "skip" or otherwise == nil and policy.restart ~= nil
  policy.declares_otherwise = otherwise ~= nil
  return policy
end

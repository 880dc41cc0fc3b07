-- Limiters: what a script asks for, checked; and `:limit`.
local host = ...

local misuse, place = host.misuse, host.place
local options_of, pipelines, connectors = host.part "options", host.part "pipeline", host.part "connectors"
local check_options, whole, text, unknown = options_of.check, options_of.whole, options_of.text, options_of.unknown
local Pipeline = pipelines.methods

local least_rate, most_rate, most = 1e-6, 1e9, 1000000000000
local most_sliding = 10000000  -- each may need a place in the log

local function rate_of(what, value)
  if type(value) ~= "number" or not (value >= least_rate and value <= most_rate) then
    misuse(("%s expected a rate from 0.000001 to 1000000000 a second, got %s"):format(what, host.kind(value)))
  end
  return value
end

local function window_of(what, value)
  local seconds = host.duration(value)
  if not seconds or seconds <= 0 or seconds > 3.2e8 then
    misuse(([[%s expected a duration above 0 and up to ten years: seconds (0.8) or text such as "800ms", got %s]])
      :format(what, host.kind(value)))
  end
  return seconds
end

local function required(what, options, name, example)
  if options[name] == nil then misuse(("%s needs %s: %s"):format(what, name, example)) end
  return options[name]
end

local policies = { reject = true, clamp = true, fixed_window = true }

-- The parts of `options` that all limiters have, for the host; `rate` is what it begins at. Returns also the rate
-- within the bounds.
local function common(what, options, rate)
  local result = {}
  if options.keys ~= nil then result.keys = whole("keys of " .. what, options.keys, 1, 100000000) end
  if options.out_of_bounds ~= nil then
    local policy = text("out_of_bounds of " .. what, options.out_of_bounds)
    if not policies[policy] then unknown(("out_of_bounds of %s:"):format(what), policy, policies) end
    if options.bounds == nil then
      misuse(("out_of_bounds of %s goes with bounds = { lowest, highest }"):format(what))
    end
    result.out_of_bounds = policy
  end
  if options.bounds == nil then return result, rate and rate_of("rate of " .. what, rate) end
  local bounds = options.bounds
  if type(bounds) ~= "table" or #bounds ~= 2 then
    misuse(("bounds of %s expected the lowest and the highest rate, such as { 1, 10000 }, got %s"):format(
      what, host.kind(bounds)))
  end
  local low = rate_of("the first of bounds of " .. what, bounds[1])
  local high = rate_of("the second of bounds of " .. what, bounds[2])
  if low > high then
    misuse(("bounds of %s expected the lowest rate first, got { %s, %s }"):format(what, low, high))
  end
  result.lo, result.hi = low, high
  if rate == nil then return result end
  if type(rate) ~= "number" or rate ~= rate then rate_of("rate of " .. what, rate) end
  if rate >= low and rate <= high then return result, rate end
  if (result.out_of_bounds or "reject") == "reject" then
    misuse(("rate of %s expected a rate from %s to %s a second, its bounds, got %s"):format(what, low, high, rate))
  end
  result.out = rate
  return result, rate < low and low or high
end

local function name_of(what, options)
  return options.name ~= nil and text("name of " .. what, options.name) or nil
end

local make = {}
local shared = { name = true, keys = true, bounds = true, out_of_bounds = true }

local function options_with(...)
  local known = {}
  for name in pairs(shared) do known[name] = true end
  for _, name in ipairs { ... } do known[name] = true end
  return known
end

local function bucket(kind, second, least, example)
  local known = options_with("rate", second)
  make[kind] = function(options)
    options = check_options(kind, options, known)
    local given = required(kind, options, "rate", example)
    local parts, rate = common(kind, options, given)
    local n
    if second == "burst" and options.burst == nil then
      n = math.max(1, math.floor(rate))  -- what comes in a second
    else
      n = whole(("%s of %s"):format(second, kind), required(kind, options, second, example), least, most)
    end
    return host.limiter(kind, name_of(kind, options), rate, n, parts)
  end
end

bucket("token_bucket", "burst", 1, "token_bucket { rate = 100, burst = 20 }")
bucket("leaky_bucket", "capacity", 0, "leaky_bucket { rate = 100, capacity = 20 }")

local function windows(kind, highest)
  local known = options_with("limit", "window")
  local example = kind .. " { limit = 100, window = \"1m\" }"
  make[kind] = function(options)
    options = check_options(kind, options, known)
    local limit = whole("limit of " .. kind, required(kind, options, "limit", example), 1, highest)
    local window = window_of("window of " .. kind, required(kind, options, "window", example))
    local parts = common(kind, options, nil)
    local rate = limit / window
    if rate < least_rate or rate > most_rate then
      misuse(("%s expected a limit and a window that make a rate from 0.000001 to 1000000000 a second, got %s"):format(
        kind, rate))
    end
    if parts.lo and (rate < parts.lo or rate > parts.hi) then
      if (parts.out_of_bounds or "reject") == "reject" then
        misuse(("%s expected a limit and a window that make a rate from %s to %s a second, its bounds, got %s"):format(
          kind, parts.lo, parts.hi, rate))
      end
      parts.out = rate
    end
    return host.limiter(kind, name_of(kind, options), limit, window, parts)
  end
end

windows("fixed_window", most)
windows("sliding_window", most_sliding)

function make.concurrency(options)
  options = check_options("concurrency", options, { limit = true, name = true, keys = true })
  local limit = whole("limit of concurrency",
    required("concurrency", options, "limit", "concurrency { limit = 10 }"), 1, most)
  return host.limiter("concurrency", name_of("concurrency", options), limit, (common("concurrency", options)))
end

function make.adaptive(options)
  local example = "adaptive { min = 10, max = 1000, target = \"100ms\" }"
  options = check_options("adaptive", options,
    { min = true, max = true, target = true, burst = true, name = true, keys = true })
  local low = rate_of("min of adaptive", required("adaptive", options, "min", example))
  local high = rate_of("max of adaptive", required("adaptive", options, "max", example))
  if low > high then misuse(("adaptive expected min up to max, got %s and %s"):format(low, high)) end
  local target = window_of("target of adaptive", required("adaptive", options, "target", example))
  local burst = options.burst == nil and math.max(1, math.floor(low))
    or whole("burst of adaptive", options.burst, 1, most)
  return host.limiter("adaptive", name_of("adaptive", options), low, high, target, burst,
    (common("adaptive", options)))
end

-- ---- :limit -----------------------------------------------------------------------------------------------------

local function key_of(key)
  if key == nil or type(key) == "function" or (type(key) == "string" and key ~= "") then return key end
  misuse(("key of limit expected the name of a field or a function, got %s"):format(
    key == "" and "an empty string" or host.kind(key)))
end

-- Where values over the limit go: a sink, as a pipeline's end has it.
local function other_end(to)
  if host.is_channel(to) then return { kind = "channel", channel = to } end
  if connectors.is_sink(to) then
    connectors.check_end(to, "follow", "source")
    return to
  end
  misuse(("to of mode of limit expected a sink (stream.stdout, stderr, file, null_sink) or a channel, got %s"):format(
    host.kind(to)))
end

function Pipeline.limit(self, limiter, options)
  pipelines.expect(self, "limit")
  if host.is_concurrency(limiter) then
    misuse("limit expected a limiter, got a limit of concurrency: it counts what goes on at the same time, and a value "
      .. "has passed at once; hold its permit in a stage: limit:run(fn, ...), or give the stage workers = n")
  end
  if not host.is_limiter(limiter) then
    if type(limiter) ~= "table" or getmetatable(limiter) ~= nil then
      misuse(("limit expected a limiter such as stream.token_bucket { ... }, or its options { rate =, burst = }, "
        .. "got %s"):format(host.kind(limiter)))
    end
    for _, name in ipairs { "mode", "key" } do
      if limiter[name] ~= nil then
        misuse(("%s of limit goes into a second table: :limit({ rate = 100 }, { %s = ... })"):format(name, name))
      end
    end
    limiter = make.token_bucket(limiter)
  end
  options = check_options("limit", options, { mode = true, key = true })
  local stage = { op = "limit", name = "limit", place = place(), limiter = limiter, mode = "wait" }
  local mode = options.mode
  if type(mode) == "table" and not connectors.is_sink(mode) then
    check_options("mode of limit", mode, { to = true })
    stage.mode, stage.other = "send", other_end(mode.to)
  elseif mode == "drop" then
    stage.mode = "drop"
  elseif mode ~= nil and mode ~= "wait" then
    misuse(([[mode of limit expected "wait", "drop" or { to = sink }, got %s]]):format(host.kind(mode)))
  end
  stage.key = key_of(options.key)
  if type(stage.key) == "function" then stage.code = { process = stage.key } end
  stage.on_error = rawget(self, "on_error")
  return pipelines.extend(self, stage)
end

return { make = make }

-- Stages: what works on values, each with its options, and take and skip.
local host = ...

local misuse, place = host.misuse, host.place
local options_of, pipelines, limits = host.part "options", host.part "pipeline", host.part "limits"
local check_options, whole, text = options_of.check, options_of.whole, options_of.text
local policy, switch = options_of.policy, options_of.switch
local is_pipeline, queue_of, extend = pipelines.is_pipeline, pipelines.queue_of, pipelines.extend
local Pipeline = pipelines.methods

local stage_options = {
  workers = true, ordered = true, key = true, queue = true, on_error = true, memory = true, isolated = true,
  timeout = true, cpu = true, max_value = true, max_output = true,
}
-- Stages of functions, which work value by value.
local by_value = { map = true, filter = true, each = true, flat_map = true, scan = true, reduce = true }
local parts = { process = true, setup = true, flush = true, teardown = true }

-- What belongs into the table of on_error, and how it is written there.
local policy_fields = {
  { "retry", "retry = 3" }, { "backoff", 'retry = 3, backoff = "100ms"' }, { "to", "to = sink" },
  { "otherwise", 'otherwise = "skip"' }, { "restart", 'restart = 5, within = "1m"' },
  { "within", 'restart = 5, within = "1m"' },
}

-- All names that may be meant by an option of a stage: those of on_error with how they are written.
local meant_options = {}
for name in pairs(stage_options) do meant_options[name] = true end
for _, field in ipairs(policy_fields) do meant_options[field[1]] = field[2] end

-- The functions of a stage: one function, or a table of them.
local function functions(method, name, fn, whole_stage)
  if type(fn) == "function" then return { process = fn } end
  if type(fn) ~= "table" or getmetatable(fn) == false then
    misuse(("stage \"%s\": %s expected a function%s, got %s"):format(
      name, method, whole_stage and " or a table of functions" or "", host.kind(fn)))
  end
  for part, value in pairs(fn) do
    if parts[part] and type(value) ~= "function" then
      misuse(("stage \"%s\": %s expected a function, got %s"):format(name, part, host.kind(value)))
    end
  end
  if fn.process == nil then
    local near = ""
    for part in pairs(fn) do
      if type(part) == "string" and not parts[part] then near = (" (it has '%s')"):format(part) end
    end
    misuse(("stage \"%s\": its table has no function 'process'%s"):format(name, near))
  end
  return { process = fn.process, setup = fn.setup, flush = fn.flush, teardown = fn.teardown }
end

local function check_key(name, key)
  if key == nil or type(key) == "function" or (type(key) == "string" and key ~= "") then return key end
  misuse(("key of stage \"%s\" expected the name of a field or a function, got %s"):format(
    name, key == "" and "an empty string" or host.kind(key)))
end

-- What one worker, and one value in it, may use.
local function check_limits(stage, name, op, options)
  local what = "stage \"" .. name .. "\""
  if options.timeout ~= nil and op == "stage" then
    misuse(("stage \"%s\": timeout is the time for one value, and a :stage process takes its values itself: limit what "
      .. "it does with one by ctx:with_timeout(...):run(fn, value)"):format(name))
  end
  stage.memory = limits.memory(what, options.memory)
  stage.timeout = limits.timeout(what, options.timeout)
  stage.cpu = limits.cpu(what, options.cpu)
  stage.max_value = limits.max_value(what, options.max_value)
  stage.max_output = limits.max_output(what, options.max_output)
end

-- The stage or generator in whose worker a stage with isolated = false runs.
local function leader(self, name, op, options)
  if op == "stage" then
    misuse(("stage \"%s\": a :stage process cannot run with isolated = false, it reads a channel and gets no values; "
      .. "use map, filter, each, flat_map, scan or reduce"):format(name))
  end
  local last = self.stages[#self.stages]
  local before = last and last.op or self.source.kind
  if last and by_value[before] or not last and before == "generate" then
    for _, option in ipairs { "workers", "ordered", "key", "queue", "memory" } do
      if options[option] ~= nil then
        misuse(("stage \"%s\": with isolated = false it has the %s of %s: give %s there, or leave out isolated"):format(
          name, option, last and ("stage \"%s\""):format(last.name) or "the generator", option))
      end
    end
    return last and (last.leader or last)
  end
  misuse(("stage \"%s\": isolated = false expected map, filter, each, flat_map, scan, reduce or stream.generate right "
    .. "before it, got %s"):format(name, last and before or ("the source " .. before)))
end

local function is_table(on_error) return on_error and (on_error.retry or on_error.to or on_error.restart) end

-- What follows a failure: what is given, or the pipeline's. `fused`: it runs in the worker of what is before it.
local function policy_of(self, name, op, options, fused)
  local own = policy("stage \"" .. name .. "\"", options.on_error)
  local result = own or rawget(self, "on_error")
  if not result then return nil end
  if op == "stage" then
    if own and (own.retry or own.to or own.declares_otherwise and own.skips or own.skips and not own.restart) then
      misuse(("stage \"%s\": on_error of a :stage expected \"stop\" or { restart = n, within = t }: its process takes "
        .. "its values itself, and nobody else knows which one to try again, to skip or to send elsewhere")
        :format(name))
    end
    if not own then result = { skips = false, restart = result.restart, within = result.within } end
  elseif fused and is_table(result) then
    local last = self.stages[#self.stages]
    local first = last and (last.leader or last)
    local at_source = not first or first.fused
    if result.restart and at_source then
      misuse(("stage \"%s\": restart of on_error expected a worker that can begin anew, and with isolated = false it "
        .. "runs in the generator's: leave out isolated, or restart"):format(name))
    end
  end
  return result
end

local function stage_of(self, op, name, code, options, extra)
  if not is_pipeline(self) then extend(self) end -- raises
  if type(options) == "table" and options.capacity ~= nil then
    misuse(("stage \"%s\" has no option 'capacity': the queue in front of it is queue = n"):format(name))
  end
  if type(options) == "table" then
    for _, field in ipairs(policy_fields) do
      if options[field[1]] ~= nil then
        misuse(("stage \"%s\" has no option '%s': it goes into on_error = { %s }"):format(name, field[1], field[2]))
      end
    end
    for option in pairs(options) do
      local meant = not stage_options[option] and meant_options[options_of.nearest(tostring(option), meant_options)]
      if type(meant) == "string" then
        misuse(("unknown option of stage \"%s\": '%s' (did you mean on_error = { %s }?)"):format(name, option, meant))
      end
    end
  end
  options = check_options("stage \"" .. name .. "\"", options, stage_options)
  local stage = { op = op, name = name, place = place(), code = code }
  stage.workers = options.workers == nil and 1 or whole("workers of stage \"" .. name .. "\"", options.workers, 1, 4096)
  stage.ordered = switch("ordered of stage \"" .. name .. "\"", options.ordered)
  local isolated = switch("isolated of stage \"" .. name .. "\"", options.isolated)
  stage.key = check_key(name, options.key)
  code.key = type(stage.key) == "function" and stage.key or nil
  for field, value in pairs(queue_of("queue of stage \"" .. name .. "\"", options.queue)) do stage[field] = value end
  stage.has_queue = options.queue ~= nil
  check_limits(stage, name, op, options)
  stage.on_error = policy_of(self, name, op, options, isolated == false)
  if isolated == false then
    stage.fused, stage.leader = true, leader(self, name, op, options)
  end
  if op == "stage" and stage.ordered and stage.workers > 1 then
    misuse(("stage \"%s\": ordered expected a stage that works value by value; nobody knows which value a :stage "
      .. "process makes from which"):format(name))
  end
  local shared = stage.leader or stage
  if (op == "scan" or op == "reduce") and shared.workers > 1 and not shared.key then
    misuse(("stage \"%s\": %s over several workers needs key"):format(name, op))
  end
  if extra then for key, value in pairs(extra) do stage[key] = value end end
  return extend(self, stage)
end

local function method(op)
  Pipeline[op] = function(self, name, fn, options)
    if type(name) == "function" or (type(name) == "table" and type(fn) ~= "function") then
      name, fn, options = op, name, fn
    end
    text("argument 1 of " .. op, name)
    return stage_of(self, op, name, functions(op, name, fn, true), options)
  end
end

for _, op in ipairs { "map", "filter", "each", "flat_map", "stage" } do method(op) end

local function folding(op)
  Pipeline[op] = function(self, name, initial, fn, options)
    if type(initial) == "function" then name, initial, fn, options = op, name, initial, fn end
    text("argument 1 of " .. op, name)
    if type(fn) ~= "function" then
      misuse(("stage \"%s\": %s expected a function, got %s"):format(name, op, host.kind(fn)))
    end
    return stage_of(self, op, name, { process = fn, initial = initial }, options)
  end
end

folding "scan"
folding "reduce"

for _, op in ipairs { "take", "skip" } do
  Pipeline[op] = function(self, n, more)
    if more ~= nil then
      misuse(("argument 2 of %s: it takes a number of values and nothing else, no name and no options; got %s"):format(
        op, host.kind(more)))
    end
    return extend(self, { op = op, name = op, n = whole("argument 1 of " .. op, n, 0, math.maxinteger) })
  end
end

return { stage_of = stage_of }

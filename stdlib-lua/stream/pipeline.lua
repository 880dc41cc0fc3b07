-- Pipelines: how they begin, are extended, and end. The methods that add to one are in stages.lua and shapes.lua.
local host = ...

local misuse, place = host.misuse, host.place
local options_of, connectors = host.part "options", host.part "connectors"
local unknown, check_options, whole = options_of.unknown, options_of.check, options_of.whole
local policy, text, check_end = options_of.policy, options_of.text, connectors.check_end

local Pipeline = {}
local pipeline_meta = {
  __stays = "a pipeline", __name = "pipeline", __metatable = false,
  __index = function(_, name)
    local method = Pipeline[name]
    if method == nil then unknown("method of a pipeline:", name, Pipeline) end
    return method
  end,
}
-- Pipelines that were begun and not ended: reported when the run ends.
local open = {}

local function is_pipeline(value) return type(value) == "table" and rawget(value, "is_pipeline") == true end

local function describe(value) return is_pipeline(value) and "a pipeline" or host.kind(value) end

local function expect_pipeline(self, method)
  if not is_pipeline(self) then
    misuse(("%s was called on %s: call it as pipeline:%s(...)"):format(method, host.kind(self), method))
  end
end

-- A queue is a capacity, or what :buffer takes. Returns the fields that a step or an end has for it; nil: the default.
local queue_options = { capacity = true, bytes = true, overflow = true, timeout = true, on_drop = true }
local policies = { block = true, drop_newest = true, drop_oldest = true, latest = true, fail = true, timeout = true }
local queue_fields = { "queue", "queue_bytes", "overflow", "overflow_timeout", "on_drop" }

local function overflow_of(what, queue, fields)
  local overflow = queue.overflow == nil and "block" or text("overflow of " .. what, queue.overflow)
  if not policies[overflow] then unknown(("overflow of %s:"):format(what), overflow, policies) end
  if overflow == "timeout" then
    local seconds = host.duration(queue.timeout)
    if not seconds then
      misuse(([[timeout of %s expected the time that who sends waits: seconds (0.8) or text such as "800ms", got %s]])
        :format(what, host.kind(queue.timeout)))
    end
    fields.overflow_timeout = math.tointeger(math.min(seconds, 9e9) * 1e9 // 1)
  elseif queue.timeout ~= nil then
    misuse(('timeout of %s goes with overflow = "timeout", and it has "%s"'):format(what, overflow))
  end
  if overflow == "latest" then
    if queue.capacity ~= nil and queue.capacity ~= 1 then
      misuse(('capacity of %s: overflow = "latest" keeps one value, the newest; leave it out, or use "drop_oldest"')
        :format(what))
    end
    fields.queue = 1
  elseif overflow == "drop_oldest" and fields.queue == 0 then
    misuse(('capacity of %s expected at least 1 with overflow = "drop_oldest", got 0'):format(what))
  end
  if queue.on_drop ~= nil then
    if not host.is_channel(queue.on_drop) then
      misuse(("on_drop of %s expected a channel, got %s"):format(what, host.kind(queue.on_drop)))
    end
    if overflow == "block" then
      misuse(('on_drop of %s: with overflow = "block" nothing is dropped; say which values are, "drop_oldest" for one')
        :format(what))
    end
    fields.on_drop = queue.on_drop
  end
  fields.overflow = overflow
end

local function queue_of(what, queue)
  if type(queue) ~= "table" then return { queue = queue ~= nil and whole(what, queue, 0, 1 << 30) or nil } end
  check_options(what, queue, queue_options)
  local fields = {}
  if queue.bytes ~= nil then
    local bytes = host.size(queue.bytes)
    if not bytes or bytes < 1 then
      misuse(([[bytes of %s expected a size such as 1048576 or "64MB", got %s]]):format(what, host.kind(queue.bytes)))
    end
    fields.queue_bytes = bytes
  end
  if queue.capacity ~= nil then fields.queue = whole("capacity of " .. what, queue.capacity, 0, 1 << 30) end
  overflow_of(what, queue, fields)
  return fields
end

-- Gives a step, or the end of a chain, the queue of a :buffer.
local function set_queue(to, buffer)
  for _, name in ipairs(queue_fields) do to[name] = buffer[name] end
  to.has_buffer = true
  return to
end

-- A pipeline is used: it is not open any more, and if it ran without an end of its own, it does not.
local function use(self)
  open[self] = nil
  local run = rawget(self, "run")
  if not run then return end
  if type(run) == "table" then
    run.withdraw()
  elseif not host.undeclare(run) then  -- it has started: what continues it has sources and workers of its own
    return
  end
  self.run, self.was_continued = nil, true
end

-- It needs an end still; a branch is its function's matter. Returns it.
local function keep_open(pipeline)
  if not rawget(pipeline, "branch") then open[pipeline] = true end
  return pipeline
end

-- The same pipeline with other fields.
local function derive(self, fields)
  local result = { is_pipeline = true, source = self.source, stages = self.stages, place = self.place,
    on_error = rawget(self, "on_error"), branch = rawget(self, "branch") }
  for name, value in pairs(fields) do result[name] = value end
  return setmetatable(result, pipeline_meta)
end

-- The stages so far; with the queue of a :buffer that no stage has taken, if `keep`, as a stage of its own.
local function stages_of(self, keep)
  local stages = table.move(self.stages, 1, #self.stages, 1, {})
  local buffer = rawget(self, "buffer_set")
  if buffer and keep then
    stages[#stages + 1] = set_queue({ op = "pass", name = "buffer", place = buffer.place }, buffer)
    buffer = nil
  end
  return stages, buffer
end

local function extend(self, stage)
  expect_pipeline(self, stage.op)
  use(self)
  local stages, buffer = stages_of(self, stage.op == "merge")
  if buffer then
    if stage.fused then
      misuse(("stage \"%s\": with isolated = false it has no queue of its own; leave out the :buffer before it"):format(
        stage.name))
    end
    if stage.has_queue then
      misuse(("stage \"%s\": its queue is set twice, by the :buffer before it too; leave one of them out"):format(
        stage.name))
    end
    set_queue(stage, buffer)
  end
  stages[#stages + 1] = stage
  local result = derive(self, { stages = stages })
  return keep_open(result)
end

local function from(source, options)
  options = check_options("stream.from", options, { on_error = true })
  local description
  if host.is_channel(source) then
    description = { kind = "channel", channel = source }
  elseif connectors.is_source(source) then
    description = {}
    for name, value in pairs(source) do description[name] = value end
    check_end(source, "append", "sink")
  elseif type(source) == "function" then
    misuse("stream.from expected a source, got a function: write stream.from(stream.generate(function(emit) ... end))")
  else
    misuse(("stream.from expected a source (stream.stdin, file, range, values, generate, or a channel), got %s")
      :format(host.kind(source)))
  end
  description.on_error = policy("stream.from", options.on_error)
  description.place = place()
  local result = setmetatable(
    { is_pipeline = true, source = description, stages = {}, place = description.place,
      on_error = description.on_error },
    pipeline_meta)
  open[result] = true
  return result
end

-- ---- Ends -------------------------------------------------------------------------------------------------------

-- What the host gets of a chain. A channel is put into directly, unless a queue in front of it is asked for.
local function chain_of(self, sink)
  local stages, buffer = stages_of(self, sink == nil or sink.kind == "channel")
  local chain = { source = self.source, stages = stages, sink = sink, place = place() }
  return buffer and set_queue(chain, buffer) or chain
end

-- Ends a pipeline: the host runs it, or the branch that it belongs to gets it.
local function declare(self, sink)
  use(self)
  local branch = rawget(self, "branch")
  if not branch then return host.declare(chain_of(self, sink)) end
  if branch.is_over then
    misuse(("a branch of %s gets its end inside of its function, which has returned"):format(branch.what))
  end
  local chain = chain_of(self, sink)
  branch.chains[#branch.chains + 1] = chain
  return nil, chain
end

function Pipeline.to(self, sink, options)
  expect_pipeline(self, "to")
  local description
  if options ~= nil and not host.is_channel(sink) then
    misuse(("argument 2 of to: only a channel takes options, { close = false }; those of a stage go into the stage; "
      .. "got %s"):format(host.kind(options)))
  end
  if host.is_channel(sink) then
    options = check_options("to", options, { close = true })
    description = { kind = "channel", channel = sink, keep_open = options.close == false }
  elseif type(sink) == "function" then
    for name, make in pairs(connectors.make) do
      if sink == make then
        misuse(("to got the function stream.%s itself: call it, as in :to(stream.%s())"):format(name, name))
      end
    end
    description = { kind = "function", code = sink }
  elseif connectors.is_sink(sink) then
    description = sink
    check_end(sink, "follow", "source")
  else
    misuse(("to expected a sink (stream.stdout, stderr, file, null_sink, a channel or a function), got %s")
      :format(host.kind(sink)))
  end
  return (declare(self, description))
end

function Pipeline.collect(self, more)
  expect_pipeline(self, "collect")
  if more ~= nil then
    misuse(([[collect takes no arguments, got %s: for a time limit call it inside ]]
      .. [[stream.context():with_timeout("5s"):run(function() ... end)]]):format(host.kind(more)))
  end
  local branch = rawget(self, "branch")
  if branch then
    misuse(("a branch of %s cannot wait for its values: end it with :to(...), for example a channel or a function")
      :format(branch.what))
  end
  return host.collect(declare(self, { kind = "collect" }))
end

-- A route with `otherwise` runs without a further end. Other pipelines have these methods once they have one.
for _, name in ipairs { "wait", "cancel", "stats" } do
  Pipeline[name] = function(self, ...)
    expect_pipeline(self, name)
    local run = rawget(self, "run")
    if type(run) ~= "userdata" then
      misuse(rawget(self, "was_continued") and
        ("%s: this pipeline was continued; call it on what the :to of its continuation returns"):format(name)
        or ("%s: this pipeline has no end and does not run: call it on what :to(...) returns"):format(name))
    end
    return run[name](run, ...)
  end
end

-- Places of the pipelines without an end.
local function unfinished()
  local places = {}
  for pipeline in pairs(open) do places[#places + 1] = pipeline.place end
  table.sort(places)
  return places
end

return {
  from = from, methods = Pipeline, unfinished = unfinished,
  is_pipeline = is_pipeline, describe = describe, expect = expect_pipeline, queue_of = queue_of,
  use = use, derive = derive, keep_open = keep_open, stages_of = stages_of, extend = extend, chain_of = chain_of,
  declare = declare,
}

-- The Lua side of `require "stream"`: checks what a script declares and hands the host plain tables.
-- `host` holds the host's functions; see HostAPI.swift.
local host = ...

local stream = {}
local misuse, place = host.misuse, host.place

-- ---- Names: the nearest one to a misspelt one ------------------------------------------------------------------

local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local above = row[j]
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(above + 1, row[j - 1] + 1, diagonal + cost)
      diagonal = above
    end
  end
  return row[#b]
end

local function nearest(name, names)
  local best, least = nil, math.max(1, #name // 3) + 1
  for candidate in pairs(names) do
    if type(candidate) == "string" then
      local d = distance(name, candidate)
      if d < least or (d == least and best and candidate < best) then best, least = candidate, d end
    end
  end
  return best and (" (did you mean '%s'?)"):format(best) or ""
end

local function unknown(what, name, names)
  misuse(("unknown %s '%s'%s"):format(what, tostring(name), nearest(tostring(name), names)))
end

-- ---- Options ----------------------------------------------------------------------------------------------------

local function check_options(what, options, known)
  if options == nil then return {} end
  if type(options) ~= "table" then
    misuse(("%s expected a table of options, got %s"):format(what, host.kind(options)))
  end
  for name in pairs(options) do
    if not known[name] then unknown(("option of %s:"):format(what), name, known) end
  end
  return options
end

-- As in Lua's own functions, a float with a whole value will do: 1e6.
local function whole(what, given, least, most)
  local value = type(given) == "number" and math.tointeger(given)
  if not value or value < least or value > most then
    misuse(("%s expected a whole number from %d to %d, got %s"):format(what, least, most, host.kind(given)))
  end
  return value
end

local function text(what, value)
  if type(value) ~= "string" then misuse(("%s expected a string, got %s"):format(what, host.kind(value))) end
  return value
end

local function policy(what, value)
  if value == nil then return nil end
  if value ~= "stop" and value ~= "skip" then
    misuse(([[on_error of %s expected "stop" or "skip", got %s]]):format(what, host.kind(value)))
  end
  return value
end

-- ---- Sources and sinks ----------------------------------------------------------------------------------------------

local formats = { lines = true, json = true, csv = true, bytes = true }
local connector = { __name = "connector", __metatable = false }

local function switch(what, value)
  if value ~= nil and type(value) ~= "boolean" then
    misuse(("%s expected true or false, got %s"):format(what, host.kind(value)))
  end
  return value
end

-- The names of CSV's fields: a copy of the list.
local function column_names(what, list)
  if type(list) ~= "table" or #list == 0 then
    misuse(([[%s expected a list of names such as { "id", "name" }, got %s]]):format(
      what, type(list) == "table" and "an empty one" or host.kind(list)))
  end
  local names, places = {}, {}
  for i = 1, #list do
    local name = text(("%s, element %d,"):format(what, i), list[i])
    if name == "" then misuse(("%s, element %d, is an empty name"):format(what, i)) end
    if not utf8.len(name) then misuse(("%s, element %d, is not UTF-8"):format(what, i)) end
    if places[name] then misuse(("%s has '%s' twice, as elements %d and %d"):format(what, name, places[name], i)) end
    names[i], places[name] = name, i
  end
  return names
end

local function connect(kind, options, known)
  local what = "stream." .. kind
  options = check_options(what, options, known)
  local format = options.format == nil and "lines" or text("format of " .. what, options.format)
  if not formats[format] then unknown("format", format, formats) end
  local result = { kind = kind, format = format, connector = true }
  if known.path then
    if options.path == nil then misuse("stream.file expected a path: stream.file { path = \"...\" }") end
    result.path = text("path of stream.file", options.path)
  end
  result.append = switch("append of " .. what, options.append)
  result.follow = switch("follow of " .. what, options.follow)
  if options.from ~= nil then
    if options.from ~= "begin" and options.from ~= "end" then
      misuse(([[from of %s expected "begin" or "end", got %s]]):format(what, host.kind(options.from)))
    end
    if not options.follow then misuse(("from of %s goes with follow = true"):format(what)) end
    result.from = options.from
  end
  if options.columns ~= nil then
    if format ~= "csv" then misuse(("columns of %s goes with format = \"csv\""):format(what)) end
    result.columns = column_names("columns of " .. what, options.columns)
  end
  return setmetatable(result, connector)
end

local plain = { format = true, columns = true }
local file = { path = true, format = true, columns = true, append = true, follow = true, from = true }

-- Options that a file has only at the other end of a pipeline.
local function check_end(description, name, other)
  if description[name] then misuse(("%s is an option of a %s"):format(name, other)) end
end

function stream.stdin(options) return connect("stdin", options, plain) end
function stream.stdout(options) return connect("stdout", options, plain) end
function stream.stderr(options) return connect("stderr", options, plain) end
function stream.file(options) return connect("file", options, file) end
function stream.null_sink() return setmetatable({ kind = "null", connector = true }, connector) end

function stream.range(first, last, step)
  step = step == nil and 1 or step
  first = whole("argument 1 of range", first, math.mininteger, math.maxinteger)
  if last == math.huge then last = math.maxinteger end
  last = whole("argument 2 of range", last, math.mininteger, math.maxinteger)
  step = whole("argument 3 of range", step, math.mininteger, math.maxinteger)
  if step == 0 then misuse("argument 3 of range expected a step other than 0") end
  return setmetatable({ kind = "range", first = first, last = last, step = step, connector = true }, connector)
end

function stream.values(list)
  if type(list) ~= "table" then misuse(("values expected a table, got %s"):format(host.kind(list))) end
  return setmetatable({ kind = "values", values = list, connector = true }, connector)
end

function stream.generate(fn)
  if type(fn) ~= "function" then misuse(("generate expected a function, got %s"):format(host.kind(fn))) end
  return setmetatable({ kind = "generate", code = { process = fn }, connector = true }, connector)
end

-- Sources and sinks of the program that embeds the host.
function stream.source(name)
  if not host.has_source(text("argument 1 of source", name)) then
    misuse(("the host has no source '%s'"):format(name))
  end
  return setmetatable({ kind = name, connector = true, is_source = true }, connector)
end

function stream.sink(name)
  if not host.has_sink(text("argument 1 of sink", name)) then misuse(("the host has no sink '%s'"):format(name)) end
  return setmetatable({ kind = name, connector = true, is_sink = true }, connector)
end

local sources = { stdin = true, file = true, range = true, values = true, generate = true }
local sinks = { stdout = true, stderr = true, file = true, null = true }

-- ---- Pipelines ------------------------------------------------------------------------------------------------------

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

-- A queue is a capacity, or what :buffer takes. Returns values and bytes; nil: the default.
local queue_options = { capacity = true, bytes = true, overflow = true }

local function queue_of(what, queue)
  if type(queue) ~= "table" then return queue ~= nil and whole(what, queue, 0, 1 << 30) or nil end
  check_options(what, queue, queue_options)
  if queue.overflow ~= nil and queue.overflow ~= "block" then
    misuse(([[overflow of %s: supported is "block" (who sends waits), got %s]]):format(what, host.kind(queue.overflow)))
  end
  local bytes
  if queue.bytes ~= nil then
    bytes = host.size(queue.bytes)
    if not bytes or bytes < 1 then
      misuse(([[bytes of %s expected a size such as 1048576 or "64MB", got %s]]):format(what, host.kind(queue.bytes)))
    end
  end
  local capacity = queue.capacity
  return capacity ~= nil and whole("capacity of " .. what, capacity, 0, 1 << 30) or nil, bytes
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
  if buffer and (keep or (#stages == 0 and self.source.kind == "channel")) then
    stages[#stages + 1] = { op = "pass", name = "buffer", place = buffer.place, queue = buffer.capacity,
      queue_bytes = buffer.bytes }
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
    stage.queue, stage.queue_bytes = buffer.capacity, buffer.bytes
  end
  stages[#stages + 1] = stage
  local result = derive(self, { stages = stages })
  if not rawget(self, "branch") then open[result] = true end
  return result
end

function stream.from(source, options)
  options = check_options("stream.from", options, { on_error = true })
  local description
  if host.is_channel(source) then
    description = { kind = "channel", channel = source }
  elseif type(source) == "table" and rawget(source, "connector") and (source.is_source or sources[source.kind]) then
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
    { is_pipeline = true, source = description, stages = {}, place = description.place, on_error = options.on_error },
    pipeline_meta)
  open[result] = true
  return result
end

local stage_options = {
  workers = true, ordered = true, key = true, queue = true, on_error = true, memory = true, isolated = true,
}
-- Stages of functions, which work value by value.
local by_value = { map = true, filter = true, each = true, flat_map = true, scan = true, reduce = true }
local parts = { process = true, setup = true, flush = true, teardown = true }

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

local function boolean(what, value)
  if value ~= nil and type(value) ~= "boolean" then
    misuse(("%s expected true or false, got %s"):format(what, host.kind(value)))
  end
  return value
end

local function check_key(name, key)
  if key == nil or type(key) == "function" or (type(key) == "string" and key ~= "") then return key end
  misuse(("key of stage \"%s\" expected the name of a field or a function, got %s"):format(
    name, key == "" and "an empty string" or host.kind(key)))
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

local function stage_of(self, op, name, code, options, extra)
  if not is_pipeline(self) then extend(self) end -- raises
  if type(options) == "table" and options.capacity ~= nil then
    misuse(("stage \"%s\" has no option 'capacity': the queue in front of it is queue = n"):format(name))
  end
  options = check_options("stage \"" .. name .. "\"", options, stage_options)
  local stage = { op = op, name = name, place = place(), code = code }
  stage.workers = options.workers == nil and 1 or whole("workers of stage \"" .. name .. "\"", options.workers, 1, 4096)
  stage.ordered = boolean("ordered of stage \"" .. name .. "\"", options.ordered)
  local isolated = boolean("isolated of stage \"" .. name .. "\"", options.isolated)
  stage.key = check_key(name, options.key)
  code.key = type(stage.key) == "function" and stage.key or nil
  stage.queue, stage.queue_bytes = queue_of("queue of stage \"" .. name .. "\"", options.queue)
  stage.has_queue = options.queue ~= nil
  if options.memory ~= nil then
    local bytes = host.size(options.memory)
    if not bytes or bytes < 65536 then
      misuse(([[memory of stage "%s" expected a size of at least "64KB", got %s]]):format(
        name, host.kind(options.memory)))
    end
    stage.memory = bytes
  end
  stage.on_error = policy("stage \"" .. name .. "\"", options.on_error) or rawget(self, "on_error")
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
  Pipeline[op] = function(self, n)
    return extend(self, { op = op, name = op, n = whole("argument 1 of " .. op, n, 0, math.maxinteger) })
  end
end

-- What the host gets of a chain.
local function chain_of(self, sink)
  local stages, buffer = stages_of(self, sink == nil)
  return { source = self.source, stages = stages, sink = sink, place = place(), queue = buffer and buffer.capacity,
    queue_bytes = buffer and buffer.bytes }
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
  if host.is_channel(sink) then
    options = check_options("to", options, { close = true })
    description = { kind = "channel", channel = sink, keep_open = options.close == false }
  elseif type(sink) == "function" then
    description = { kind = "function", code = sink }
  elseif type(sink) == "table" and rawget(sink, "connector") and (sink.is_sink or sinks[sink.kind]) then
    description = sink
    check_end(sink, "follow", "source")
  else
    misuse(("to expected a sink (stream.stdout, stderr, file, null_sink, a channel or a function), got %s")
      :format(host.kind(sink)))
  end
  return (declare(self, description))
end

function Pipeline.collect(self)
  expect_pipeline(self, "collect")
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

-- ---- The shape of pipelines -----------------------------------------------------------------------------------------

function Pipeline.buffer(self, options)
  expect_pipeline(self, "buffer")
  if type(options) ~= "table" then
    misuse(("buffer expected a table, :buffer { capacity = 1000 }, got %s"):format(host.kind(options)))
  end
  local capacity, bytes = queue_of(":buffer", options)
  use(self)
  local result = derive(self, {
    stages = stages_of(self, true), buffer_set = { capacity = capacity, bytes = bytes, place = place() } })
  if not rawget(self, "branch") then open[result] = true end
  return result
end

function Pipeline.batch(self, options)
  expect_pipeline(self, "batch")
  if type(options) ~= "table" then
    misuse(("batch expected a table, :batch { size = 100, within = \"1s\" }, got %s"):format(host.kind(options)))
  end
  check_options("batch", options, { size = true, within = true })
  if options.size == nil and options.within == nil then
    misuse("batch expected a size, or a time (within), or both")
  end
  local stage = { op = "batch", name = "batch", place = place() }
  if options.size ~= nil then stage.n = whole("size of batch", options.size, 1, 1 << 30) end
  if options.within ~= nil then
    local seconds = host.duration(options.within)
    if not seconds or seconds <= 0 then
      misuse(([[within of batch expected a duration above 0: seconds (0.8) or text such as "800ms", got %s]]):format(
        host.kind(options.within)))
    end
    stage.within = math.tointeger(math.min(seconds, 9e9) * 1e9 // 1)
  end
  return extend(self, stage)
end

function Pipeline.merge(self, ...)
  expect_pipeline(self, "merge")
  local others, chains = table.pack(...), {}
  if others.n == 0 then misuse("merge expected at least one pipeline") end
  for i = 1, others.n do
    local other = others[i]
    if type(other) == "userdata" and host.kind(other) == "a pipeline" then
      misuse(("argument %d of merge is a pipeline that has an end: leave out its :to(...)"):format(i))
    elseif not is_pipeline(other) then
      misuse(("argument %d of merge expected a pipeline without an end, got %s"):format(i, host.kind(other)))
    elseif rawget(other, "branch") then
      misuse(("argument %d of merge is a branch of %s; write branch:merge(other) there"):format(i,
        rawget(other, "branch").what))
    end
  end
  for i = 1, others.n do
    use(others[i])
    chains[i] = chain_of(others[i])
  end
  return extend(self, { op = "merge", name = "merge", place = place(), chains = chains })
end

-- Calls the function of a branch; returns what it made: a name and chains.
local function grow(self, what, name, fn)
  local branch = { what = what, chains = {} }
  fn(derive(self, { source = { kind = "branch" }, stages = {}, branch = branch }))
  branch.is_over = true
  if #branch.chains == 0 then
    misuse(("a branch of %s has no end: end it with :to(...), for example branch:to(stream.null_sink())"):format(what))
  end
  return { name = name, chains = branch.chains }
end

function Pipeline.tee(self, ...)
  expect_pipeline(self, "tee")
  local functions_of, branches = table.pack(...), {}
  if functions_of.n == 0 then
    misuse("tee expected at least one function: :tee(function(branch) branch:to(...) end)")
  end
  for i = 1, functions_of.n do
    if type(functions_of[i]) ~= "function" then
      misuse(("argument %d of tee expected a function that gets a branch, got %s"):format(i,
        describe(functions_of[i])))
    end
  end
  local stage = { op = "tee", name = "tee", place = place(), branches = branches }
  for i = 1, functions_of.n do
    local grown = grow(self, "tee", tostring(i), functions_of[i])
    for k, chain in ipairs(grown.chains) do  -- continued several times: as many branches
      local name = #grown.chains == 1 and tostring(i) or i .. "." .. k
      branches[#branches + 1] = { name = name, chains = { chain } }
    end
  end
  return extend(self, stage)
end

-- What the worker of a route runs: the number of the first predicate that takes the value, 0 for none.
local function dispatcher(predicates)
  local count = #predicates
  return function(value)
    for i = 1, count do
      if predicates[i](value) then return i end
    end
    return 0
  end
end

local route_options = { otherwise = true, name = true, on_error = true, memory = true, queue = true }
local branch_options = { name = true, when = true, to = true }

-- A pipeline that is complete runs; what continues it takes its place.
local function run_complete(self)
  use(self)
  local run, chain = declare(self, { kind = "null" })
  if chain then
    local chains = rawget(self, "branch").chains
    run = { withdraw = function()
      for i, each in ipairs(chains) do if each == chain then return table.remove(chains, i) end end
    end }
  end
  self.run = run
  return self
end

function Pipeline.route(self, options)
  expect_pipeline(self, "route")
  if type(options) ~= "table" then misuse(("route expected a table of branches, got %s"):format(host.kind(options))) end
  local count = #options
  if count == 0 then misuse("route expected at least one branch: { name =, when = function, to = function }") end
  for key in pairs(options) do
    if not (math.type(key) == "integer" and key >= 1 and key <= count) and not route_options[key] then
      unknown("field of route:", key, route_options)
    end
  end
  local name = options.name == nil and "route" or text("name of route", options.name)
  local predicates, branches = {}, {}
  for i = 1, count do
    local given = options[i]
    local what = ("branch %d of route \"%s\""):format(i, name)
    check_options(what, given, branch_options)
    for _, field in ipairs { "when", "to" } do
      if type(given[field]) ~= "function" then
        misuse(("%s of %s expected a function, got %s"):format(field, what, describe(given[field])))
      end
    end
    predicates[i] = given.when
    branches[i] = { name = given.name == nil and tostring(i) or text("name of " .. what, given.name) }
  end
  local otherwise = options.otherwise
  if otherwise ~= nil and type(otherwise) ~= "function" then
    misuse(("otherwise of route \"%s\" expected a function that gets a branch, got %s"):format(name,
      describe(otherwise)))
  end
  for i, branch in ipairs(branches) do
    branch.chains = grow(self, ("route \"%s\""):format(name), branch.name, options[i].to).chains
  end
  if otherwise then otherwise = grow(self, ("route \"%s\""):format(name), "otherwise", otherwise) end
  local result = stage_of(self, "route", name, { process = dispatcher(predicates) },
    { on_error = options.on_error, memory = options.memory, queue = options.queue },
    { branches = branches, otherwise = otherwise })
  return otherwise and run_complete(result) or result
end

-- ---- Concurrency, time, data ----------------------------------------------------------------------------------------

stream.chan, stream.go, stream.sleep, stream.now, stream.run = host.chan, host.go, host.sleep, host.now, host.run
stream.context = host.context
stream.ticker, stream.after = host.ticker, host.after
stream.null = host.null()
stream.array = host.mark_array
stream.json = { encode = host.json_encode, decode = host.json_decode }

stream.log = {}
for _, level in ipairs { "debug", "info", "warn", "error" } do
  stream.log[level] = function(message) host.log(level, tostring(message)) end
end

-- Functions of the program that embeds the host: stream.host.name(...).
stream.host = setmetatable({}, {
  __metatable = false,
  __index = function(_, name)
    if not host.has_host(name) then misuse(("the host has no function '%s'"):format(tostring(name))) end
    return function(...) return host.call(name, ...) end
  end,
})

-- Pipelines without an end, for the report at the end of the run: their places.
host.unfinished(function()
  local places = {}
  for pipeline in pairs(open) do places[#places + 1] = pipeline.place end
  table.sort(places)
  return places
end)


return setmetatable(stream, {
  __metatable = false,
  __index = function(_, name) unknown("function of stream:", name, stream) end,
})

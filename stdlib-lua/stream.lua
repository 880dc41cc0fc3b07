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

local function extend(self, stage)
  if not is_pipeline(self) then
    misuse(("a method of a pipeline was called on %s: call it as pipeline:method(...)"):format(host.kind(self)))
  end
  open[self] = nil
  local stages = table.move(self.stages, 1, #self.stages, 1, {})
  stages[#stages + 1] = stage
  local result = { is_pipeline = true, source = self.source, stages = stages, place = self.place,
    on_error = rawget(self, "on_error") }
  open[result] = true
  return setmetatable(result, pipeline_meta)
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
  local result = setmetatable(
    { is_pipeline = true, source = description, stages = {}, place = place(), on_error = options.on_error },
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
  local queue = options.queue
  if type(queue) == "table" then
    check_options("queue of stage \"" .. name .. "\"", queue, { capacity = true })
    queue = queue.capacity
  end
  stage.queue = queue == nil and 256 or whole("queue of stage \"" .. name .. "\"", queue, 0, 1 << 30)
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
    if type(name) == "function" or (type(name) == "table" and fn == nil) then name, fn, options = op, name, fn end
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
    return extend(self, { op = op, name = op, n = whole("argument 1 of " .. op, n, 0, math.maxinteger), queue = 256 })
  end
end

local function declare(self, sink)
  if not is_pipeline(self) then
    misuse(("a pipeline's end was called on %s: call it as pipeline:to(...)"):format(host.kind(self)))
  end
  open[self] = nil
  return host.declare { source = self.source, stages = self.stages, sink = sink, place = place() }
end

function Pipeline.to(self, sink, options)
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
  return declare(self, description)
end

function Pipeline.collect(self)
  return host.collect(declare(self, { kind = "collect" }))
end

-- ---- Concurrency, time, data ----------------------------------------------------------------------------------------

stream.chan, stream.go, stream.sleep, stream.now, stream.run = host.chan, host.go, host.sleep, host.now, host.run
stream.context = host.context
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

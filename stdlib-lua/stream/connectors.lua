-- Sources and sinks: descriptions that `stream.from` and `:to` take.
local host = ...

local misuse = host.misuse
local options_of = host.part "options"
local unknown, check_options, text = options_of.unknown, options_of.check, options_of.text
local whole, switch = options_of.whole, options_of.switch

local formats = { lines = true, json = true, csv = true, bytes = true }
local connector = { __name = "connector", __metatable = false }

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

local make = {}
local plain = { format = true, columns = true }
local file = { path = true, format = true, columns = true, append = true, follow = true, from = true }

-- Options that a file has only at the other end of a pipeline.
local function check_end(description, name, other)
  if description[name] then misuse(("%s is an option of a %s"):format(name, other)) end
end

function make.stdin(options) return connect("stdin", options, plain) end
function make.stdout(options) return connect("stdout", options, plain) end
function make.stderr(options) return connect("stderr", options, plain) end
function make.file(options) return connect("file", options, file) end
function make.null_sink() return setmetatable({ kind = "null", connector = true }, connector) end

function make.range(first, last, step)
  step = step == nil and 1 or step
  first = whole("argument 1 of range", first, math.mininteger, math.maxinteger)
  if last == math.huge then last = math.maxinteger end
  last = whole("argument 2 of range", last, math.mininteger, math.maxinteger)
  step = whole("argument 3 of range", step, math.mininteger, math.maxinteger)
  if step == 0 then misuse("argument 3 of range expected a step other than 0") end
  return setmetatable({ kind = "range", first = first, last = last, step = step, connector = true }, connector)
end

function make.values(list)
  if type(list) ~= "table" then misuse(("values expected a table, got %s"):format(host.kind(list))) end
  return setmetatable({ kind = "values", values = list, connector = true }, connector)
end

function make.generate(fn, more)
  if more ~= nil then
    misuse(("generate expected a function and no options, got %s: on_error goes into "
      .. "stream.from(source, { on_error = })"):format(host.kind(more)))
  end
  if type(fn) ~= "function" then misuse(("generate expected a function, got %s"):format(host.kind(fn))) end
  return setmetatable({ kind = "generate", code = { process = fn }, connector = true }, connector)
end

-- Sources and sinks of the program that embeds the host.
function make.source(name)
  if not host.has_source(text("argument 1 of source", name)) then
    misuse(("the host has no source '%s'"):format(name))
  end
  return setmetatable({ kind = name, connector = true, is_source = true }, connector)
end

function make.sink(name)
  if not host.has_sink(text("argument 1 of sink", name)) then misuse(("the host has no sink '%s'"):format(name)) end
  return setmetatable({ kind = name, connector = true, is_sink = true }, connector)
end

local sources = { stdin = true, file = true, range = true, values = true, generate = true }
local sinks = { stdout = true, stderr = true, file = true, null = true }

local function is_connector(value) return type(value) == "table" and rawget(value, "connector") end

return {
  -- What becomes part of `stream`.
  make = make,
  is_source = function(value) return is_connector(value) and (value.is_source or sources[value.kind]) end,
  is_sink = function(value) return is_connector(value) and (value.is_sink or sinks[value.kind]) end,
  check_end = check_end,
}

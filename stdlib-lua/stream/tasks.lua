-- Tasks, groups, workers, contexts: what is checked before the host gets it.
local host = ...

local misuse, place, kind = host.misuse, host.place, host.kind
local options_of, limits = host.part "options", host.part "limits"
local unknown, check_options, whole = options_of.unknown, options_of.check, options_of.whole

local tasks = { go = host.go, context = host.context, any_context = host.any_context }

-- ---- Groups ---------------------------------------------------------------------------------------------------------

local group_options = { limit = true, context = true }

function tasks.group(given, options)
  local context
  if kind(given) == "a context" then
    context = given
  elseif options == nil then
    options = given
  else
    misuse(("argument 1 of group expected a context, got %s"):format(kind(given)))
  end
  if options ~= nil and type(options) ~= "table" then
    misuse(("group expected a context or a table of options, stream.group { limit = 4 }, got %s"):format(kind(options)))
  end
  options = check_options("group", options, group_options)
  if options.context ~= nil then
    if kind(options.context) ~= "a context" then
      misuse(("context of group expected a context, got %s"):format(kind(options.context)))
    end
    context = options.context
  end
  local limit = options.limit
  if limit ~= nil then limit = whole("limit of group", limit, 1, math.maxinteger) end
  return host.group(context, limit)
end

-- ---- Workers --------------------------------------------------------------------------------------------------------

local Worker = {}
local worker_meta = {
  __stays = "a worker", __name = "worker", __metatable = false,
  __index = function(_, name)
    local method = Worker[name]
    if method == nil then unknown("method of a worker:", name, Worker) end
    return method
  end,
}
local worker_options = { memory = true, cpu = true, max_value = true }

function tasks.worker(name, fn, options)
  if type(name) == "function" then name, fn, options = "worker", name, fn end
  if type(name) ~= "string" then misuse(("argument 1 of worker expected a name, got %s"):format(kind(name))) end
  if type(fn) ~= "function" then
    misuse(("worker \"%s\" expected a function, stream.worker(name, fn), got %s"):format(name, kind(fn)))
  end
  local what = "worker \"" .. name .. "\""
  options = check_options(what, options, worker_options)
  return setmetatable({
    name = name, fn = fn, place = place(), memory = limits.memory(what, options.memory),
    cpu = limits.cpu(what, options.cpu, "the CPU time of the whole task"),
    max_value = limits.max_value(what, options.max_value),
  }, worker_meta)
end

function Worker.start(self, ...)
  if type(self) ~= "table" or rawget(self, "fn") == nil then
    misuse(("start expected a worker, got %s: call it as worker:start(...)"):format(kind(self)))
  end
  local given = { rawget(self, "memory") or 0, rawget(self, "cpu") or 0, rawget(self, "max_value") or -1 }
  return host.start_worker(self.name, self.fn, given, self.place, ...)
end

-- ---- Once -----------------------------------------------------------------------------------------------------------

-- The functions of this state: the original where it was declared, a copy elsewhere.
local functions = setmetatable({}, { __mode = "k" })

function tasks.once(fn)
  if type(fn) ~= "function" then misuse(("argument 1 of once expected a function, got %s"):format(kind(fn))) end
  local once = host.once(fn)
  functions[once] = fn
  return once
end

host.once_first(function(once, run)
  local fn = functions[once]
  if fn == nil then
    fn = host.once_copy(once)
    functions[once] = fn
  end
  return host.once_keep(run, fn())
end)

return tasks

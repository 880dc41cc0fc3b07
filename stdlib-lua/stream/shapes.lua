-- The shape of pipelines: queues, arrays, forks and joins.
local host = ...

local misuse, place = host.misuse, host.place
local options_of, pipelines = host.part "options", host.part "pipeline"
local connectors = host.part "connectors"
local unknown, check_options = options_of.unknown, options_of.check
local whole, text = options_of.whole, options_of.text
local is_pipeline, describe, expect_pipeline = pipelines.is_pipeline, pipelines.describe, pipelines.expect
local queue_of, use, derive, stages_of = pipelines.queue_of, pipelines.use, pipelines.derive, pipelines.stages_of
local keep_open, extend = pipelines.keep_open, pipelines.extend
local chain_of, declare = pipelines.chain_of, pipelines.declare
local stage_of = host.part("stages").stage_of
local Pipeline = pipelines.methods

function Pipeline.buffer(self, options)
  expect_pipeline(self, "buffer")
  if type(options) ~= "table" then
    misuse(("buffer expected a table, :buffer { capacity = 1000 }, got %s"):format(host.kind(options)))
  end
  local buffer = queue_of(":buffer", options)
  buffer.place = place()
  use(self)
  return keep_open(derive(self, { stages = stages_of(self, true), buffer_set = buffer }))
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
      local is_source = host.is_channel(other) or connectors.is_source(other)
      misuse(("argument %d of merge expected a pipeline without an end, got %s"):format(i,
        is_source and "a source: wrap it in stream.from(...)" or host.kind(other)))
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

-- `require "stream.test"`: declares cases. What `t` has, which each case gets, is made here too; the host looks it up
-- in every worker (HostAPI+Testing.swift). Loaded under `streamhost test` only.
local host = ...

local misuse = host.misuse
local options_of = host.part "options"
local unknown, check_options, text, whole = options_of.unknown, options_of.check, options_of.text, options_of.whole
local switch = options_of.switch
local show, differences = host.part("compare").show, host.part("compare").differences

-- ---- Cases --------------------------------------------------------------------------------------------------------

local test = {}
local case_options = { schedules = true, clock = true, leaks = true, limit = true }

function test.case(name, options, fn)
  if fn == nil and type(options) == "function" then options, fn = nil, options end
  if text("argument 1 of test.case", name) == "" then misuse("argument 1 of test.case expected a name, got \"\"") end
  local what = ("test.case \"%s\""):format(name)
  if type(options) == "function" then
    misuse(what .. " has its options behind the function: write test.case(name, { ... }, function(t) ... end)")
  end
  if type(fn) ~= "function" then
    misuse(("%s expected a function, function(t) ... end, got %s"):format(what, host.kind(fn)))
  end
  options = check_options(what, options, case_options)
  local schedules = options.schedules
  if schedules ~= nil then schedules = whole("schedules of " .. what, schedules, 1, 1000000000) end
  if options.clock ~= nil and options.clock ~= "virtual" and options.clock ~= "real" then
    misuse(([[clock of %s expected "virtual" or "real", got %s]]):format(what, host.kind(options.clock)))
  end
  local real = options.clock == "real"
  if real and schedules and schedules > 1 then
    misuse(("schedules of %s goes with the virtual clock: with the real one no seed decides the order"):format(what))
  end
  if real and options.leaks then
    misuse(("leaks of %s goes with the virtual clock: with the real one a task may be about to end"):format(what))
  end
  local limit = options.limit
  if limit ~= nil then
    limit = host.duration(limit)
    if not limit or limit <= 0 then
      misuse(([[limit of %s expected a duration above 0, such as 0.8 or "2m", got %s]]):format(
        what, host.kind(options.limit)))
    end
  end
  host.test_case(name, schedules or 1, real, switch("leaks of " .. what, options.leaks) or false, limit, fn)
end

setmetatable(test, {
  __metatable = false,
  __index = function(_, name) unknown("function of stream.test:", name, test) end,
})

-- ---- Assertions ---------------------------------------------------------------------------------------------------

local checks = {}

-- Begins an assertion; t:equal(...) in place of t.equal(...) is told.
local function begin(name, first)
  if host.is_t(first) then
    misuse(("t:%s(...) has t itself as its first argument: write t.%s(...)"):format(name, name))
  end
  host.test_check()
end

local function fail(message, problem, ...)
  if message ~= nil then problem = ("%s: %s"):format(tostring(message), problem) end
  host.test_fail(problem, ...)
end

function checks.equal(actual, expected, message)
  begin("equal", actual)
  local found = differences(actual, expected)
  if not found then return end
  if type(actual) == "table" and type(expected) == "table" then
    fail(message, "the tables differ", found, show(expected), show(actual))
  end
  local note = actual ~= actual and expected ~= expected and " (NaN equals nothing, itself included)" or ""
  fail(message, ("expected %s, got %s%s"):format(show(expected), show(actual), note))
end

function checks.near(actual, expected, tolerance, message)
  begin("near", actual)
  if type(tolerance) ~= "number" or tolerance ~= tolerance or tolerance < 0 then
    misuse(("argument 3 of t.near expected a tolerance, a number from 0, got %s"):format(host.kind(tolerance)))
  end
  if type(expected) ~= "number" then
    misuse(("argument 2 of t.near expected a number, got %s"):format(host.kind(expected)))
  end
  if type(actual) == "number" and (actual == expected or math.abs(actual - expected) <= tolerance) then return end
  local off = type(actual) == "number" and (", which is off by %s"):format(show(math.abs(actual - expected))) or ""
  fail(message, ("expected %s, give or take %s, got %s%s"):format(show(expected), show(tolerance), show(actual), off))
end

function checks.is_true(value, message)
  begin("is_true", value)
  if value == true then return end
  local note = value and " (is_true takes true alone; for any value but nil and false: t.is_true(value ~= nil))" or ""
  fail(message, ("expected true, got %s%s"):format(show(value), note))
end

function checks.is_nil(value, message)
  begin("is_nil", value)
  if value ~= nil then fail(message, ("expected nil, got %s"):format(show(value))) end
end

-- The pattern is Lua's; a text that stands in the error as it is will do too, whatever its characters mean there.
function checks.raises(pattern, fn, message)
  begin("raises", pattern)
  text("argument 1 of t.raises", pattern)
  if type(fn) ~= "function" and host.kind(fn) ~= "a once function" then
    misuse(("argument 2 of t.raises expected a function, got %s"):format(host.kind(fn)))
  end
  local fine, problem = pcall(fn)
  if fine then fail(message, ("expected an error that matches %s, and nothing was raised"):format(show(pattern))) end
  local said = type(problem) == "string" and problem or show(problem)
  local valid, found = pcall(string.find, said, pattern)
  if not (valid and found) and not said:find(pattern, 1, true) then
    fail(message, ("expected an error that matches %s, got %s"):format(show(pattern), show(said)))
  end
  return problem
end

function checks.fail(message)
  begin("fail", message)
  host.test_fail(message == nil and "t.fail was called" or tostring(message))
end

-- ---- Sources and sinks that a test has in hand --------------------------------------------------------------------

local ample = 1 << 30  -- values: a test that pushes some and then looks does not wait

-- What other libraries call these methods.
local foreign = {
  ["a test's source"] = { send = "push", put = "push", emit = "push", write = "push", add = "push" },
  ["a test's sink"] = { recv = "next", receive = "next", get = "next", read = "next", pop = "next", collect = "values",
    items = "values", results = "values" },
}

local function methods(phrase, class)
  return function(_, name)
    local method, known = class[name], foreign[phrase][name]
    if method == nil and known then
      misuse(("%s has no method '%s' (did you mean '%s'?)"):format(phrase, name, known))
    end
    return method
  end
end

local Source = {}
local source_meta = { __name = "test source", __metatable = false, __index = methods("a test's source", Source) }

-- True, or nil and the reason: "closed" where the pipeline wants no more.
function Source:push(value, ...) return self.channel:send(value, ...) end
function Source:close() if not self.channel:is_closed() then self.channel:close() end end
function Source:is_closed() return self.channel:is_closed() end

function checks.source(options)
  if host.is_t(options) then misuse("write t.source(), not t:source()") end
  options = check_options("t.source", options, { capacity = true })
  local capacity = options.capacity == nil and ample or whole("capacity of t.source", options.capacity, 0, ample)
  return setmetatable({ kind = "channel", channel = host.chan(capacity), connector = true, is_source = true },
    source_meta)
end
source_meta.__len = function(self) return #self.channel end

local Sink = {}
local sink_meta = { __name = "test sink", __metatable = false, __index = methods("a test's sink", Sink) }

-- Takes over what has arrived. True: nothing more will.
local function gather(sink)
  while true do
    local value, reason = sink.channel:try_recv()
    if value == nil then return reason == "closed" end
    sink.arrived[#sink.arrived + 1] = value
  end
end

-- All that has arrived so far.
function Sink:values()
  gather(self)
  return table.move(self.arrived, 1, #self.arrived, 1, {})
end

-- The first value that no `next` has returned yet; waits for it. Nil and the reason: "closed" at the pipeline's end.
function Sink:next(timeout)
  gather(self)
  if self.read == #self.arrived then
    local value, reason = self.channel:recv(timeout)
    if value == nil then return nil, reason end
    self.arrived[#self.arrived + 1] = value
  end
  self.read = self.read + 1
  return self.arrived[self.read]
end

-- Waits until n values have arrived in all; without n, until the pipeline has ended. True, or nil and the reason.
function Sink:wait(n, timeout)
  if n ~= nil then n = whole("argument 1 of wait", n, 0, ample) end
  local seconds = timeout ~= nil and host.duration(timeout)
  if timeout ~= nil and not seconds then
    misuse(("argument 2 of wait expected a duration such as 0.8 or \"800ms\", got %s"):format(host.kind(timeout)))
  end
  local deadline = seconds and host.now() + seconds or nil
  while true do
    local over = gather(self)
    if n and #self.arrived >= n then return true end
    if over then
      if n then return nil, "closed" end
      return true
    end
    local value, reason = self.channel:recv(deadline and math.max(0, deadline - host.now()) or nil)
    if value ~= nil then
      self.arrived[#self.arrived + 1] = value
    elseif reason ~= "closed" then
      return nil, reason
    end
  end
end

-- Whether the pipeline has ended.
function Sink:is_closed() return self.channel:is_closed() end

sink_meta.__len = function(self)
  gather(self)
  return #self.arrived
end

function checks.sink(options)
  if host.is_t(options) then misuse("write t.sink(), not t:sink()") end
  options = check_options("t.sink", options, { capacity = true })
  local capacity = options.capacity == nil and ample or whole("capacity of t.sink", options.capacity, 0, ample)
  return setmetatable({ kind = "channel", channel = host.chan(capacity), connector = true, is_sink = true,
    arrived = {}, read = 0 }, sink_meta)
end

-- ---- For the host -------------------------------------------------------------------------------------------------

local names = {}
for name in pairs(checks) do names[name] = true end

-- What to say of a name that `t` has not; under a key that is no name.
checks["?"] = function(name)
  return ("t has no '%s'%s"):format(name, options_of.hint(name, names))
end

return { module = test, checks = checks }

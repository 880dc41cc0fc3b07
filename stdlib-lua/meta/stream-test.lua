---@meta stream.test
-- `require "stream.test"` as editors see it (LuaLS); there under `streamhost test`. The README says what each does.

---@class stream.test
local test = {}

---@class stream.CaseOptions
---@field schedules? integer  under so many seeds; 1 unless said
---@field clock? "virtual"|"real"  "virtual" unless said
---@field leaks? boolean  tasks that had to be cancelled at the end fail the case
---@field limit? stream.Duration  real time that one schedule may take; 10 s unless said

---Declares a case, at the file's top level.
---@param name string  of no other case in the file
---@param options stream.CaseOptions
---@param fn fun(t: stream.T)
---@overload fun(name: string, fn: fun(t: stream.T))
function test.case(name, options, fn) end

---What a case gets; shared by all workers. Each assertion takes a message as one more argument.
---@class stream.T
local T = {}

---Deep: numbers by ==, NaN equals nothing, host objects by identity.
---@param actual any
---@param expected any
---@param message? any
function T.equal(actual, expected, message) end
---@param actual any
---@param expected number
---@param tolerance number
---@param message? any
function T.near(actual, expected, tolerance, message) end
---@param value any
---@param message? any
function T.is_true(value, message) end
---@param value any
---@param message? any
function T.is_nil(value, message) end
---@param pattern string  Lua's, or a text that stands in the error
---@param fn function
---@param message? any
---@return any  what was raised
function T.raises(pattern, fn, message) end
---@param message? any
function T.fail(message) end
---@param options? { capacity: integer }  how many values `push` leaves without waiting; all unless said
---@return stream.TestSource
function T.source(options) end
---@param options? { capacity: integer }
---@return stream.TestSink
function T.sink(options) end

---A source that the test pushes into: for `stream.from`.
---@class stream.TestSource: stream.Source
---@operator len: integer
local Source = {}
---@param value any
---@param timeout? stream.Duration
---@return boolean?, stream.Reason?
function Source:push(value, timeout) end
function Source:close() end
---@return boolean
function Source:is_closed() end

---A sink that the test looks at: for `:to`. Its length is how many values have arrived.
---@class stream.TestSink: stream.Sink
---@operator len: integer
local Sink = {}
---@return any[]  all that has arrived so far
function Sink:values() end
---The first value that no `next` has returned yet; waits for it.
---@param timeout? stream.Duration
---@return any, stream.Reason?
function Sink:next(timeout) end
---Waits until n values have arrived in all; without n, until the pipeline has ended.
---@param n? integer
---@param timeout? stream.Duration
---@return boolean?, stream.Reason?
function Sink:wait(n, timeout) end
---@return boolean  whether the pipeline has ended
function Sink:is_closed() end

return test

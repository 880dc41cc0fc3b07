---@meta stream
-- The library as editors see it (LuaLS): declarations without bodies. The README says what each does.

---@class stream
local stream = {}

---@alias stream.Duration number|string  seconds, or text such as "800ms", "1.5s", "2m", "1h"
---@alias stream.Format "lines"|"json"|"csv"|"bytes"
---@alias stream.Reason string  "closed", "full", "empty", "timeout", "canceled", "deadline exceeded", or a message

---@class stream.Source
---@class stream.Sink

---@class stream.FormatOptions
---@field format? stream.Format  default "lines"
---@field columns? string[]  of "csv": a source's names in place of a header line; a sink's header

---@class stream.FileOptions: stream.FormatOptions
---@field path string
---@field append? boolean  a sink writes at the end of the file
---@field follow? boolean  a source goes on at the end of the file, through truncation and rotation
---@field from? "begin"|"end"  where a followed file is begun

---@class stream.StageTable
---@field process function
---@field setup? fun(ctx: stream.Context)
---@field flush? fun(emit: fun(value: any): boolean?, stream.Reason?)
---@field teardown? fun(reason: "done"|"failed"|"canceled"|"deadline exceeded")

---@class stream.Queue
---@field capacity? integer  values; 256 unless said, 0 is a rendezvous
---@field bytes? integer|string  "64MB" unless said; one larger value passes alone
---@field overflow? "block"|"drop_newest"|"drop_oldest"|"latest"|"fail"|"timeout"  when it is full; default "block"
---@field timeout? stream.Duration  of "timeout": so long who sends waits
---@field on_drop? stream.Channel  is offered what is dropped

---@class stream.RouteBranch
---@field name? string
---@field when fun(value: any): any
---@field to fun(branch: stream.Pipeline)

---@class stream.Route
---@field [integer] stream.RouteBranch
---@field otherwise? fun(branch: stream.Pipeline)
---@field name? string
---@field on_error? "stop"|"skip"|stream.ErrorPolicy
---@field memory? integer|string
---@field queue? integer|stream.Queue

---What follows a failure, in this order: tries, a dead letter, else what `otherwise` says; and a fresh worker.
---@class stream.ErrorPolicy
---@field retry? integer  so many tries more
---@field backoff? stream.Duration  before the second try, doubled for each further one, with jitter; default 0
---@field to? stream.Sink|stream.Channel  gets `stream.DeadLetter`s
---@field otherwise? "stop"|"skip"  without `to`, or where its channel is closed: "stop", with `restart` "skip"
---@field restart? integer  a fresh worker after each failure; one more than so many in `within` stops the pipeline
---@field within? stream.Duration  "1m"

---@class stream.DeadLetter
---@field value any  as it came to the stage; a line that the source could not read, as text
---@field error string
---@field stage string  "source" where the source could not read it
---@field time integer  as `os.time()` gives it

---@class stream.StageStats
---@field drops stream.Drops
---@field name string
---@field received integer
---@field emitted integer
---@field filtered integer
---@field failed integer
---@field dropped integer
---@field queued integer
---@field capacity integer
---@field limits? stream.StageLimits  of stages with a function
---@field fused? { name: string, limits: stream.StageLimits }[]  stages with `isolated = false` in its workers

---@class stream.StageLimits  those that there are
---@field memory? stream.LimitUse  bytes
---@field cpu? stream.LimitUse  seconds
---@field timeout? stream.LimitUse  seconds
---@field max_output? stream.LimitUse  bytes
---@field max_value? { limit: integer }  bytes

---@class stream.LimitUse  of the worker or value that uses the most
---@field limit number
---@field current number
---@field peak number  with workers that were replaced
---@field stopped integer  workers that were stopped for it

---@class stream.Drops  values dropped, by reason
---@field ended integer  that found nobody at an early end
---@field limited? integer
---@field drop_newest? integer
---@field drop_oldest? integer
---@field latest? integer
---@field fail? integer
---@field timeout? integer

---@class stream.Stats
---@field drops stream.Drops
---@field created integer
---@field delivered integer
---@field consumed integer
---@field filtered integer
---@field failed integer
---@field dropped integer
---@field dead_lettered integer
---@field returned integer
---@field stages stream.StageStats[]

---@class stream.StageOptions
---@field workers? integer  copies of the stage that share its input; 1 to 4096
---@field ordered? boolean  several workers keep the order of the input
---@field key? string|fun(value: any): string|number|boolean  the same key always goes to the same worker
---@field queue? integer|stream.Queue  values that wait in front of the stage; 0 is a rendezvous
---@field isolated? boolean  false: runs in the workers of the stage before it and gets the very same value
---@field timeout? stream.Duration  for one value; not for `:stage`, which has `ctx:with_timeout`
---@field memory? integer|string  of a worker: bytes, or text such as "64MB"; default "256MB"
---@field cpu? stream.Duration|false  CPU time for one value; false: no limit, whatever the run's is
---@field max_value? integer|string|false  of the largest value that it may send; default "64MB"
---@field max_output? integer|string|false  of all that it sends and prints for one value
---@field on_error? "stop"|"skip"|stream.ErrorPolicy

---@class stream.Channel
---@operator len: integer  values queued
local Channel = {}
---@param value any
---@param timeout? stream.Duration  0: it does not wait
---@return boolean?, stream.Reason?
function Channel:send(value, timeout) end
---@return boolean?, stream.Reason?
function Channel:try_send(value) end
---@param timeout? stream.Duration
---@return any, stream.Reason?
function Channel:recv(timeout) end
---@return any, stream.Reason?
function Channel:try_recv() end
---@return fun(): any
function Channel:range() end
function Channel:close() end
---@return boolean
function Channel:is_closed() end
---@return integer
function Channel:capacity() end
---@param n integer|number  so many more values may come into the queue in front of a stage; of a stage's input only
function Channel:request(n) end

---@class stream.Reader
local Reader = {}
---@param n integer  at most so many bytes
---@param timeout? stream.Duration
---@return string?, stream.Reason?
function Reader:read(n, timeout) end
---@param n integer
---@param timeout? stream.Duration
---@return string?, stream.Reason?
function Reader:read_exactly(n, timeout) end
---@param timeout? stream.Duration
---@return string?, stream.Reason?
function Reader:read_line(timeout) end
---@param timeout? stream.Duration
---@return string?, stream.Reason?
function Reader:read_all(timeout) end
---@return fun(): string?
function Reader:lines() end
function Reader:close() end

---@class stream.Writer
local Writer = {}
---@param bytes string
---@param timeout? stream.Duration
---@return integer taken, stream.Reason?
function Writer:write(bytes, timeout) end
---@param timeout? stream.Duration
---@return boolean?, stream.Reason?
function Writer:flush(timeout) end
---@param timeout? stream.Duration
---@return boolean?, stream.Reason?
function Writer:close(timeout) end

---Of recv, send, after and default a case has exactly one; false disables it.
---@class stream.Case
---@field recv? stream.Channel|false
---@field send? stream.Channel|false
---@field value? any  what `send` sends
---@field after? stream.Duration|false  taken when no other was by then
---@field default? boolean  taken at once when no other is ready
---@field run? fun(value: any, reason: stream.Reason?): any ...  what it returns follows the case's number

---@alias stream.ContextKey string|number|boolean

---@class stream.Context
local Context = {}
---A child that `cancel` ends; as all children it ends with its parent.
---@return stream.Context
function Context:with_cancel() end
---A child that ends after that time at the latest.
---@param duration stream.Duration
---@return stream.Context
function Context:with_timeout(duration) end
---A child that ends at that time at the latest.
---@param time number seconds, as `stream.now()` gives them
---@return stream.Context
function Context:with_deadline(time) end
---A child that has one value more. Other workers get a copy.
---@param key stream.ContextKey
---@param value any
---@return stream.Context
function Context:with_value(key, value) end
---One with the same values that does not end with this: to wait while cleaning up.
---@return stream.Context
function Context:without_cancel() end
---Calls `fn` with this as the task's context, and returns what it returned. Errors pass through.
---@param fn function
---@return any ...
function Context:run(fn, ...) end
---@return stream.Reason?
function Context:err() end
---What `cancel` was given, or the reason; nil while it has not ended.
---@return string?
function Context:cause() end
---Ends it and all below. Later cancels change nothing.
---@param cause? string
function Context:cancel(cause) end
---When it ends at the latest, as `stream.now()` counts.
---@return number?
function Context:deadline() end
---@param key stream.ContextKey
---@return any
function Context:value(key) end
---A channel that is closed when it ends.
---@return stream.Channel
function Context:done() end
---Calls `fn(reason)` once when it ends, as a task of this worker; at once if it has.
---@param fn fun(reason: stream.Reason)
function Context:on_end(fn) end

---@class stream.Group
local Group = {}
---Starts a task of the group. Waits while as many run as the group's limit.
---@param fn function
---@return stream.Task?, stream.Reason?
function Group:go(fn, ...) end
---Waits until all have ended. Nil and the reason of the first that failed, which cancelled the rest.
---@param timeout? stream.Duration
---@return true?, string?
function Group:wait(timeout) end
---@param cause? string
function Group:cancel(cause) end

---@class stream.Worker
local Worker = {}
---Runs the function in a Lua state of its own.
---@return stream.Task
function Worker:start(...) end

---@class stream.Task
local Task = {}
---@param timeout? stream.Duration
---@return any ...
function Task:wait(timeout) end
---@param cause? string
function Task:cancel(cause) end
---@return string
function Task:status() end

---@class stream.Run
local Run = {}
---@param timeout? stream.Duration
---@return boolean?, stream.Reason?
function Run:wait(timeout) end
---@param cause? string
function Run:cancel(cause) end
---@return stream.Stats
function Run:stats() end

---@class stream.LimiterOptions
---@field name? string
---@field bounds? number[]  the lowest and the highest rate
---@field out_of_bounds? "reject"|"clamp"|"fixed_window"
---@field keys? integer  so many keys have a limiter of their own at a time; 10000 unless said

---@class stream.TokenBucket: stream.LimiterOptions
---@field rate number  tokens a second, 0.000001 to 1000000000
---@field burst? integer  one second's worth unless said

---@class stream.LeakyBucket: stream.LimiterOptions
---@field rate number
---@field capacity integer  so many may wait

---@class stream.Window: stream.LimiterOptions
---@field limit integer
---@field window stream.Duration

---@class stream.Limiter
local Limiter = {}
---Whether n pass now.
---@param n? integer
---@return boolean
function Limiter:allow(n) end
---@param n? integer
---@param timeout? stream.Duration
---@return boolean?, stream.Reason?
function Limiter:wait(n, timeout) end
---Seconds to wait, and a function that gives back what is not used.
---@param n? integer
---@return number?, (fun())|stream.Reason
function Limiter:reserve(n) end
---@return number
function Limiter:rate() end
---@param rate number
function Limiter:set_rate(rate) end
---@param burst integer
function Limiter:set_burst(burst) end
---@return integer
function Limiter:available() end
---@param key string|number|boolean
---@return stream.Limiter
function Limiter:of(key) end

---@class stream.AdaptiveLimiter: stream.Limiter
local AdaptiveLimiter = {}
---@param latency stream.Duration
---@param ok? boolean  true unless said
function AdaptiveLimiter:report(latency, ok) end

---@class stream.Permit
local Permit = {}
function Permit:release() end

---@class stream.Concurrency
local Concurrency = {}
---@param timeout? stream.Duration
---@return stream.Permit?, stream.Reason?
function Concurrency:acquire(timeout) end
---Calls fn while it holds a permit.
---@param fn function
---@return any ...
function Concurrency:run(fn, ...) end
---@return integer
function Concurrency:available() end
---@param key string|number|boolean
---@return stream.Concurrency
function Concurrency:of(key) end

---@param options stream.TokenBucket
---@return stream.Limiter
function stream.token_bucket(options) end
---@param options stream.LeakyBucket
---@return stream.Limiter
function stream.leaky_bucket(options) end
---@param options stream.Window
---@return stream.Limiter
function stream.fixed_window(options) end
---@param options stream.Window
---@return stream.Limiter
function stream.sliding_window(options) end
---@param options { limit: integer, name?: string, keys?: integer }
---@return stream.Concurrency
function stream.concurrency(options) end
---@param options { min: number, max: number, target: stream.Duration, burst?: integer, name?: string, keys?: integer }
---@return stream.AdaptiveLimiter
function stream.adaptive(options) end

---@class stream.LimitOptions
---@field mode? "wait"|"drop"|{ to: stream.Sink|stream.Channel }
---@field key? string|fun(value: any): string|number|boolean  each key has a limiter of its own

---@class stream.Pipeline
local Pipeline = {}
---Lets values wait for the limiter; `mode` and `key` are in the second table.
---@param limiter stream.Limiter|stream.TokenBucket
---@param options? stream.LimitOptions
---@return stream.Pipeline
function Pipeline:limit(limiter, options) end
---@return stream.Pipeline
---@overload fun(self, fn: function|stream.StageTable, options?: stream.StageOptions): stream.Pipeline
function Pipeline:map(name, fn, options) end
---@return stream.Pipeline
---@overload fun(self, fn: function|stream.StageTable, options?: stream.StageOptions): stream.Pipeline
function Pipeline:filter(name, fn, options) end
---@return stream.Pipeline
---@overload fun(self, fn: function|stream.StageTable, options?: stream.StageOptions): stream.Pipeline
function Pipeline:each(name, fn, options) end
---@return stream.Pipeline
---@overload fun(self, fn: function|stream.StageTable, options?: stream.StageOptions): stream.Pipeline
function Pipeline:flat_map(name, fn, options) end
---@return stream.Pipeline
---@overload fun(self, fn: function|stream.StageTable, options?: stream.StageOptions): stream.Pipeline
function Pipeline:stage(name, fn, options) end
---@return stream.Pipeline
---@overload fun(self, initial: any, fn: function, options?: stream.StageOptions): stream.Pipeline
function Pipeline:scan(name, initial, fn, options) end
---@return stream.Pipeline
---@overload fun(self, initial: any, fn: function, options?: stream.StageOptions): stream.Pipeline
function Pipeline:reduce(name, initial, fn, options) end
---@param n integer
---@return stream.Pipeline
function Pipeline:take(n) end
---@param n integer
---@return stream.Pipeline
function Pipeline:skip(n) end
---@param options { size?: integer, within?: stream.Duration }
---@return stream.Pipeline
function Pipeline:batch(options) end
---@param options stream.Queue
---@return stream.Pipeline
function Pipeline:buffer(options) end
---@param ... stream.Pipeline
---@return stream.Pipeline
function Pipeline:merge(...) end
---@param ... fun(branch: stream.Pipeline)
---@return stream.Pipeline
function Pipeline:tee(...) end
---With `otherwise` the result runs without a further end, and has the methods of `stream.Run`.
---@param options stream.Route
---@return stream.Pipeline|stream.Run
function Pipeline:route(options) end
---In a branch of a tee or a route it returns nil.
---@param sink stream.Sink|stream.Channel|fun(value: any)
---@param options? { close?: boolean }
---@return stream.Run
function Pipeline:to(sink, options) end
---@return any[]?, stream.Reason?
function Pipeline:collect() end

---@param source stream.Source|stream.Channel
---@param options? { on_error?: "stop"|"skip"|stream.ErrorPolicy }
---@return stream.Pipeline
function stream.from(source, options) end
---@param options? stream.FormatOptions
---@return stream.Source
function stream.stdin(options) end
---@param options stream.FileOptions
---@return stream.Source|stream.Sink
function stream.file(options) end
---@param first integer
---@param last integer
---@param step? integer  default 1
---@return stream.Source
function stream.range(first, last, step) end
---@param list any[]
---@return stream.Source
function stream.values(list) end
---`emit` returns true, or nil and "closed" when nobody wants more: return then.
---@param fn fun(emit: (fun(value: any): boolean?, stream.Reason?), ctx: stream.Context)
---@return stream.Source
function stream.generate(fn) end
---@param options? stream.FormatOptions
---@return stream.Sink
function stream.stdout(options) end
---@param options? stream.FormatOptions
---@return stream.Sink
function stream.stderr(options) end
---@return stream.Sink
function stream.null_sink() end
---@param name string  of a source that the embedding program has added
---@return stream.Source
function stream.source(name) end
---@param name string  of a sink that the embedding program has added
---@return stream.Sink
function stream.sink(name) end
---@param capacity integer  0: a rendezvous
---@return stream.Channel
function stream.chan(capacity) end
---Takes one case that is ready, at random where several are, and waits for one where none is. Returns its number, and
---the value received, true for a send, or nil and "closed"; or what the case's `run` returned. Without a case: nil and
---why the task's context ended.
---@param cases (stream.Case|false)[]
---@return integer? which
---@return any value
---@return stream.Reason? reason
function stream.select(cases) end
---@param source stream.Source|stream.Channel  a file, standard input, or a channel of strings
---@param options? { limit?: integer|string }  of a line
---@return stream.Reader?, stream.Reason?
function stream.reader(source, options) end
---@param sink stream.Sink|stream.Channel  a file, standard output or error, the null sink, or a channel
---@return stream.Writer?, stream.Reason?
function stream.writer(sink) end
---@param capacity? integer|string  bytes, "64KB" unless said
---@return stream.Reader, stream.Writer
function stream.pipe(capacity) end
---A task in this worker; tasks of one worker switch only where they wait.
---@param fn function
---@return stream.Task
function stream.go(fn, ...) end
---@param duration stream.Duration
---@return boolean?, stream.Reason?
function stream.sleep(duration) end
---@param interval stream.Duration
---@return stream.Channel  gets the time every interval, until it is closed
function stream.ticker(interval) end
---@param duration stream.Duration
---@return stream.Channel  gets the time once, and is closed then
function stream.after(duration) end
---@return number  seconds on the monotonic clock
function stream.now() end
---@return boolean?, stream.Reason?
function stream.run() end
---@return stream.Context
function stream.context() end
---Ends with the first of them; has the earliest deadline, and each value from the first that has it.
---@param ... stream.Context
---@return stream.Context
function stream.any_context(...) end
---Tasks that are waited for together, of which the first that fails cancels the rest.
---@param options? stream.Context|{ limit?: integer, context?: stream.Context }
---@return stream.Group
function stream.group(options) end
---Declares an isolated worker.
---@param name string
---@param fn function
---@param options? { memory?: integer|string, cpu?: stream.Duration|false, max_value?: integer|string|false }
---@return stream.Worker
function stream.worker(name, fn, options) end
---A function that runs once for all workers; the others get a copy of its results.
---@param fn function
---@return function
function stream.once(fn) end
---Marks a table as an array, so that an empty one is written [].
---@param t table
---@return table
function stream.array(t) end

stream.json = {}
---@param value any
---@return string
function stream.json.encode(value) end
---@param text string
---@return any, string?
function stream.json.decode(text) end

stream.log = {}
---@param message any
---@param fields? table  written behind it as JSON
function stream.log.debug(message, fields) end
---@param message any
---@param fields? table  written behind it as JSON
function stream.log.info(message, fields) end
---@param message any
---@param fields? table  written behind it as JSON
function stream.log.warn(message, fields) end
---@param message any
---@param fields? table  written behind it as JSON
function stream.log.error(message, fields) end

---Functions that the embedding program has added.
---@type table<string, function>
stream.host = {}

---@type lightuserdata  JSON's null; true in a condition
stream.null = nil

---@class stream.Breaker
local Breaker = {}
---Calls `fn` and returns what it returns, or nil, "open". It failed if it raised, or returned nil and a reason.
---@param fn function
---@return any ...
function Breaker:run(fn, ...) end
---Whether a call may be made now: tell what came of it by `report`.
---@return boolean
function Breaker:allow() end
---@param ok boolean
function Breaker:report(ok) end
---@return "closed"|"open"|"half-open"
function Breaker:state() end
---Closes it, and forgets the failures.
function Breaker:reset() end

---@class stream.BreakerOptions
---@field failures integer  so many within that time open it
---@field within stream.Duration
---@field reset stream.Duration  after so long it lets calls through again, to see
---@field probes? integer  so many at once, and so many successes close it; default 1
---@field name? string

---A circuit breaker that all workers share.
---@param options stream.BreakerOptions
---@return stream.Breaker
function stream.breaker(options) end

return stream

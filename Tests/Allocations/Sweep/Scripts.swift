// swift-format-ignore-file: the lines of the scripts are as long as they are.
// The scripts that are swept: each API function of the library, in a few lines.

struct SweptScript {
    let name: String
    let text: String

    init(_ name: String, _ body: String, before: String = "") {
        self.name = name
        text = "local stream = require 'stream'\n" + before + "\nprint 'GO'\n" + body + "\nprint 'STOP'\nprint 'END'\n"
    }
}

private func pipeline(_ name: String, _ stages: String, _ end: String = ":collect()") -> SweptScript {
    SweptScript("pipeline-" + name, "stream.from(stream.range(1, 12))\(stages)\(end)")
}

let sweptScripts: [SweptScript] =
    [
        SweptScript(
            "library",
            "local s = require 'stream' assert(require('helper').double(2) == 4) print(pcall(require, 'none'))"),
        SweptScript(
            "channels",
            """
            local c = stream.chan(2) c:send({ a = 1, stream.chan(1) }) c:try_send('x') assert(not c:try_send(3))
            local t = c:recv() assert(t.a == 1) c:try_recv() c:recv(0.01) c:send('last') print(#c, c:capacity(), c)
            c:close() for v in c:range() do assert(v == 'last') end print(c:is_closed(), c:send(1), c:recv())
            print(pcall(c.send, 5))
            """),
        SweptScript(
            "rendezvous",
            """
            local c = stream.chan(0)
            local t = stream.go(function() for i = 1, 3 do c:send({ i }) end c:close() end)
            for v in c:range() do assert(v[1]) end print(t:wait(), t:status())
            """),
        SweptScript(
            "select",
            """
            local a, b = stream.chan(1), stream.chan(0)
            a:send({ 1 }) print(stream.select { { recv = a, run = function(v) return v[1] end }, { recv = b }, { send = b, value = { stream.chan(1) } } })
            print(stream.select { { recv = b }, { after = 0.01 } }, stream.select { { recv = b }, { default = true } })
            stream.go(function() b:send('v') end) print(stream.select { { recv = a }, { recv = b } })
            print(pcall(stream.select, { { recv = 5 } }))
            """),
        SweptScript(
            "tasks",
            """
            local t = stream.go(function(a, b) stream.sleep(0.01) return a + b, { a } end, 1, 2) print(t:wait())
            local f = stream.go(function() error('own') end) print(f:wait(), f:status())
            local c = stream.go(function() local x <close> = setmetatable({}, { __close = function() end }) stream.sleep(10) end)
            stream.sleep(0.01) c:cancel('enough') print(c:wait(1))
            """),
        SweptScript(
            "groups",
            """
            local g = stream.group { limit = 2 } for i = 1, 4 do g:go(function() stream.sleep(0.01) return i end) end print(g:wait())
            local h = stream.group() h:go(function() error('bad') end) h:go(stream.sleep, 5) print(h:wait()) h:cancel('x')
            """),
        SweptScript(
            "contexts",
            """
            local base = stream.context() local c = base:with_cancel() local v = c:with_value('k', { 1 })
            c:on_end(function(reason) print(reason) end)
            v:run(function() print(stream.context():value('k')[1]) stream.sleep(0.01) end)
            local d = stream.any_context(c, base:with_timeout(0.01)) print(d:done():recv(), d:err(), d:cause(), d:deadline())
            c:cancel('why') print(c:err(), c:cause(), v:without_cancel():err(), base:with_deadline(stream.now() + 1):deadline())
            print(pcall(v.run, v, error, 'x')) local k = coroutine.wrap(function() v:run(function() coroutine.yield(1) end) end) k() k()
            """),
        SweptScript(
            "limiters",
            """
            local b = stream.token_bucket { rate = 100, burst = 2 } print(b:allow(), b:wait(2), b:available(), b:rate())
            local wait, back = b:reserve(1) print(wait, b:set_rate(50), b:set_burst(3)) back()
            local k = stream.token_bucket { rate = 10, keys = 4 } print(k:of('a'):allow(), k:of('b'):wait())
            print(stream.leaky_bucket { rate = 10, capacity = 4 }:wait(), stream.fixed_window { limit = 2, window = 1 }:allow(), stream.sliding_window { limit = 2, window = 1 }:allow())
            """),
        SweptScript(
            "concurrency",
            """
            local c = stream.concurrency { limit = 1 } local p = c:acquire() print(c:acquire(0.01), c:available()) p:release()
            print(c:run(function(a) return a end, 5), pcall(c.run, c, error, 'x'))
            stream.go(function() c:run(stream.sleep, 0.01) end) print(c:run(function() return 1 end))
            local a = stream.adaptive { min = 10, max = 100, target = '10ms' } a:report(0.01, true) print(a:rate(), c:of('k'):acquire())
            """),
        SweptScript(
            "timers",
            "local t = stream.ticker(0.01) t:recv() t:close() print(stream.after(0.01):recv(), stream.now(), stream.sleep(0.01))"
        ),
        SweptScript(
            "once",
            "local o = stream.once(function() stream.sleep(0.01) return { 1 } end) stream.go(o) print(o()[1], o()[1]) print(pcall(stream.once(error), 'x'))"
        ),
        SweptScript(
            "json",
            """
            local j = stream.json local t = j.decode('{"a":[1,2.5,"\\\\u00e9",null,{}],"long":"0123456789012345678901234567890123456789"}')
            print(j.encode(t), j.encode({ z = 1, a = { 1, 2 } }), j.encode(stream.array {}), j.decode('[1,') ) print(pcall(j.encode, print))
            """),
        SweptScript(
            "workers",
            """
            print(w:start({ 5 }, stream.chan(1)):wait()) print(pcall(w.start, w, error)) print(w:start(5):wait()) local s = w:start('slow') s:cancel() print(s:wait())
            """,
            before:
                "local up = { n = 2, deep = { {} } } local w = stream.worker('w', function(a, c) up.n = up.n + 1 if a == 'slow' then stream.sleep(9) end return a[1] + up.n end)"
        ),
        SweptScript(
            "bytes",
            """
            local r, w = stream.pipe(8) stream.go(function() w:write('line one\\nline two and more\\nrest') w:close() end)
            print(r:read_line(), r:read(3), r:read_exactly(4), r:read_all()) r:close()
            local c = stream.chan(3) c:send('ab\\nc') c:send('d\\n') c:close() for l in stream.reader(c):lines() do print(l) end
            local d = stream.chan(3) local x = stream.writer(d) x:write('abc') x:flush() x:close() print(d:recv())
            """),
        SweptScript(
            "log",
            "stream.log.info('x', { a = 1, b = { 2 } }) stream.log.error('y') print({ 1, { 2 } }, 'z', nil) warn('w', 'x')"
        ),
        SweptScript(
            "host",
            "local h = stream.host print(h.echo({ 1, 2.5, 'x' })) print(h.echo({ a = { true } }), h.echo(nil), pcall(function() return h.none end))"
        ),
        SweptScript(
            "errors",
            "print(pcall(stream.chan, -1)) print(pcall(stream.from, 5)) print(pcall(stream.sleep, 'x')) print(pcall(function() stream.chan(1):nothing() end))"
        ),
        SweptScript(
            "coroutines",
            "local c = coroutine.wrap(function() stream.sleep(0.01) coroutine.yield(1) error('e') end) print(c(), pcall(c)) print(xpcall(error, function(m) return { m } end, 'x'))"
        ),
        pipeline("map", ":map('m', function(v) return { v } end):filter('f', function(v) return v[1] % 2 == 0 end)"),
        pipeline(
            "each",
            ":each('e', function(v) end, { workers = 2 }):map('n', function(v) return v end, { workers = 2, ordered = true })"
        ),
        pipeline("flat-map", ":flat_map('f', function(v, emit) emit(v) emit({ v }) end)"),
        pipeline("stage", ":stage('s', function(input, output) for v in input:range() do output:send({ v }) end end)"),
        pipeline(
            "scan",
            ":scan('s', { 0 }, function(s, v) return { s[1] + v } end):reduce('r', 0, function(s, v) return s + v[1] end)"
        ),
        pipeline("take", ":skip(2):take(4):batch { size = 2 }:buffer { capacity = 2 }"),
        pipeline(
            "keyed",
            ":map('k', function(v) return { id = v % 3, v = v } end):map('w', function(v) return v.v end, { workers = 2, key = 'id' })"
        ),
        pipeline(
            "chain",
            ":map('a', function(v) return { v, x = v } end):map('b', function(v) return v end, { isolated = false }):filter('c', function(v) return v.x > 3 end, { isolated = false })"
        ),
        pipeline(
            "timeout",
            ":map('t', function(v) if v == 2 then stream.sleep(1) end return v end, { timeout = 0.1, on_error = 'skip' })"
        ),
        pipeline(
            "queue",
            ":map('q', function(v) return { v } end, { queue = { capacity = 1, overflow = 'drop_oldest', on_drop = stream.chan(20) } })"
        ),
        pipeline("limit", ":limit(stream.token_bucket { rate = 1000, burst = 4 })"),
        pipeline("sink", ":map('m', function(v) return { v } end):to(function(v) end)", " print(stream.run())"),
        pipeline(
            "host-sink", ":map('m', function(v) return { v = v, w = { 1 } } end):to(stream.stdout { format = 'json' })",
            " print(stream.run())"),
        pipeline(
            "states",
            ":map('s', { setup = function() n = 0 end, process = function(v) n = n + 1 return v end, flush = function(emit) emit({ n }) end, teardown = function(r) print(r) end }, { workers = 2 })"
        ),
        pipeline(
            "errors",
            ":map('x', function(v) if v % 4 == 0 then error({ v }) end return v end, { on_error = 'skip' }):map('y', function(v) if v == 3 then return print end return v end, { on_error = 'skip' })"
        ),
        SweptScript(
            "pipeline-fails",
            "local p = stream.from(stream.values { 1, { 2 }, 3 }):map('m', function(v) if v == 3 then error('three') end return v end):to(stream.null_sink()) print(p:wait()) print(p:stats().created)"
        ),
        SweptScript(
            "pipeline-cancel",
            "local p = stream.from(stream.generate(function(emit) local n = 0 repeat n = n + 1 until not emit({ n }) end)):each('e', function() stream.sleep(0.01) end):to(stream.null_sink()) stream.sleep(0.02) p:cancel('enough') print(p:wait())"
        ),
        SweptScript(
            "pipeline-graph",
            """
            local c = stream.chan(30)
            local p = stream.from(stream.range(1, 6)):map('h', function(v) return { v, k = v } end)
            p:merge(stream.from(stream.values { { 7, k = 7 } })):tee(function(b) b:map('t', function(v) return v end):to(c) end)
              :route { { when = function(v) return v.k > 4 end, to = function(b) b:to(stream.null_sink()) end }, otherwise = function(b) b:to(c) end }
            print(stream.run())
            """),
        SweptScript(
            "pipeline-channels",
            "local a, b = stream.chan(4), stream.chan(4) stream.go(function() for i = 1, 6 do a:send({ i, stream.chan(1) }) end a:close() end) stream.from(a):map('m', function(v) return v end):to(b) local n = 0 for v in b:range() do n = n + v[1] end print(n)"
        ),
        SweptScript(
            "records",
            """
            local j = stream.json.decode('[{"a":1,"b":2,"c":3,"d":{"e":4}},{"a":5,"b":6,"c":7,"d":{"e":[]}}]')
            local l = stream.from(stream.values(j)):map('m', function(v) v.d.e = v.a v.new = { v.b } return v end)
              :map('n', function(v) v.c = nil return v end):collect()
            print(#l, l[1].d.e, stream.json.encode(l[2]))
            """),
    ]

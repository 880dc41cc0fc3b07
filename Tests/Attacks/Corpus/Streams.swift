// Floods, and stages that do not play their part.

extension Corpus {
    /// A stage that has its channels itself.
    private static func stage(
        _ name: String, _ limit: Limit, _ body: String, passes: [String]? = [], outcome: Outcome = .stopped
    ) -> Attack {
        Attack(
            .streams, name, limit, body,
            place: .chain(
                """
                stream.from(stream.range(1, 1000000000)):stage("hostile", function(from, to)
                  input, output = from, to
                  attack()
                end, { memory = "64MB" })
                """, passes: passes), before: "local input, output", outcome: outcome)
    }

    static let floods = [
        Attack(.floods, "print", .timeout, "while true do print(('x'):rep(1000)) end"),
        Attack(
            .floods, "print of ever longer lines", .timeout,
            "local s = 'x' while true do print(s) s = #s < most // 32 and s .. s or 'x' end"),
        Attack(.floods, "print, by the output of a value", .output, "while true do print(('x'):rep(1000)) end"),
        Attack(
            .floods, "print under pcall, by the output of a value", .output,
            "while true do pcall(print, ('x'):rep(1000)) end"),
        Attack(
            .floods, "values into a channel, by the output of a value", .output,
            """
            local queue = stream.chan(1)
            while true do
              pcall(queue.try_send, queue, ("x"):rep(1000))
              queue:try_recv()
            end
            """),
        Attack(.floods, "warn", .timeout, "while true do warn('x') end"),
        Attack(.floods, "log", .timeout, "while true do stream.log.error(('x'):rep(100), { a = 1 }) end"),
        Attack(
            .floods, "values out of one value", .timeout, "while true do emit(value) end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):flat_map("hostile", function(v, give)
                  emit = give
                  if v == 2 then attack(v) else emit(v) end
                end, OPTIONS):filter("none", function(v) return v ~= 2 end)
                """), before: "local emit"),
    ]

    static let streams = [
        Attack(
            .tasks, "tasks that start tasks", .timeout,
            """
            local live = 1 -- as many as memory holds would be stopped for that
            local function again()
              live = live - 1
              repeat stream.go(again) live = live + 1 until live >= 20000
            end
            again()
            while true do stream.sleep(0) end
            """),
        Attack(
            .tasks, "tasks that end at once", .timeout, "while true do stream.go(function() end):wait() end"),
        Attack(.tasks, "channels that nobody keeps", .timeout, "while true do stream.chan(1) end"),
        Attack(
            .tasks, "timers that nobody keeps", .timeout,
            "while true do local t <close> = stream.ticker(1e-6) stream.after(0):recv() end"),
        Attack(
            .tasks, "a loop beside tickers that are always due", .timeout,
            "local keep = {} for i = 1, 10 do keep[i] = stream.ticker(1e-9) end while true do end"),
        Attack(
            .tasks, "contexts that end", .timeout,
            "while true do local ctx <close> = stream.context():with_timeout(1e-6) ctx:on_end(print) end"),
        Attack(
            .tasks, "keys of a limiter", .timeout,
            """
            local bucket, n = stream.token_bucket { rate = 1, burst = 1, keys = 100 }, 0
            while true do n = n + 1 bucket:of("key " .. n):allow() end
            """),
        Attack(
            .tasks, "workers that start workers", .cancel,
            """
            local spawn = stream.worker("again", function() stream.sleep(0.001) return 1 end)
            while true do spawn:start():wait() end
            """),
        stage(
            "tasks that start tasks", .cancel,
            """
            local live = 1
            local function again()
              live = live - 1
              repeat stream.go(again) live = live + 1 until live >= 20000
            end
            again()
            stream.sleep(1e6)
            """),
        Attack(
            .streams, "a task that starts the next, when the stage's function has ended", .cancel,
            "local function again() stream.go(again) end again() stream.sleep(1e6)",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):stage("hostile", function(input, output)
                  stream.go(attack)
                end, { memory = "64MB" })
                """, passes: [])),
        stage("never reads, never writes", .cancel, "stream.sleep(1e6)"),
        stage("reads and never writes", .cancel, "while true do input:recv() end"),
        stage("neither waits nor reads", .cancel, "while true do pcall(function() while true do end end) end"),
        stage("loops until it is told the end, and goes on", .cancel, "while true do pcall(stream.sleep, 0.001) end"),
        stage(
            "closes its output and goes on writing", .refusal,
            "print((pcall(output.close, output))) print((output:try_send(1)))", passes: nil,
            outcome: .prints(["true", "nil"])),
        Attack(
            .streams, "a setup that never ends", .cancel, "while true do pcall(function() while true do end end) end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):map("hostile", {
                  setup = function() attack() end,
                  process = function(v) return v end,
                }, OPTIONS)
                """, passes: [])),
        Attack(
            .streams, "a generator that never gives anything", .cancel, "while true do end",
            place: .chain(
                """
                stream.from(stream.generate(function() attack() end)):map("next", function(v) return v end)
                """, passes: [])),
        Attack(
            .streams, "a key function that never returns", .cancel, "while true do end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):map("hostile", function(v) return v end,
                  { workers = 2, key = function(v) if v == 2 then attack(v) end return v end })
                """, passes: nil)),
        Attack(
            .streams, "keeps a permit when it is stopped", .timeout,
            "permits:acquire() while true do end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):map("hostile", function(v)
                  if v == 2 then attack(v) end
                  local permit <close> = assert(permits:acquire("2s"))
                  return v
                end, OPTIONS)
                """), before: "local permits = stream.concurrency { limit = 1 }"),
        Attack(
            .streams, "a teardown that never ends", .timeout, "while true do end",
            place: .chain(
                """
                stream.from(stream.values { 1, 2, 3 }):map("hostile", {
                  process = function(v)
                    if v == 2 then attack(v) end
                    return v
                  end,
                  teardown = function(reason) while reason ~= "done" do pcall(function() while true do end end) end end,
                }, OPTIONS)
                """)),
        Attack(
            .streams, "closes a channel that others use", prints: ["true\ttrue", "false"],
            before: "local shared = stream.chan(2)",
            """
            shared:send(1)
            print(tostring((pcall(shared.close, shared))) .. "\\t" .. tostring(shared:is_closed()))
            print((pcall(shared.close, shared)))
            """),
        Attack(
            .streams, "cancels a context that is not its own", .refusal, "print(pcall(ctx.cancel, ctx, 'mine'))",
            place: .map, before: "local ctx = stream.context():with_cancel()", outcome: .prints(["true"])),
        Attack(
            .streams, "waits for what never comes", .timeout,
            "local never = stream.chan(0) while true do never:recv() never:send(1) stream.select {} end"),
    ]
}

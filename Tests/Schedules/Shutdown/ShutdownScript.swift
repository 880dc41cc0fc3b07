// Scripts drawn by a seed for the shutdown schedules: pipelines, tasks, groups, contexts, workers, limiters, pipes.
import StreamCore

/// Bugs put into the scripts, which the same checks must find.
package enum ShutdownFault: Sendable {
    /// A stage's teardown is called at its flush, too.
    case teardownTwice
    /// A task that is cancelled keeps its permit.
    case permitKept
    /// A sink that is told of a value twice.
    case deliveredTwice
}

/// Writes one script. Whatever happens in it is told to `note(what, which)`, by which the run's own counts are checked.
struct ShutdownScript {
    private var random: SplitMix64
    private let fault: ShutdownFault?
    private var lines: [String] = []
    private var pipelines = 0, names = 0, tasks = 0

    init(seed: UInt64, fault: ShutdownFault?) {
        random = SplitMix64(seed: seed &* 0x9E37 &+ 17)
        self.fault = fault
    }

    private mutating func below(_ n: Int) -> Int { Int(random.next() % UInt64(n)) }
    private mutating func chance(_ n: Int) -> Bool { below(n) == 0 }
    private mutating func pick(_ choices: [String]) -> String { choices[below(choices.count)] }
    private mutating func name(_ prefix: String) -> String {
        names += 1
        return "\(prefix)\(names)"
    }

    mutating func write() -> String {
        lines = [Self.head]
        for _ in 0..<1 + below(3) { pipeline() }
        for _ in 0..<1 + below(4) { task(inWorker: false) }
        if chance(2) { worker() }
        lines.append("stream.sleep(\"\(below(40))ms\")")
        lines.append(Self.foot(fault))
        return lines.joined(separator: "\n")
    }

    /// `keep` does not end with the run's context: what is in it sees the end of all the others.
    private static let head = """
        local stream = require "stream"
        local function note(what, which) stream.host.note(what, which) end
        local limit = stream.concurrency { limit = 2 }
        local bucket = stream.token_bucket { rate = 2000, burst = 3 }
        local keep = stream.context():without_cancel()
        local pipelines, tasks, channels, contexts, endless = {}, {}, {}, {}, {}
        local function guard(name)
          note("open", name)
          return setmetatable({}, { __close = function() note("close", name) end })
        end
        """

    private static func foot(_ fault: ShutdownFault?) -> String {
        """
        for _, p in ipairs(endless) do p:cancel() end
        keep:run(function()
          for id, p in pairs(pipelines) do
            p:wait()
            local s = p:stats()
            for _, field in ipairs {
              "created", "delivered", "consumed", "filtered", "failed", "dropped", "dead_lettered", "returned",
            } do
              stream.host.stat(id, field, s[field])
            end
            local drops = 0
            for reason, n in pairs(s.drops) do
              drops = drops + n
              stream.host.stat(id, "drop " .. reason, n)
            end
            stream.host.stat(id, "drops", drops)
          end
          for _, t in ipairs(tasks) do t:wait() end
          for name, ch in pairs(channels) do
            for _ = 1, #ch do
              if ch:try_recv() == nil then break end
              note("left", name)
            end
          end
          for _, ctx in ipairs(contexts) do ctx:cancel() end
          stream.host.stat("limit", "free", limit:available())
        end)
        note("end", "main")
        """
    }

    // MARK: Pipelines

    private mutating func pipeline() {
        pipelines += 1
        let id = "p\(pipelines)"
        var isEndless = false, isPlain = true
        var text = "do\n"
        let source: String
        switch below(5) {
        case 0: source = "stream.range(1, \(1 + below(60)))"
        case 1:
            source = """
                stream.generate(function(emit)
                    local i, g <close> = 0, guard("\(id)")
                    repeat i = i + 1 note("try", "\(id)") local ok = emit(i) if ok then note("made", "\(id)") end if i % 4 == 0 then stream.sleep("1ms") end until not ok
                  end)
                """
            isEndless = true
        case 2:
            source = """
                stream.generate(function(emit)
                    for i = 1, \(below(30)) do
                      note("try", "\(id)")
                      if emit(i) then note("made", "\(id)") end
                      if i % 4 == 0 then stream.sleep("1ms") end
                    end
                  end)
                """
        case 3:
            source = "stream.ticker(\"\(1 + below(3))ms\")"
            isEndless = true
        default:
            let channel = name("feed")
            text += """
                local feed = stream.chan(\([0, 1, 5][below(3)]))
                channels["\(channel)"] = feed
                tasks[#tasks + 1] = stream.go(function()
                  for i = 1, \(1 + below(30)) do if feed:send(i, "20ms") then note("sent", "\(channel)") else break end end
                  if not feed:is_closed() then feed:close() end
                end)
                note("feeds \(channel)", "\(id)")\n
                """
            source = "feed"
        }
        text += "local p = stream.from(\(source))\n"
        for _ in 0..<below(5) { text += stage(id, &isPlain) }
        if isPlain { text += "note(\"plain\", \"\(id)\")\n" }
        let sink =
            fault == .deliveredTwice
            ? "note(\"sunk\", \"\(id)\") note(\"sunk\", \"\(id)\")" : "note(\"sunk\", \"\(id)\")"
        switch below(3) {
        case 0:
            let channel = name("out")
            text += """
                local out = stream.chan(\(below(3)))
                channels["\(channel)"] = out
                tasks[#tasks + 1] = stream.go(function()
                  keep:run(function() for _ in out:range() do \(sink) end end)
                end)
                p = p:to(out)\n
                """
        case 1: text += "p = p:to(function(v) \(sink) stream.sleep(\"\(below(2))ms\") end)\n"
        default: text += "p = p:to(function(v) \(sink) end)\n"
        }
        text += "pipelines[\"\(id)\"] = p\n"
        if isEndless { text += "endless[#endless + 1] = p\n" }
        lines.append(text + "end")
    }

    /// - Parameter isPlain: false once something makes several values of one, or one of several.
    private mutating func stage(_ id: String, _ isPlain: inout Bool) -> String {
        let stage = name("s")
        let options = "{ workers = \(1 + below(3)), ordered = \(chance(2)), queue = \([0, 1, 2, 64][below(4)]) }"
        switch below(14) {
        case 0: return "p = p:map(\"\(stage)\", function(v) return v end, \(options))\n"
        case 1:
            return """
                p = p:filter("\(stage)", function(v)
                  if math.random() < 0.3 then note("filtered", "\(id)") return false end
                  return true
                end, \(options))\n
                """
        case 2: return "p = p:each(\"\(stage)\", function(v) stream.sleep(\"1ms\") end, \(options))\n"
        case 3:
            isPlain = false
            return """
                p = p:flat_map("\(stage)", function(v, emit)
                  local g <close> = guard("\(stage)")
                  for _ = 1, math.random(0, 2) do emit(v) end
                end, \(options))\n
                """
        case 4: return "p = p:limit { rate = 3000, burst = 2 }\n"
        case 5: return "p = p:limit(bucket, { mode = \"drop\" })\n"
        case 6:
            let policy = pick(["block", "drop_newest", "drop_oldest", "latest"])
            let capacity = policy == "latest" ? "" : "capacity = \(1 + below(4)), "
            return "p = p:buffer { \(capacity)overflow = \"\(policy)\" }:map(\"\(stage)\", function(v) return v end)\n"
        case 7:
            return """
                p = p:each("\(stage)", { setup = function() note("setup", "\(stage)") stream.sleep("\(below(2))ms") end,
                  process = function(v) end,
                  flush = function() \(fault == .teardownTwice ? "note(\"teardown\", \"\(stage)\")" : "") end,
                  teardown = function(reason) note("teardown", "\(stage)") stream.sleep("\(below(100))ms") end }, \(options))\n
                """
        case 8:
            isPlain = false
            return """
                p = p:stage("\(stage)", function(input, output, ctx)
                  local g <close> = guard("\(stage)")
                  local cases = { { recv = input }, { recv = ctx:done() }, { after = "3ms" } }
                  while true do
                    local which, v, why = stream.select(cases)
                    if which == 1 and v == nil or which == 2 or which == nil then return end
                    if which == 1 then
                      if math.random() < 0.3 then output:try_send(v) elseif not output:send(v) then return end
                    end
                  end
                end, { queue = \(below(3)) })\n
                """
        case 9:
            isPlain = false
            return """
                p = p:tee(function(branch)
                  branch:buffer { capacity = 2, overflow = "\(pick(["block", "drop_oldest"]))" }
                    :to(function() note("sunk", "\(id)") end)
                end)\n
                """
        case 10:
            isPlain = false
            return "p = p:batch { size = \(1 + below(5)), within = \"2ms\" }\n"
        case 11:
            isPlain = false
            return "p = p:take(\(1 + below(20)))\n"
        case 12:
            return """
                p = p:each("\(stage)", function(v)
                  local permit <close> = limit:acquire()
                  if permit and math.random() < 0.5 then stream.sleep("1ms") end
                end, \(options))\n
                """
        default:
            // raises once in a while: the pipeline fails, and that is received by its wait
            return
                "p = p:each(\"\(stage)\", function(v) if math.random() < 0.03 then error(\"boom\") end end, \(options))\n"
        }
    }

    // MARK: Tasks

    private mutating func worker() {
        tasks += 1
        let before = lines.count
        task(inWorker: true)
        let body = lines[before...].joined(separator: "\n")
        lines.removeSubrange(before...)
        lines.append(
            """
            tasks[#tasks + 1] = stream.worker("w\(tasks)", function()
            local tasks, g <close> = {}, guard("w\(tasks)")
            \(body)
            for _, t in ipairs(tasks) do t:wait() end
            end):start()
            """)
    }

    private mutating func task(inWorker: Bool) {
        let id = name("t")
        let start = "tasks[#tasks + 1] = stream.go(function()\nlocal g <close> = guard(\"\(id)\")\n"
        switch below(inWorker ? 6 : 9) {
        case 0:
            let permit =
                fault == .permitKept
                ? "kept = limit:acquire(\"10ms\")" : "local permit <close> = limit:acquire(\"10ms\")"
            lines.append(start + "for i = 1, 8 do \(permit) if not stream.sleep(\"1ms\") then return end end\nend)")
        case 1:
            lines.append(
                """
                \(start)local group = stream.group { limit = \(1 + below(3)) }
                for i = 1, \(1 + below(6)) do
                  if not group:go(function()
                    local inner <close> = guard("\(id)g")
                    stream.sleep(i / 1000)
                    if math.random() < 0.1 then return nil, "enough" end
                  end) then break end
                end
                group:wait()
                end)
                """)
        case 2:
            lines.append(
                """
                \(start)local ticker <close> = stream.ticker("1ms")
                local ctx <close> = stream.context():with_timeout("\(below(20))ms")
                ctx:run(function()
                  local which, tick
                  repeat which, tick = stream.select { { recv = ticker }, { after = "5ms" }, false }
                  until which == nil or which == 1 and tick == nil
                end)
                end)
                """)
        case 3:
            lines.append(
                """
                \(start)for i = 1, 10 do if not bucket:wait(1, "\(1 + below(5))ms") then break end end
                local wait, back = bucket:reserve(2)
                if wait and not stream.sleep(wait) then back() end
                end)
                """)
        case 4:
            lines.append(
                """
                \(start)local once = stream.once(function()
                  local inner <close> = guard("\(id)o")
                  if not stream.sleep("\(1 + below(4))ms") then error("ended") end
                  note("once", "\(id)")
                  return { 1 }
                end)
                local calls = {}
                for i = 1, 4 do calls[i] = stream.go(function() pcall(once) end) end
                if math.random() < 0.5 then calls[1]:cancel() end
                for i = 1, 4 do calls[i]:wait() end
                end)
                """)
        case 5:
            lines.append(
                """
                \(start)local r, w = stream.pipe(\(1 + below(8)))
                local writer = stream.go(function()
                  local inner <close> = w
                  for i = 1, 10 do if select(2, w:write(("x"):rep(i))) then return end end
                end)
                while r:read(3) do end
                r:close()
                writer:wait()
                end)
                """)
        case 6:
            lines.append(
                """
                do
                local ctx = stream.context():with_timeout("\(below(30))ms")
                contexts[#contexts + 1] = ctx
                note("asked", "\(id)")
                ctx:on_end(function(reason) note("ended", "\(id)") stream.sleep("1ms") end)
                tasks[#tasks + 1] = ctx:run(function()
                  return stream.go(function() local g <close> = guard("\(id)") while stream.sleep("1ms") do end end)
                end)
                end
                """)
        case 7:
            let channel = name("ch")
            lines.append(
                """
                do
                local ch = stream.chan(\([0, 1, 3][below(3)]))
                channels["\(channel)"] = ch
                for i = 1, \(1 + below(3)) do
                  tasks[#tasks + 1] = stream.go(function()
                    local g <close> = guard("\(id)")
                    for k = 1, 10 do
                      local which, ok = stream.select { { send = ch, value = { k, stream.context() } }, { after = "4ms" } }
                      if which ~= 1 or not ok then return end
                      note("sent", "\(channel)")
                    end
                  end)
                end
                tasks[#tasks + 1] = stream.go(function()
                  for k = 1, \(below(20)) do
                    if not ch:recv("\(1 + below(5))ms") then return end
                    note("got", "\(channel)")
                    if k % 3 == 0 then stream.sleep("1ms") end
                  end
                end)
                end
                """)
        default:
            let channel = name("ch")
            lines.append(
                """
                do
                local ch = stream.chan(\(below(4)))
                channels["\(channel)"] = ch
                tasks[#tasks + 1] = stream.worker("\(id)", function()
                  local g <close> = guard("\(id)")
                  for k = 1, \(below(20)) do if ch:send({ k, ch }, "5ms") then note("sent", "\(channel)") else return end end
                end):start()
                tasks[#tasks + 1] = stream.worker("\(id)", function()
                  local g <close> = guard("\(id)")
                  for k = 1, \(below(20)) do if ch:recv("5ms") then note("got", "\(channel)") else return end end
                end):start()
                end
                """)
        }
    }
}

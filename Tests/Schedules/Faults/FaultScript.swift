// The script of a plan: each function tells what it gets and does what the plan says.

struct FaultScript {
    let plan: FaultPlan
    private var lines: [String] = []
    /// The number of the pipeline that is written, and whether its values are records by now.
    private var isRecord = false, hasQueue = false

    private let tells: Bool

    /// - Parameter tells: it says what each stage counted.
    init(_ plan: FaultPlan, tells: Bool) {
        self.plan = plan
        self.tells = tells
    }

    mutating func write() -> String {
        lines = [Self.head, "local tells = \(tells)"]
        for pipeline in plan.pipelines { lines.append("ctxs[\(pipeline.number)] = \(context(pipeline))") }
        for pipeline in plan.pipelines { write(pipeline) }
        for number in 0..<plan.besides { lines.append(beside(number + 1)) }
        for (index, isWaitedFor) in plan.spawned.enumerated() { lines.append(spawned(index + 1, isWaitedFor)) }
        lines.append(Self.foot)
        return lines.joined(separator: "\n")
    }

    /// `keep` does not end with the run's context: what is in it sees the end of all the others.
    private static let head = """
        local stream = require "stream"
        local function idof(v)
          if type(v) ~= "table" then return v end
          return v.id or #v > 0 and idof(v[1]) or 0
        end
        local ctxs = {}
        local function note(what, place, v) stream.host.note(what, place, idof(v)) end
        local function act(point, v)
          local code = stream.host.act(point, idof(v))
          if code == 0 then return end
          if type(v) == "table" and not v.id then for i = 2, #v do note("with", point, v[i]) end end
          if code == 1 then error("boom " .. point, 0)
          elseif code == 2 then stream.sleep("1ms")
          elseif code == 3 then error({ boom = point })
          elseif code == 4 then local t = nil; return t.field
          elseif code == 5 then
            local co = coroutine.wrap(function() local x = 0 for i = 1, 20 do x = x + i end stream.sleep("1ms") coroutine.yield(x) end)
            co()
          elseif code == 6 then table.sort({ 3, 1, 2, 5, 4 }, function(a, b) return a < b end)
          elseif code == 7 then pcall(function() for i = 1, 50 do local s <const> = ("x"):rep(i) end stream.sleep("1ms") end)
          elseif code >= 100 then ctxs[code - 99]:cancel("canceled by the plan") end
        end
        local function sunk(place, v)
          stream.host.message(place)
          if type(v) == "table" and not v.id then
            for _, each in ipairs(v) do stream.host.sunk(place, idof(each)) end
          else stream.host.sunk(place, idof(v)) end
        end
        local limit = stream.concurrency { limit = 2 }
        local bucket = stream.token_bucket { rate = 2000, burst = 5 }
        local keep = stream.context():without_cancel()
        local pipelines, tasks, drops, nexts, letters = {}, {}, {}, {}, {}
        local function drain(id, p, feed)
          tasks[#tasks + 1] = keep:run(function()
            return stream.go(function()
              p:wait()
              for v in feed:range() do note("left", id, v) end
            end)
          end)
        end
        """

    private static let foot = """
        keep:run(function()
          for _, each in ipairs(pipelines) do
            local id, p = each[1], each[2]
            local ok, why = p:wait()
            stream.host.outcome(id, ok and "done" or tostring(why))
            local s = p:stats()
            for _, field in ipairs { "created", "delivered", "filtered", "failed", "dropped", "consumed", "dead_lettered", "returned" } do
              if s[field] then stream.host.stat(id, field, s[field]) end
            end
            if tells then
              for _, stage in ipairs(s.stages) do
                stream.host.say(("%s %s: %d in, %d out, %d filtered, %d failed, %d dropped"):format(
                  id, stage.name, stage.received, stage.emitted, stage.filtered, stage.failed, stage.dropped))
              end
            end
            for reason, n in pairs(s.drops) do stream.host.stat(id, "drop " .. reason, n) end
          end
          for _, t in ipairs(tasks) do t:wait() end
          for id, ch in pairs(drops) do
            while true do
              local v = ch:try_recv()
              if v == nil then break end
              note("shed", id, v)
            end
          end
          for id, ch in pairs(letters) do
            while true do
              local letter = ch:try_recv()
              if letter == nil then break end
              note("dead", id, letter.value)
            end
          end
          stream.sleep("100ms")  -- a collect returns when its context ends, its pipeline ends a little later
          stream.host.stat("limit", "free", limit:available())
        end)
        note("end", "main", 0)
        """

    private func context(_ pipeline: FaultPipeline) -> String {
        pipeline.deadline > 0
            ? "stream.context():with_timeout(\"\(pipeline.deadline)ms\")" : "stream.context():with_cancel()"
    }

    // MARK: Pipelines

    private mutating func write(_ pipeline: FaultPipeline) {
        let id = pipeline.id, base = pipeline.base, last = base + pipeline.count
        isRecord = false
        hasQueue = false
        var text = "do\nlocal feed\n"
        if pipeline.policy == .letters { text += "letters[\"\(id)\"] = stream.chan(1000)\n" }
        let source: String
        switch pipeline.source {
        case .range: source = "stream.range(\(base + 1), \(last))"
        case .values:
            text += "local list = {} for i = \(base + 1), \(last) do list[#list + 1] = i end\n"
            source = "stream.values(list)"
        case .generator:
            source = """
                stream.generate(function(emit)
                  for i = \(base + 1), \(last) do
                    act("\(id)gen", i)
                    note("tried", "\(id)", i)
                    local ok = emit(i)
                    if not ok then break end
                    note("made", "\(id)", i)
                    if i % 16 == 0 then stream.sleep("1ms") end
                  end
                end)
                """
        case .feed(let capacity):
            text += """
                feed = stream.chan(\(capacity))
                tasks[#tasks + 1] = stream.go(function()
                  for i = \(base + 1), \(last) do
                    if not feed:send(i) then break end
                    note("made", "\(id)", i)
                  end
                  feed:close()
                end)

                """
            source = "feed"
        case .host: source = "stream.source(\"\(id)\")"
        case .pipeline:
            text += "feed = nexts[\(pipeline.number - 1)]\n"
            source = "feed"
        }
        text += "local p = stream.from(\(source), { on_error = \(policy(pipeline)) })\n"
        for stage in pipeline.stages { text += write(stage, pipeline) }
        switch pipeline.sink {
        case .function: text += start("p:to(function(v) act(\"\(id)sink\", v) sunk(\"\(id)\", v) end)")
        case .channel(let capacity):
            text += """
                local out = stream.chan(\(capacity))
                tasks[#tasks + 1] = keep:run(function()
                  return stream.go(function() for v in out:range() do sunk("\(id)", v) end end)
                end)

                """
            text += start("p:to(out)")
        case .host:
            text += "p = p:map(\"\(id)ids\", function(v) return idof(v) end)\n"
            text += start("p:to(stream.sink(\"\(id)\"))")
        case .next(let capacity):
            text += "p = p:each(\"\(id)tap\", function(v) note(\"tapped\", \"\(id)\", v) end)\n"
            text += "nexts[\(pipeline.number)] = stream.chan(\(capacity))\n"
            text += start("p:to(nexts[\(pipeline.number)])")
        case .collect:
            text += """
                tasks[#tasks + 1] = ctxs[\(pipeline.number)]:run(function()
                  return stream.go(function()
                    local t, why = p:collect()
                    stream.host.outcome("\(id)", t and "done" or tostring(why))
                    for _, v in ipairs(t or {}) do sunk("\(id)", v) end
                  end)
                end)

                """
            if case .feed = pipeline.source {
                text += "local mine = tasks[#tasks]\ndrain(\"\(id)\", mine, feed)\n"
            } else if case .pipeline = pipeline.source {
                text += "local mine = tasks[#tasks]\ndrain(\"\(id)\", mine, feed)\n"
            }
        }
        if pipeline.sink != .collect {
            text += "pipelines[#pipelines + 1] = { \"\(id)\", p }\nif feed then drain(\"\(id)\", p, feed) end\n"
        }
        lines.append(text + "end")

        func start(_ end: String) -> String {
            "p = ctxs[\(pipeline.number)]:run(function() return \(end) end)\n"
        }
    }

    private func policy(_ pipeline: FaultPipeline) -> String {
        switch pipeline.policy {
        case .plain: pipeline.skipsErrors ? "\"skip\"" : "\"stop\""
        case .letters: "{ to = letters[\"\(pipeline.id)\"] }"
        case .retry: "{ retry = 2, backoff = \"1ms\", otherwise = \"skip\" }"
        case .restart: "{ restart = 50, within = \"1m\" }"
        }
    }

    // MARK: Stages

    private mutating func write(_ stage: FaultStage, _ pipeline: FaultPipeline) -> String {
        let id = pipeline.id, name = stage.name, options = options(stage)
        let nap = stage.naps > 0 ? "stream.sleep(\"\(stage.naps)ms\") " : ""
        let act = "\(nap)act(\"\(name)\", v)"
        var wasQueue = false
        defer { hasQueue = wasQueue }
        switch stage.kind {
        case .record:
            isRecord = true
            return """
                p = p:map("\(name)", function(v) \(act)
                  local id = idof(v)
                  return { id = id, key = id % 3, text = ("x"):rep(id % 7) }
                end, \(options))\n
                """
        case .map:
            return "p = p:map(\"\(name)\", function(v) \(act) return v end, \(options))\n"
        case .filter:
            return """
                p = p:filter("\(name)", function(v) \(act)
                  if idof(v) % 7 == 3 then note("filtered", "\(id)", v) return false end
                  return true
                end, \(options))\n
                """
        case .each: return "p = p:each(\"\(name)\", function(v) \(act) end, \(options))\n"
        case .permit:
            return """
                p = p:each("\(name)", function(v)
                  local permit <close> = limit:acquire()
                  if permit then stream.sleep("1ms") end
                  \(act)
                end, \(options))\n
                """
        case .withParts:
            return """
                p = p:map("\(name)", {
                  setup = function() note("setup", "\(name)", 0) act("\(name)setup", -1) end,
                  process = function(v) \(act) return v end,
                  flush = function() act("\(name)flush", -1) end,
                  teardown = function(reason) note("teardown", "\(name)", 0) act("\(name)teardown", -1) end,
                }, \(options))\n
                """
        case .flatMap:
            let copy = FaultPipeline.copy
            let text = """
                p = p:flat_map("\(name)", function(v, emit) \(act)
                  local id = idof(v)
                  if id % 5 == 0 then return end
                  emit(v)
                  if id % 3 == 0 then emit(\(isRecord ? "{ id = id + \(copy), key = id % 3 }" : "id + \(copy)")) end
                end, \(options))\n
                """
            return text
        case .scan:
            isRecord = true
            return """
                p = p:scan("\(name)", { n = 0 }, function(state, v) \(act)
                  local id = idof(v)
                  return { id = id, key = id % 3, n = state.n + 1 }
                end, \(options))\n
                """
        case .reduce:
            return """
                p = p:reduce("\(name)", {}, function(state, v) \(act)
                  state[#state + 1] = idof(v)
                  return state
                end, \(options))\n
                """
        case .process:
            return """
                p = p:stage("\(name)", function(input, output, ctx)
                  for v in input:range() do
                    \(act)
                    if not output:send(v) then note("held", "\(id)", v) break end
                  end
                end\(hasQueue ? "" : ", { queue = \(stage.queue) }"))\n
                """
        case .batch(let size):
            isRecord = false
            return "p = p:batch { size = \(size), within = \"2ms\" }\n"
        case .limit: return "p = p:limit { rate = 4000, burst = 3 }\n"
        case .limitDrop: return "p = p:limit(bucket, { mode = \"drop\" })\n"
        case .buffer(let overflow):
            wasQueue = true
            var text = "p = p:buffer { overflow = \"\(overflow)\""
            if overflow != "latest" { text += ", capacity = \(max(1, stage.queue % 7))" }
            if overflow == "timeout" { text += ", timeout = \"1ms\"" }
            if overflow != "block" {
                return "drops[\"\(id)\"] = drops[\"\(id)\"] or stream.chan(1000)\n" + text
                    + ", on_drop = drops[\"\(id)\"] }\n"
            }
            return text + " }\n"
        case .tee:
            return """
                p = p:tee(function(branch)
                  branch:map("\(name)tee", function(v) return v end):to(function(v) sunk("\(name)tee", v) end)
                end)\n
                """
        case .route:
            return """
                p = p:route {
                  { name = "even", when = function(v) \(act) return idof(v) % 4 == 0 end,
                    to = function(branch) branch:to(function(v) sunk("\(name)even", v) end) end },
                  { name = "four", when = function(v) return idof(v) % 4 == 1 end,
                    to = function(branch)
                      branch:map("\(name)four", function(v) return v end):to(function(v) sunk("\(name)four", v) end)
                    end },
                  name = "\(name)" }\n
                """
        case .merge(let count):
            let first = pipeline.base + FaultPipeline.merged + 1
            return """
                p = p:merge(stream.from(stream.range(\(first), \(first + count - 1)))
                  :map("\(name)merge", function(v) return \(isRecord ? "{ id = v, key = v % 3 }" : "v") end))\n
                """
        case .take(let n): return "p = p:take(\(n))\n"
        case .skip(let n): return "p = p:skip(\(n))\n"
        }
    }

    private func options(_ stage: FaultStage) -> String {
        var options = ["timeout = \"1h\""]
        if stage.isFused {
            options.append("isolated = false")
        } else {
            if stage.workers > 1 { options.append("workers = \(stage.workers), ordered = \(stage.ordered)") }
            if stage.keyed == 2 && isRecord {
                options.append("key = \"key\"")
            } else if stage.keyed > 0 {
                options.append("key = function(v) act(\"\(stage.name)key\", v) return idof(v) % 3 end")
            }
            if !hasQueue { options.append("queue = \(stage.queue)") }
        }
        return "{ " + options.joined(separator: ", ") + " }"
    }

    // MARK: Beside them

    /// A worker of its own and who hears from it.
    private func spawned(_ number: Int, _ isWaitedFor: Bool) -> String {
        let name = "w\(number)"
        let wait =
            isWaitedFor
            ? "local got, why = t:wait() local outcome = got or tostring(why)"
            : """
            local outcome
            repeat stream.sleep("1ms") outcome = t:status() until outcome ~= "running" and outcome ~= "waiting"
            """
        return """
            do
              local w = stream.worker("\(name)", function(out, count)
                for i = 1, count do
                  local permit <close> = limit:acquire()
                  note("worked", "\(name)", i)
                  if not out:send(i) then return "unsent" end
                  if i % 5 == 0 then stream.sleep("1ms") end
                end
                return "all"
              end)
              local out = stream.chan(\(number))
              local t = w:start(out, 20)
              tasks[#tasks + 1] = keep:run(function()
                return stream.go(function() for i in out:range() do note("heard", "\(name)", i) end end)
              end)
              tasks[#tasks + 1] = keep:run(function()
                return stream.go(function()
                  \(wait)
                  out:close()
                  stream.host.outcome("\(name)", outcome)
                end)
              end)
            end
            """
    }

    /// Tasks that have nothing to do with the pipelines.
    private func beside(_ number: Int) -> String {
        """
        tasks[#tasks + 1] = stream.go(function()
          local ch = stream.chan(\(number))
          local group = stream.group()
          group:go(function()
            for i = 1, 20 do
              if not ch:send(i) then return end
              note("pinged", "b\(number)", i)
              if i % 5 == 0 then stream.sleep("1ms") end
            end
            ch:close()
          end)
          group:go(function() for i in ch:range() do note("ponged", "b\(number)", i) end end)
          group:wait()
        end)
        """
    }
}

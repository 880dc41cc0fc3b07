// Scripts drawn by a seed in which everything that has an end tells of its beginning and its end.
import StreamCore

/// A stage that tells of each of its workers: when it is set up, what it has in hand, how it is torn down.
struct CleanupStage {
    enum Kind: CaseIterable { case map, each, flatMap, filter, process }
    var kind = Kind.map
    let name: String
    var workers = 1, ordered = false, isFused = false, naps = false
    /// Its values have less time than its naps take: their waits end early.
    var isHurried = false
}

/// How a pipeline comes to its end.
enum CleanupWay: Equatable {
    /// As its source does.
    case done
    /// Its context is cancelled, or its time is over, milliseconds.
    case canceled(after: Int), deadline(Int)
    /// A stage's function raises at the n-th of its values: in that phase.
    case raises(stage: Int, phase: String, call: Int)
    /// The sink's function raises, or the generator.
    case sinkRaises(Int), generatorRaises(Int)
}

struct CleanupPipeline {
    let number: Int
    var count = 20
    var isGenerated = false, isFed = false
    var stages: [CleanupStage] = []
    var way = CleanupWay.done
    /// What follows a failure. With `restart` a fresh worker takes the place of the one that failed, so often at most.
    enum Policy: Equatable { case stop, skip, restart(Int) }
    var policy = Policy.stop
    var id: String { "p\(number)" }
}

struct CleanupPlan {
    var pipelines: [CleanupPipeline] = []
    /// Steps at which a worker is stopped: as in FaultPlan.
    var strikes: [FaultStrike] = []
    private var dice: FaultDice

    init(seed: UInt64) {
        dice = FaultDice(seed &* 0x5851_F42D &+ 29)
        for number in 1...1 + dice.below(2) { pipelines.append(pipeline(number)) }
        let step = [60, 400, 1500][dice.below(3)]
        switch dice.below(6) {
        case 0, 1, 2:
            for _ in 0..<1 + dice.below(2) {
                strikes.append(
                    .stop(
                        step: dice.below(step), choice: UInt64(dice.below(1 << 40)), kind: dice.pick([1, 1, 2, 3, 4]),
                        instructions: 1 + dice.below([20, 200, 2000][dice.below(3)])))
            }
        case 3: strikes.append(dice.chance(2) ? .cancel(step: dice.below(step)) : .drain(step: dice.below(step)))
        default: break
        }
    }

    private mutating func pipeline(_ number: Int) -> CleanupPipeline {
        var result = CleanupPipeline(number: number)
        result.count = 5 + dice.below(30)
        result.isGenerated = dice.chance(3)
        result.isFed = !result.isGenerated && dice.chance(3)
        result.policy = dice.pick([.stop, .stop, .skip, .skip, .restart(1 + dice.below(9))])
        for index in 1...1 + dice.below(3) {
            var stage = CleanupStage(name: "\(result.id)s\(index)")
            stage.kind = dice.pick(CleanupStage.Kind.allCases)
            stage.naps = dice.chance(2)
            stage.isHurried = stage.kind != .process && stage.naps && dice.chance(6)
            if stage.kind != .process && dice.chance(2) {
                stage.workers = 2 + dice.below(2)
                stage.ordered = dice.chance(2)
            }
            let before = result.stages.last
            if stage.kind != .process, before.map({ $0.kind != .process }) ?? result.isGenerated, dice.chance(3) {
                stage.isFused = true
                stage.workers = 1
            }
            result.stages.append(stage)
        }
        // What runs in a generator's worker cannot begin anew.
        if case .restart = result.policy, result.isGenerated { result.stages[0].isFused = false }
        switch dice.below(9) {
        case 0, 1: break
        case 5 where result.isGenerated: result.way = .generatorRaises(1 + dice.below(result.count))
        case 2: result.way = .canceled(after: dice.below(20))
        case 3: result.way = .deadline(1 + dice.below(20))
        case 4: result.way = .sinkRaises(1 + dice.below(result.count))
        default:
            result.way = .raises(
                stage: dice.below(result.stages.count),
                phase: dice.pick(["process", "process", "setup", "flush", "teardown"]),
                call: 1 + dice.below(10))
        }
        return result
    }
}

/// Writes the script of a plan.
struct CleanupScript {
    let plan: CleanupPlan

    func write() -> String {
        let fed = plan.pipelines.map(write).joined(separator: "\n")
        return [Self.head, fed, Self.foot].joined(separator: "\n")
    }

    /// `say(what, place, who, more)`: what a worker or a task tells of itself; `who` is a number that it has alone.
    private static let head = """
        local stream = require "stream"
        local function say(what, place, who, more) stream.host.say(what, place, who, more or "") end
        local function new() return stream.host.new() end
        local function guard(place)
          local who = new()
          say("open", place, who)
          return setmetatable({}, { __close = function(_, problem) say("close", place, who, tostring(problem ~= nil)) end })
        end
        local function told(ctx, place, who)
          say("asking", place, who)
          ctx:on_end(function(reason)
            say("begun", place, who, reason)
            local g <close> = guard(place .. "end")
            say("ended", place, who, reason)
          end)
          say("asked", place, who)
        end
        local limit = stream.concurrency { limit = 3 }
        local slow = stream.token_bucket { rate = 0.01, burst = 1 }
        local keep = stream.context():without_cancel()
        local pipelines, tasks, outs = {}, {}, {}
        """

    private static let foot = """
        keep:run(function()
          for _, each in ipairs(pipelines) do
            local id, p = each[1], each[2]
            local ok, why = p:wait()
            stream.host.outcome(id, ok and "done" or tostring(why))
          end
          for _, t in ipairs(tasks) do t:wait() end
          for id, out in pairs(outs) do if not out:is_closed() then say("left open", id, 0) end end
          stream.sleep("200ms")  -- tasks of workers, and what their contexts' ends have started
          stream.host.stat("limit", "free", limit:available())
          local wait = slow:reserve(1)
          stream.host.stat("slow", "seconds", math.ceil(wait))
        end)
        say("end", "main", 0)
        """

    private func write(_ p: CleanupPipeline) -> String {
        let id = p.id
        var text = "do\n"
        var context = "stream.context():with_cancel()"
        if case .deadline(let time) = p.way { context = "stream.context():with_timeout(\"\(time)ms\")" }
        text += "local ctx = \(context)\n"
        text += "told(ctx, \"\(id)ctx\", new())\n"
        var source = "stream.range(1, \(p.count))"
        if p.isGenerated {
            var raise = ""
            if case .generatorRaises(let n) = p.way {
                raise = "if i == \(n) then say(\"raised\", \"\(id)gen\", 0, \"generate\") error(\"boom\") end"
            }
            source = """
                stream.generate(function(emit)
                  local g <close> = guard("\(id)gen")
                  for i = 1, \(p.count) do
                    \(raise)
                    if not emit(i) then return end
                    if i % 4 == 0 then stream.sleep("1ms") end
                  end
                end)
                """
        } else if p.isFed {
            text += """
                local feed = stream.chan(2)
                tasks[#tasks + 1] = ctx:run(function()
                  return stream.go(function()
                    local g <close> = guard("\(id)feed")
                    do local permit <close> = limit:acquire() stream.sleep("1ms") end
                    for i = 1, \(p.count) do if not feed:send(i) then break end end
                    feed:close()
                  end)
                end)\n
                """
            source = "feed"
        }
        let policy =
            switch p.policy {
            case .stop: "\"stop\""
            case .skip: "\"skip\""
            case .restart(let count): "{ restart = \(count), within = \"1h\" }"
            }
        text += "local p = stream.from(\(source), { on_error = \(policy) })\n"
        for (index, stage) in p.stages.enumerated() {
            var phase = "", call = 0
            if case .raises(index, let where_, let n) = p.way { (phase, call) = (where_, n) }
            text += write(stage, phase, call)
        }
        var raise = ""
        if case .sinkRaises(let n) = p.way {
            raise = "if count == \(n) then say(\"raised\", \"\(id)sink\", 0, \"sink\") error(\"sink\") end"
        }
        text += """
            local count, out = 0, stream.chan(4)
            outs["\(id)"] = out
            p = p:tee(function(branch) branch:to(out) end)
            tasks[#tasks + 1] = keep:run(function() return stream.go(function() for _ in out:range() do end end) end)
            p = ctx:run(function()
              return p:to(function(v)
                local g <close> = guard("\(id)sink")
                count = count + 1
                \(raise)
              end)
            end)
            pipelines[#pipelines + 1] = { "\(id)", p }\n
            """
        if case .canceled(let time) = p.way {
            text += "tasks[#tasks + 1] = stream.go(function() stream.sleep(\"\(time)ms\") ctx:cancel() end)\n"
        }
        text +=
            "tasks[#tasks + 1] = keep:run(function() return stream.go(function() p:wait() ctx:cancel() say(\"over\", \"\(id)ctx\", 0) end) end)\n"
        return text + "end"
    }

    private func write(_ stage: CleanupStage, _ phase: String, _ call: Int) -> String {
        let name = stage.name
        func raise(_ at: String) -> String {
            guard phase == at else { return "" }
            if at == "process" {
                return
                    "calls = calls + 1 if calls == \(call) then say(\"raised\", \"\(name)\", me, \"process\") error(\"boom\") end"
            }
            return "say(\"raised\", \"\(name)\", me, \"\(at)\") error(\"boom\")"
        }
        let nap = stage.naps ? "stream.sleep(\"1ms\")" : ""
        var options: [String] = []
        if stage.isFused { options.append("isolated = false") }
        if stage.kind != .process { options.append("timeout = \"\(stage.isHurried ? "500us" : "1h")\"") }
        if stage.workers > 1 { options.append("workers = \(stage.workers), ordered = \(stage.ordered)") }
        let result =
            switch stage.kind {
            case .flatMap: "emit(v) emit(v)"
            case .filter: "return v % 5 ~= 2"
            case .each, .process: ""
            case .map: "return v"
            }
        let hand = """
            local g <close> = guard("\(name)")
            do
              local permit <close> = limit:acquire()
              local inner <close> = stream.context():with_cancel()
              \(nap)
              \(raise("process"))
            end
            """
        let process =
            stage.kind == .process
            ? """
            process = function(input, output, ctx)
              local whole <close> = guard("\(name)whole")
              for v in input:range() do
                \(hand)
                if not output:send(v) then return end
              end
            end
            """
            : """
            process = function(v, emit)
              \(hand)
              \(result)
            end
            """
        let method = ["map": "map", "each": "each", "flatMap": "flat_map", "filter": "filter", "process": "stage"][
            "\(stage.kind)"]!
        return """
            do
            local me, calls, mine = 0, 0
            p = p:\(method)("\(name)", {
              setup = function(ctx)
                me = new()
                say("setup", "\(name)", me)
                local g <close> = guard("\(name)setup")
                slow:reserve(1)
                do local kept <close> = limit:acquire("1us") end
                stream.ticker("1h")
                mine = stream.context():without_cancel():with_cancel()
                told(mine, "\(name)", me)
                \(raise("setup"))
              end,
              \(process),
              flush = function()
                say("flush", "\(name)", me)
                local g <close> = guard("\(name)flush")
                \(raise("flush"))
                say("flushed", "\(name)", me)
              end,
              teardown = function(reason)
                say("teardown", "\(name)", me, reason)
                local g <close> = guard("\(name)teardown")
                if mine then
                  say("ending", "\(name)", me)
                  mine:cancel()
                  say("over", "\(name)", me)
                end
                \(raise("teardown"))
                say("torn", "\(name)", me)
              end,
            }, { \(options.joined(separator: ", ")) })
            end\n
            """
    }
}

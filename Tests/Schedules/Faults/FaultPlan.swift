// Programs of pipelines drawn by a seed, and the faults that are put into them.
import StreamCore
import StreamRuntime

/// Draws numbers for one seed.
struct FaultDice {
    private var random: SplitMix64
    init(_ seed: UInt64) { random = SplitMix64(seed: seed) }
    mutating func below(_ n: Int) -> Int { Int(random.next() % UInt64(max(1, n))) }
    mutating func chance(_ n: Int) -> Bool { below(n) == 0 }
    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
}

/// One step of a pipeline.
struct FaultStage {
    enum Kind: Equatable {
        case record, map, filter, each, permit, flatMap, scan, reduce, process, batch(Int), limit, limitDrop
        case buffer(String), tee, route, merge(Int), take(Int), skip(Int), withParts
    }
    var kind: Kind
    /// Names the stage and its functions: `p1s2`.
    let name: String
    var workers = 1, ordered = false, keyed = 0, queue = 64
    var isFused = false
    /// How long its function sleeps each time, milliseconds.
    var naps = 0
}

/// A pipeline: a source of numbered values, steps, and an end.
struct FaultPipeline {
    enum Source: Equatable { case range, values, generator, feed(Int), host, pipeline(Int) }
    enum Sink: Equatable { case function, channel(Int), host, collect, next(Int) }

    let number: Int
    var source = Source.range
    var count = 20
    var stages: [FaultStage] = []
    var sink = Sink.function
    var skipsErrors = false
    /// What follows a failure where that is more than to skip the value.
    enum Policy { case plain, letters, retry, restart }
    var policy = Policy.plain
    /// Of its context, milliseconds; 0: none.
    var deadline = 0
    var sourceFault = FaultSource.Fault.none
    var sinkFault = FaultSink.Fault.none

    var id: String { "p\(number)" }
    /// Its values are numbered from the one after this.
    var base: Int { number * 10_000 }
    /// What a merge adds is numbered from here.
    static let merged = 5000
    /// The second value that a flat_map makes of one is so much above it.
    static let copy = 1_000_000

    /// Every value comes to one place at most: nothing is copied, gathered or folded.
    var isPlain: Bool {
        !stages.contains {
            switch $0.kind {
            case .flatMap, .reduce, .batch, .tee: true
            default: false
            }
        }
    }
    /// Several values come to the end as one.
    var gathers: Bool {
        stages.contains {
            switch $0.kind {
            case .batch, .reduce: true
            default: false
            }
        }
    }
    /// Its end may come before the source's.
    var endsEarly: Bool { stages.contains { if case .take = $0.kind { true } else { false } } }
    var skips: Int { stages.reduce(0) { if case .skip(let n) = $1.kind { $0 + n } else { $0 } } }
    /// Values come to the end in the order of their numbers.
    var keepsOrder: Bool {
        for stage in stages {
            if stage.workers > 1 && !stage.ordered { return false }
            if case .merge = stage.kind { return false }
        }
        return true
    }
}

/// Something that happens at one place of one program.
enum FaultStrike {
    /// What a function of the script does the n-th time that it is called: see `act` in the script.
    case act(point: String, call: Int, code: Int)
    /// A worker is stopped after so many instructions, at a step of the scheduler.
    case stop(step: Int, choice: UInt64, kind: Int, instructions: Int, reach: Run.StrikeReach = .stages)
    /// All that the run does at a step.
    case drain(step: Int), cancel(step: Int), stopComputing(step: Int)
}

struct FaultPlan {
    var pipelines: [FaultPipeline] = []
    var strikes: [FaultStrike] = []
    var besides = 0
    /// Workers of `stream.worker` beside them: whether their results are waited for.
    var spawned: [Bool] = []

    private var dice: FaultDice
    private var points: [String] = []

    init(seed: UInt64) {
        dice = FaultDice(seed &* 0x2545_F491 &+ 11)
        let count = 1 + dice.below(3)
        for number in 1...count { pipelines.append(pipeline(number, isLast: number == count)) }
        besides = dice.below(3)
        for _ in 0..<dice.below(3) { spawned.append(!dice.chance(3)) }
        for index in pipelines.indices where pipelines[index].skipsErrors { setPolicy(index) }
        if !dice.chance(8) { for _ in 0..<1 + dice.below(3) { strike() } }  // one in eight is left alone
    }

    // MARK: Pipelines

    private mutating func pipeline(_ number: Int, isLast: Bool) -> FaultPipeline {
        var result = FaultPipeline(number: number)
        result.count = 10 + dice.below(60)
        result.skipsErrors = dice.chance(2)
        if let last = pipelines.last, case .next = last.sink {
            result.source = .pipeline(last.number)
        } else {
            result.source = dice.pick([.range, .values, .generator, .feed(dice.pick([0, 1, 8])), .host])
        }
        if result.source == .generator { points.append("\(result.id)gen") }
        if dice.chance(2) {
            result.stages.append(FaultStage(kind: .record, name: "\(result.id)s0"))
            points.append("\(result.id)s0")
        }
        for index in 1...1 + dice.below(5) {
            let stage = stage("\(result.id)s\(index)", result)
            result.stages.append(stage)
        }
        result.sink =
            isLast || dice.chance(2)
            ? dice.pick([.function, .function, .channel(dice.below(4)), .host, .collect]) : .next(dice.pick([0, 1, 8]))
        if case .next = result.sink {  // what it passes on has to be numbered one by one
            result.stages.removeAll { stage in
                switch stage.kind {
                case .batch, .reduce, .flatMap, .tee, .route: true
                default: false
                }
            }
        }
        if result.sink == .host && result.gathers { result.sink = .function }
        if result.sink == .function { points.append("\(result.id)sink") }
        if result.source != .generator, !result.stages.isEmpty { result.stages[0].isFused = false }
        for index in result.stages.indices.dropFirst() where result.stages[index].isFused {
            switch result.stages[index - 1].kind {
            case .record, .map, .filter, .each, .permit, .flatMap, .scan, .reduce, .withParts: break
            default: result.stages[index].isFused = false
            }
        }
        return result
    }

    /// A policy that all of its stages can have.
    private mutating func setPolicy(_ index: Int) {
        let stages = pipelines[index].stages
        let isFused = stages.contains(where: \.isFused)
        let begins = stages.contains { [.process, .reduce].contains($0.kind) } || pipelines[index].source == .generator
        switch dice.below(6) {
        case 0: pipelines[index].policy = .letters
        case 1 where !isFused: pipelines[index].policy = .retry
        case 2 where !isFused && !begins: pipelines[index].policy = .restart
        default: break
        }
    }

    private mutating func stage(_ name: String, _ pipeline: FaultPipeline) -> FaultStage {
        let gathered = pipeline.gathers
        var kind: FaultStage.Kind =
            switch dice.below(20) {
            case 0...2: .map
            case 3: .filter
            case 4: .each
            case 5: .permit
            case 6: .flatMap
            case 7: .scan
            case 8: .reduce
            case 9: .process
            case 10: .batch(1 + dice.below(6))
            case 11: .limit
            case 12: .limitDrop
            case 13: .buffer(dice.pick(["block", "drop_newest", "drop_oldest", "latest", "fail", "timeout"]))
            case 14: .tee
            case 15: .route
            case 16: .merge(5 + dice.below(20))
            case 17: .take(1 + dice.below(60))
            case 18: .skip(1 + dice.below(10))
            default: .withParts
            }
        if gathered, kind != .map && kind != .each && kind != .permit && kind != .process { kind = .map }
        if case .merge = kind, pipeline.stages.contains(where: { if case .merge = $0.kind { true } else { false } }) {
            kind = .map
        }
        if kind == .flatMap, pipeline.stages.contains(where: { $0.kind == .flatMap }) { kind = .each }
        var stage = FaultStage(kind: kind, name: name)
        stage.queue = dice.pick([0, 1, 2, 16, 256])
        stage.naps = dice.chance(6) ? 1 : 0
        switch kind {
        case .map, .filter, .each, .permit, .flatMap, .withParts:
            stage.isFused = dice.chance(4)
            if !stage.isFused && dice.chance(2) {
                stage.workers = 2 + dice.below(2)
                stage.ordered = dice.chance(2)
                if dice.chance(3) && !gathered { stage.keyed = 1 + dice.below(2) }
            }
            points.append(name)
            if stage.keyed == 1 { points.append(name + "key") }
            if kind == .withParts { points += ["setup", "flush", "teardown"].map { name + $0 } }
        case .scan, .reduce:
            if dice.chance(2) {
                stage.workers = 2
                stage.keyed = 1
                points.append(name + "key")
            }
            points.append(name)
        case .process, .route, .record: points.append(name)
        default: break
        }
        return stage
    }

    // MARK: Faults

    private mutating func stop(within steps: Int, kinds: [Int], _ reach: Run.StrikeReach) -> FaultStrike {
        .stop(
            step: dice.below(steps), choice: UInt64(dice.below(1 << 40)), kind: dice.pick(kinds),
            instructions: 1 + dice.below([10, 200, 3000][dice.below(3)]), reach: reach)
    }

    private mutating func strike() {
        let index = dice.below(pipelines.count)
        let step = [30, 200, 1000, 3000][dice.below(4)]
        switch dice.below(14) {
        case 0, 1, 2, 3:
            // what a function does: raises, twice in three
            let code = dice.pick([1, 1, 3, 4, 2, 5, 6, 7, 100 + dice.below(pipelines.count)])
            if points.isEmpty { return }
            strikes.append(.act(point: dice.pick(points), call: 1 + dice.below(dice.pick([1, 10, 60])), code: code))
        case 4, 5, 6:
            strikes.append(stop(within: step, kinds: [1, 1, 2, 3, 4], .stages))
        case 12:
            if spawned.isEmpty { spawned.append(!dice.chance(3)) }
            strikes.append(stop(within: min(step, 200), kinds: [2, 2, 3, 4], .spawned))
        case 13: strikes.append(stop(within: step, kinds: [2, 2, 3, 3, 3], .main))
        case 7: strikes.append(.cancel(step: dice.below(step)))
        case 8: strikes.append(dice.chance(3) ? .stopComputing(step: dice.below(step)) : .drain(step: dice.below(step)))
        case 9: pipelines[index].deadline = 1 + dice.below(30)
        case 10:
            if pipelines[index].source != .host, case .pipeline = pipelines[index].source { return }
            pipelines[index].source = .host
            if !pipelines[index].stages.isEmpty { pipelines[index].stages[0].isFused = false }
            let n = dice.below(pipelines[index].count + 1)
            pipelines[index].sourceFault = dice.pick([
                .fails(n), .stalls(n), .isSlow(1 + dice.below(9)), .ends(n),
                pipelines[index].policy == .plain ? .delivers(garbageAt: n) : .ends(n),
            ])
        default:
            if case .next = pipelines[index].sink { return }
            if pipelines[index].gathers { return }
            pipelines[index].sink = .host
            let n = dice.below(pipelines[index].count + 1)
            pipelines[index].sinkFault = dice.pick([
                .failsToOpen, .fails(n), .failsToFlush(n), .failsToClose, .stalls(n), .isSlow(1 + dice.below(9)),
                .breaks(n),
            ])
        }
    }
}

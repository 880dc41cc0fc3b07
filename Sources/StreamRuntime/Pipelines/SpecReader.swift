// Reads the table that the Lua side of the library passes to `declare`.
import LuaVM
import StreamCore

/// Reads the checked table that describes a pipeline.
struct SpecReader {
    let stack: LuaStack
    let vm: OpaquePointer

    private typealias Spec = PipelineSpec

    private func string(_ table: Int32, _ name: String) -> String? {
        defer { stack.pop() }
        stack.getField(table, name)
        return stack.string(-1)
    }
    private func integer(_ table: Int32, _ name: String) -> Int64? {
        defer { stack.pop() }
        stack.getField(table, name)
        return stack.integer(-1)
    }
    private func flag(_ table: Int32, _ name: String) -> Bool {
        defer { stack.pop() }
        stack.getField(table, name)
        return stack.boolean(-1)
    }
    private func reference(_ table: Int32, _ name: String) -> Int32 {
        stack.getField(table, name)
        return stack.makeReference()
    }
    private func channel(_ table: Int32, _ name: String = "channel") -> Channel? {
        stack.getField(table, name)
        defer { stack.pop() }
        return HostAPI.channel(stack, -1)
    }
    /// Reads the field `name` with `body`, which gets its index.
    private func field<T>(
        _ table: Int32, _ name: String, _ body: (Int32) throws(LuaProblem) -> T
    ) throws(LuaProblem) -> T {
        stack.getField(table, name)
        defer { stack.pop() }
        return try body(stack.top)
    }
    private func list<T>(_ table: Int32, _ body: (Int32) throws(LuaProblem) -> T) throws(LuaProblem) -> [T] {
        guard stack.ensure(8) else { throw LuaProblem("not enough memory") }
        var values: [T] = []
        for position in 1..<(1 + stack.count(table)) {
            stack.getIndex(table, position)
            defer { stack.pop() }
            values.append(try body(stack.top))
        }
        return values
    }

    /// The spec in the table at `index`; a problem: what the Lua side let through cannot be used.
    func read(_ index: Int32) throws(LuaProblem) -> PipelineSpec {
        var spec = PipelineSpec()
        let table = stack.absolute(index)
        spec.place = string(table, "place") ?? ""
        spec.chain = try chain(table)
        return spec
    }

    private func chain(_ table: Int32) throws(LuaProblem) -> PipelineSpec.ChainSpec {
        guard stack.ensure(16) else { throw LuaProblem("not enough memory") }
        var chain = PipelineSpec.ChainSpec()
        chain.source = try field(table, "source") { source throws(LuaProblem) in try self.source(source) }
        let steps = try field(table, "stages") { stages throws(LuaProblem) in
            try list(stages) { stage throws(LuaProblem) in (try self.stage(stage), self.flag(stage, "fused")) }
        }
        for (step, isFused) in steps {
            if !isFused {
                chain.steps.append(step)
            } else if let last = chain.steps.indices.last {
                chain.steps[last].fused.append(step)
            } else if case .generate(let code, let fused) = chain.source.kind {
                chain.source.kind = .generate(code: code, fused: fused + [step])
            }
        }
        chain.sink = try field(table, "sink") { sink throws(LuaProblem) in self.sink(sink) }
        chain.queue.capacity = Int(integer(table, "queue") ?? 256)
        if let bytes = integer(table, "queue_bytes") { chain.queue.bytes = Int(bytes) }
        chain.queue.policy = policy(table)
        chain.queue.isDeclared = flag(table, "has_buffer")
        return chain
    }

    private func policy(_ table: Int32) -> OverflowPolicy {
        OverflowPolicy(
            string(table, "overflow").flatMap { Overflow(name: $0) } ?? .block,
            timeout: integer(table, "overflow_timeout") ?? 0, onDrop: channel(table, "on_drop"))
    }

    /// The field `on_error`: nil, or what the Lua side has made of the option.
    private func onError(_ table: Int32) -> (ErrorPolicy, PipelineSpec.LetterSpec?) {
        stack.getField(table, "on_error")
        defer { stack.pop() }
        guard stack.type(-1) == .table else { return (.stop, nil) }
        let options = stack.top
        var policy = ErrorPolicy()
        policy.retries = Int(integer(options, "retry") ?? 0)
        policy.backoff = integer(options, "backoff") ?? 0
        policy.skips = flag(options, "skips")
        policy.restarts = integer(options, "restart").map { Int($0) }
        policy.window = integer(options, "within") ?? policy.window
        stack.getField(options, "to")
        defer { stack.pop() }
        let sink = sink(stack.top)
        switch sink {
        case .none: return (policy, nil)
        case .channel(let channel, _):
            policy.hasLetters = true
            return (policy, PipelineSpec.LetterSpec(key: .channel(ObjectIdentifier(channel)), sink: sink))
        default:
            policy.hasLetters = true
            return (policy, PipelineSpec.LetterSpec(key: .sink(integer(options, "number") ?? 0), sink: sink))
        }
    }

    private func connector(_ table: Int32, _ kind: String) -> ConnectorOptions {
        ConnectorOptions(
            kind: kind, path: string(table, "path"), format: string(table, "format") ?? "lines",
            append: flag(table, "append"), follow: flag(table, "follow"), fromEnd: string(table, "from") == "end",
            columns: strings(table, "columns"))
    }

    private func strings(_ table: Int32, _ name: String) -> [String] {
        stack.getField(table, name)
        defer { stack.pop() }
        guard !stack.isNil(-1) else { return [] }
        let list = stack.top
        return (1..<(1 + stack.count(list))).map { position in
            defer { stack.pop() }
            stack.getIndex(list, position)
            return stack.string(-1) ?? ""
        }
    }

    private func key(_ table: Int32) -> PipelineSpec.StageSpec.Key? {
        stack.getField(table, "key")
        defer { stack.pop() }
        if let name = stack.bytes(-1) { return .field(Array(name)) }
        return stack.type(-1) == .function ? .function : nil
    }

    private func source(_ table: Int32) throws(LuaProblem) -> PipelineSpec.SourceSpec {
        var source = PipelineSpec.SourceSpec()
        source.place = string(table, "place") ?? ""
        (source.onError, source.letters) = onError(table)
        let kind = string(table, "kind") ?? ""
        switch kind {
        case "range":
            source.kind = .range(
                first: integer(table, "first") ?? 1, last: integer(table, "last") ?? .max,
                step: integer(table, "step") ?? 1)
        case "values":
            let batch = Batch()
            stack.getField(table, "values")
            let values = stack.top
            _ = stack.settle(values)
            for position in 1..<(1 + stack.count(values)) {
                stack.getIndex(values, position)
                switch stack.encode(-1, in: vm) {
                case .success(let message): batch.append(message)
                case .failure(let problem):
                    stack.pop(2)
                    throw LuaProblem("stream.values, element \(position): \(problem)")
                }
                stack.pop()
            }
            stack.pop()
            source.kind = .values(batch)
        case "generate": source.kind = .generate(code: reference(table, "code"), fused: [])
        case "channel": source.kind = channel(table).map { .channel($0) } ?? .none
        case "branch": source.kind = .branch
        default: source.kind = .connector(connector(table, kind))
        }
        return source
    }

    private func stage(_ table: Int32) throws(LuaProblem) -> PipelineSpec.StageSpec {
        var stage = PipelineSpec.StageSpec()
        stage.name = string(table, "name") ?? ""
        stage.place = string(table, "place") ?? ""
        stage.workers = Int(integer(table, "workers") ?? 1)
        stage.queue = Int(integer(table, "queue") ?? 256)
        if let bytes = integer(table, "queue_bytes") { stage.bytes = Int(bytes) }
        stage.policy = policy(table)
        stage.declaresQueue = stage.policy.overflow != .block || flag(table, "has_buffer")
        stage.memory = Int(integer(table, "memory") ?? 0)
        stage.timeout = integer(table, "timeout")
        stage.cpu = integer(table, "cpu")
        stage.maxOutput = integer(table, "max_output")
        stage.maxValue = integer(table, "max_value").map { Int($0) }
        (stage.onError, stage.letters) = onError(table)
        stage.ordered = flag(table, "ordered")
        stage.key = key(table)
        let n = Int(integer(table, "n") ?? 0)
        switch string(table, "op") ?? "" {
        case "map": stage.kind = .script(.map)
        case "filter": stage.kind = .script(.filter)
        case "each": stage.kind = .script(.each)
        case "flat_map": stage.kind = .script(.flatMap)
        case "scan": stage.kind = .script(.scan)
        case "reduce": stage.kind = .script(.reduce)
        case "stage": stage.kind = .process
        case "skip": stage.kind = .skip(n)
        case "pass": stage.kind = .pass
        case "batch": stage.kind = .batch(size: n > 0 ? n : .max, within: integer(table, "within"))
        case "merge":
            stage.kind = .merge(
                try field(table, "chains") { chains throws(LuaProblem) in
                    try list(chains) { chain throws(LuaProblem) in try self.chain(chain) }
                })
        case "tee": stage.kind = .tee(try branches(table))
        case "route":
            let otherwise = try field(table, "otherwise") {
                branch throws(LuaProblem) -> PipelineSpec.BranchSpec? in
                stack.isNil(branch) ? nil : try self.branch(branch)
            }
            stage.kind = .route(try branches(table), otherwise: otherwise)
        case "limit": stage.kind = try limit(table)
        default: stage.kind = .take(n)
        }
        stack.getField(table, "code")
        if stack.isNil(-1) { stack.pop() } else { stage.code = stack.makeReference() }
        return stage
    }

    private func limit(_ table: Int32) throws(LuaProblem) -> PipelineSpec.StageSpec.Kind {
        let limiter = try field(table, "limiter") { index throws(LuaProblem) -> Limiter in
            guard let limiter = HostAPI.limiter(stack, index) else { throw LuaProblem("limit expected a limiter") }
            return limiter
        }
        let other = try field(table, "other") { sink throws(LuaProblem) -> PipelineSpec.BranchSpec? in
            guard !stack.isNil(sink) else { return nil }
            var chain = PipelineSpec.ChainSpec()
            chain.source.kind = .branch
            chain.sink = self.sink(sink)
            return PipelineSpec.BranchSpec(name: "limited", chains: [chain])
        }
        return .limit(limiter, drops: string(table, "mode") == "drop", other: other)
    }

    private func branches(_ table: Int32) throws(LuaProblem) -> [PipelineSpec.BranchSpec] {
        try field(table, "branches") { branches throws(LuaProblem) in
            try list(branches) { branch throws(LuaProblem) in try self.branch(branch) }
        }
    }

    private func branch(_ table: Int32) throws(LuaProblem) -> PipelineSpec.BranchSpec {
        var branch = PipelineSpec.BranchSpec()
        branch.name = string(table, "name") ?? ""
        branch.chains = try field(table, "chains") { chains throws(LuaProblem) in
            try list(chains) { chain throws(LuaProblem) in try self.chain(chain) }
        }
        return branch
    }

    private func sink(_ table: Int32) -> PipelineSpec.SinkSpec {
        guard !stack.isNil(table) else { return .none }
        let kind = string(table, "kind") ?? ""
        switch kind {
        case "null": return .null
        case "collect": return .collect
        case "channel": return channel(table).map { .channel($0, close: !flag(table, "keep_open")) } ?? .none
        case "function": return .function(reference(table, "code"))
        default: return .connector(connector(table, kind))
        }
    }
}

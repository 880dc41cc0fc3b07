// A pipeline as its declaration describes it: read from the table that the Lua side has checked.
import LuaVM
import StreamCore

/// What a pipeline consists of. Functions stay in the declaring worker's state, under references, until it starts.
struct PipelineSpec {
    /// Where it was declared: `script.lua:3`.
    var place = ""
    var source = SourceSpec()
    var stages: [StageSpec] = []
    var sink = SinkSpec.none

    struct SourceSpec {
        enum Kind {
            case none
            case connector(ConnectorOptions)
            case range(first: Int64, last: Int64, step: Int64)
            case values(Batch)
            case generate(code: Int32, fused: [StageSpec])
            case channel(Channel)
        }
        var kind = Kind.none
        var skipsBadInput = false
    }

    enum SinkSpec {
        case none, null, collect
        case connector(ConnectorOptions)
        case channel(Channel, close: Bool)
        case function(Int32)
    }

    struct StageSpec {
        enum Kind {
            case script(StageForm)
            /// `:stage(name, fn)`: a whole process.
            case process
            case take(Int), skip(Int)
        }
        var kind = Kind.take(0)
        var name = ""
        var place = ""
        /// Reference of the table of its functions.
        var code: Int32 = 0
        var workers = 1
        var queue = 256
        var skipsErrors = false
        var memory = 0
        /// Several workers keep the order of the input.
        var ordered = false
        /// The same key always goes to the same worker.
        var key: Key?
        /// The stages after it that run in its workers and get its very values.
        var fused: [StageSpec] = []

        enum Key {
            case field([UInt8])
            /// The field `key` of `code`.
            case function
        }
    }
}

/// Reads the checked table that the Lua side passes to `declare`.
struct SpecReader {
    let stack: LuaStack

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

    /// The spec in the table at `index`; nil and a problem: what the Lua side let through cannot be used.
    func read(_ index: Int32, vm: OpaquePointer) -> Result<PipelineSpec, LuaProblem> {
        var spec = PipelineSpec()
        let table = stack.absolute(index)
        spec.place = string(table, "place") ?? ""
        stack.getField(table, "source")
        switch source(stack.top, vm: vm) {
        case .success(let source): spec.source = source
        case .failure(let problem):
            stack.pop()
            return .failure(problem)
        }
        stack.pop()
        stack.getField(table, "stages")
        let stages = stack.top
        for position in 1..<(1 + stack.count(stages)) {
            stack.getIndex(stages, position)
            let stage = stage(stack.top)
            if !flag(stack.top, "fused") {
                spec.stages.append(stage)
            } else if let last = spec.stages.indices.last {
                spec.stages[last].fused.append(stage)
            } else if case .generate(let code, let fused) = spec.source.kind {
                spec.source.kind = .generate(code: code, fused: fused + [stage])
            }
            stack.pop()
        }
        stack.pop()
        stack.getField(table, "sink")
        spec.sink = sink(stack.top)
        stack.pop()
        return .success(spec)
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

    private func channel(_ table: Int32) -> Channel? {
        stack.getField(table, "channel")
        defer { stack.pop() }
        return HostAPI.channel(stack, -1)
    }

    private func source(_ table: Int32, vm: OpaquePointer) -> Result<PipelineSpec.SourceSpec, LuaProblem> {
        var source = PipelineSpec.SourceSpec()
        source.skipsBadInput = string(table, "on_error") == "skip"
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
                    return .failure(LuaProblem("stream.values, element \(position): \(problem)"))
                }
                stack.pop()
            }
            stack.pop()
            source.kind = .values(batch)
        case "generate": source.kind = .generate(code: reference(table, "code"), fused: [])
        case "channel": source.kind = channel(table).map { .channel($0) } ?? .none
        default: source.kind = .connector(connector(table, kind))
        }
        return .success(source)
    }

    private func stage(_ table: Int32) -> PipelineSpec.StageSpec {
        var stage = PipelineSpec.StageSpec()
        stage.name = string(table, "name") ?? ""
        stage.place = string(table, "place") ?? ""
        stage.workers = Int(integer(table, "workers") ?? 1)
        stage.queue = Int(integer(table, "queue") ?? 256)
        stage.memory = Int(integer(table, "memory") ?? 0)
        stage.skipsErrors = string(table, "on_error") == "skip"
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
        default: stage.kind = .take(n)
        }
        stack.getField(table, "code")
        if stack.isNil(-1) { stack.pop() } else { stage.code = stack.makeReference() }
        return stage
    }

    private func key(_ table: Int32) -> PipelineSpec.StageSpec.Key? {
        stack.getField(table, "key")
        defer { stack.pop() }
        if let name = stack.bytes(-1) { return .field(Array(name)) }
        return stack.type(-1) == .function ? .function : nil
    }

    private func sink(_ table: Int32) -> PipelineSpec.SinkSpec {
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

// JSON, modules, and functions of the embedding program.
import LuaVM
import StreamCore

/// A plain value that crosses between a script and a Swift function.
public enum HostValue: Sendable, Equatable {
    case null, boolean(Bool), integer(Int64), float(Double), string(String)
    case array([HostValue]), table([String: HostValue])
}

extension HostAPI {
    /// json_encode(value): text; what cannot be written raises.
    static let encodeJSON: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        if stack.top == 0 { stack.pushNil() }
        if stack.isNil(1) {
            return misuse(worker, stack, "cannot write value as JSON: nil (stream.null is JSON's null)")
        }
        if let problem = stack.encodeJSON(1) { return misuse(worker, stack, problem.description) }
        return 1
    }

    /// json_decode(text): the value, or nil and the reason.
    static let decodeJSON: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let text = stack.bytes(1) else {
            return misuse(worker, stack, "argument 1 of json.decode expected a string, got \(stack.kind(1))")
        }
        if let problem = stack.decodeJSON(text) { return refuse(stack, problem.description) }
        return 1
    }

    /// mark_array(table): the table, marked as an array.
    static let markArray: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard stack.type(1) == .table else {
            return misuse(Worker.of(vm), stack, "argument 1 of array expected a table, got \(stack.kind(1))")
        }
        stack.setTop(1)
        stack.markArray()
        return 1
    }

    static let pushNull: LuaFunction = { state, vm in
        LuaStack(state).pushNull()
        return 1
    }

    /// Finds a module: the embedded library, or a file beside the script.
    static let findModule: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let name = stack.string(-1) ?? ""
        if name == "stream" || name == "stream.test" {
            if name == "stream.test", worker.run.environment.test == nil {
                return misuse(
                    worker, stack,
                    "module 'stream.test' is there in tests only: run this file with `streamhost test "
                        + "\(worker.run.environment.scriptPath)`")
            }
            // Loading records it as what require returns, so this asks again.
            guard loadLibrary(worker, stack) else {
                stack.push("not enough memory")
                return LuaResult.raise
            }
            stack.push("return require '\(name)'")
            stack.push("=[stream]")
            return 2
        }
        guard let module = worker.run.environment.readModule(name) else {
            let file = name.replacing(".", with: "/")
            return misuse(
                worker, stack, "module '\(name)' not found: no \(file).lua or \(file)/init.lua beside the script")
        }
        module.source.withUnsafeBytes { stack.push($0) }
        stack.push("@" + module.path)
        return 2
    }

    // MARK: Functions of the embedding program

    /// has_host(name)
    static let hasHost: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(stack.string(1).map { Worker.of(vm).run.environment.functions[$0] != nil } ?? false)
        return 1
    }

    static let hasSource: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(Worker.of(vm).run.environment.sourceNames.contains(stack.string(1) ?? ""))
        return 1
    }

    static let hasSink: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(Worker.of(vm).run.environment.sinkNames.contains(stack.string(1) ?? ""))
        return 1
    }

    /// call(name, ...): what the Swift function of that name returns; its error is raised.
    static let callHost: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let name = stack.string(1), let function = worker.run.environment.functions[name] else {
            return misuse(worker, stack, "the host has no function '\(stack.string(1) ?? "")'")
        }
        var arguments: [HostValue] = []
        if stack.top >= 2 {
            for index in 2...stack.top {
                guard let value = hostValue(stack, index, depth: 0) else {
                    return misuse(
                        worker, stack, "argument \(index - 1) of host.\(name): \(stack.kind(index)) cannot cross")
                }
                arguments.append(value)
            }
        }
        do {
            let result = try function(arguments)
            push(stack, result)
            return 1
        } catch {
            let place = stack.place
            stack.push((place.isEmpty ? "" : place + ": ") + "host.\(name): \(error)")
            return LuaResult.raise
        }
    }

    private static func hostValue(_ stack: LuaStack, _ index: Int32, depth: Int) -> HostValue? {
        guard depth < 100, stack.ensure(6) else { return nil }
        switch stack.type(index) {
        case .nil, .none: return .null
        case .boolean: return .boolean(stack.boolean(index))
        case .number: return stack.isInteger(index) ? .integer(stack.integer(index)!) : .float(stack.number(index)!)
        case .string: return .string(stack.string(index)!)
        case .lightUserdata: return .null
        case .table:
            guard stack.settle(index) else { return nil }
            let table = stack.absolute(index), count = stack.count(table)
            if count > 0 {
                var values: [HostValue] = []
                for position in 1...count {
                    stack.getIndex(table, position)
                    let value = hostValue(stack, -1, depth: depth + 1)
                    stack.pop()
                    guard let value else { return nil }
                    values.append(value)
                }
                return .array(values)
            }
            var fields: [String: HostValue] = [:]
            stack.pushNil()
            while stack.next(table) {
                guard let key = stack.string(-2), let value = hostValue(stack, -1, depth: depth + 1) else {
                    stack.pop(2)
                    return nil
                }
                fields[key] = value
                stack.pop()
            }
            return .table(fields)
        default: return nil
        }
    }

    static func push(_ stack: LuaStack, _ value: HostValue) {
        guard stack.ensure(6) else { return stack.pushNil() }
        switch value {
        case .null: stack.pushNull()
        case .boolean(let value): stack.push(value)
        case .integer(let value): stack.push(value)
        case .float(let value): stack.push(value)
        case .string(let value): stack.push(value)
        case .array(let values):
            stack.pushTable()
            for (index, value) in values.enumerated() {
                push(stack, value)
                stack.setIndex(-2, Int64(index + 1))
            }
        case .table(let fields):
            stack.pushTable()
            for (name, value) in fields {
                push(stack, value)
                stack.setField(-2, name)
            }
        }
    }
}

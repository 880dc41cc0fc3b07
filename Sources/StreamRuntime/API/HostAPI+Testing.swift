// What `stream.test` asks of the host: declaring cases, recording assertions, and `t`.
import LuaVM
import StreamCore

extension HostAPI {
    static let testType = LuaObjectType(
        "test", phrase: "a test's t", shared: true, methods: [], metamethods: [("__index", testIndex)])

    static let testFunctions: [(String, LuaFunction)] = [
        ("is_test", isTest), ("test_case", declareTest), ("test_check", countCheck), ("test_fail", failTest),
        ("keep_test", keepTest), ("is_t", isTestObject), ("format_number", formatNumber),
    ]

    /// is_test(): whether this is a run of `streamhost test`.
    private static let isTest: LuaFunction = { state, vm in
        LuaStack(state).push(Worker.of(vm).run.environment.test != nil)
        return 1
    }

    /// test_case(name, schedules, real, leaks, limit, fn), all of them checked.
    private static let declareTest: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let test = worker.run.environment.test else { return 0 }
        var declaration = TestDeclaration(name: stack.string(1) ?? "", place: stack.place)
        declaration.schedules = Int(stack.integer(2) ?? 1)
        declaration.isReal = stack.boolean(3)
        declaration.reportsLeaks = stack.boolean(4)
        if let limit = nanoseconds(stack, 5), !stack.isNil(5) { declaration.limit = limit }
        guard worker.isMain else {
            return misuse(worker, stack, "test.case belongs to the top level of the file, and this is a stage")
        }
        if let problem = test.declare(declaration, stack) { return misuse(worker, stack, problem) }
        return 0
    }

    private static let countCheck: LuaFunction = { state, vm in
        Worker.of(vm).run.environment.test?.countCheck()
        return 0
    }

    /// test_fail(text [, differences, expected, actual]): records it, whatever the script does then, and raises it.
    private static let failTest: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let place = stack.place
        var failure = TestFailure(message: stack.string(1) ?? "", place: place)
        if stack.type(2) == .table {
            for index in 1..<(1 + stack.count(2)) {
                stack.getIndex(2, index)
                failure.differences.append(stack.string(-1) ?? "")
                stack.pop()
            }
        }
        failure.expected = stack.string(3)
        failure.actual = stack.string(4)
        worker.run.environment.test?.record(failure)
        stack.push((place.isEmpty ? "" : place + ": ") + failure.message)
        return LuaResult.raise
    }

    /// keep_test(module, checks): what `require "stream.test"` returns, and the table of what `t` has, with
    /// the function `["?"]` for the message about what it has not.
    private static let keepTest: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.setTop(2)
        Worker.of(vm).testChecks = stack.makeReference()
        Worker.of(vm).testLibrary = stack.makeReference()
        return 0
    }

    /// t.name: the function, from this worker's copy of the library.
    private static let testIndex: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let top = stack.top
        if worker.testChecks == 0 { loadLibrary(worker, stack) }
        stack.setTop(top)
        guard worker.testChecks != 0, let name = stack.string(2) else {
            return misuse(worker, stack, "t has no field \(stack.describe(2))")
        }
        stack.push(reference: worker.testChecks)
        if stack.getField(-1, name) == .function { return 1 }
        stack.pop()
        stack.getField(-1, "?")
        stack.push(name)
        if stack.call(arguments: 1, results: 1) != nil { stack.push("t has no '\(name)'") }
        return misuse(worker, stack, stack.string(-1) ?? "")
    }

    private static let isTestObject: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(stack.object(1, testType) != nil)
        return 1
    }

    /// format_number(number): as Lua writes it in a program, so that it reads back as the same number.
    private static let formatNumber: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        if stack.isInteger(1) { return 0 }
        let number = stack.number(1) ?? 0
        if number.isNaN {
            stack.push("nan")
        } else if number.isInfinite {
            stack.push(number < 0 ? "-math.huge" : "math.huge")
        } else {
            stack.push("\(number)")  // the shortest text that reads back as the same number
        }
        return 1
    }
}

// A state with a small host: what the tests of LuaVM run scripts in.
import CLuaShim
import Glibc
import Synchronization

@testable import LuaVM

/// A host object that counts who holds it.
struct TestObject {
    var balance = 0
    var retains = 0
    let isShared: Bool
}

typealias TestObjectPointer = UnsafeMutablePointer<TestObject>

private let ping: LuaFunction = { state, _ in
    LuaStack(state).push(Int64(77))
    return 1
}
private let sharedType = LuaObjectType("channel", phrase: "a channel", shared: true, methods: [("ping", ping)])
private let ownType = LuaObjectType("reader", phrase: "a reader", shared: false, methods: [("ping", ping)])

private func type(of object: TestObjectPointer) -> LuaObjectType { object.pointee.isShared ? sharedType : ownType }

final class TestState {
    private static let host: LuaHost = {
        LuaVM.installInterrupt()
        return LuaHost(
            LuaHostFunctions(
                print: { state, vm in
                    TestState.of(vm).lines.append(LuaStack(state).string(-1) ?? "?")
                    return 0
                },
                warn: { _, _ in 0 },
                findModule: { state, _ in
                    let stack = LuaStack(state)
                    stack.push("module '\(stack.string(-1) ?? "")' not found")
                    return LuaResult.raise
                },
                finish: { state, _ in
                    LuaStack(state).push(Int64(42))
                    return 1
                },
                misuse: { state, _ in
                    let stack = LuaStack(state)
                    stack.push("\(stack.place): \(stack.string(-1) ?? "")")
                    return LuaResult.raise
                },
                needLibrary: { _ in }, now: { _ in 1.5 }, wall: { _ in 86400.75 },
                retain: { object in
                    let object = object!.assumingMemoryBound(to: TestObject.self)
                    object.pointee.balance += 1
                    object.pointee.retains += 1
                },
                release: { $0!.assumingMemoryBound(to: TestObject.self).pointee.balance -= 1 },
                typeOf: { type(of: $0!.assumingMemoryBound(to: TestObject.self)).typePointer }))
    }()

    /// Pushed by `shared()` and `own()`.
    let shared = TestObjectPointer.allocate(capacity: 1)
    let own = TestObjectPointer.allocate(capacity: 1)
    private(set) var vm: LuaVM!
    var lines: [String] = []
    /// How often the last program came back to the host.
    private(set) var waits = 0, preemptions = 0
    /// Not nil: the program is preempted after random numbers of instructions, by this seed.
    var preemptionSeed: UInt64?

    init(memoryLimit: Int = 0, seed: UInt64 = 7, hashSeed: UInt32? = nil) {
        LuaVM.attachThread()
        shared.initialize(to: TestObject(isShared: true))
        own.initialize(to: TestObject(isShared: false))
        let owner = Unmanaged.passUnretained(self).toOpaque()
        vm = LuaVM(host: Self.host, owner: owner, memoryLimit: memoryLimit, seed: seed, hashSeed: hashSeed)!
        for (name, function) in Self.functions {
            vm.pushGlobals()
            vm.main.push(function)
            vm.main.setField(-2, name)
            vm.main.pop()
        }
        vm.pushGlobals()
        vm.main.pushNull()
        vm.main.setField(-2, "null")
        vm.main.pop()
    }

    deinit {
        drop()
        shared.deallocate()
        own.deallocate()
    }

    /// Drops the Lua state.
    func drop() { vm = nil }

    private static func of(_ vm: OpaquePointer?) -> TestState {
        Unmanaged<TestState>.fromOpaque(LuaVM.owner(of: vm)!).takeUnretainedValue()
    }

    static let functions: [(String, LuaFunction)] = [
        (
            "wait",
            { state, _ in
                let stack = LuaStack(state)
                if stack.canWait { return LuaResult.wait }
                stack.push("cannot wait here")
                return LuaResult.raise
            }
        ),
        (
            "preempt",
            { _, _ in
                raise(SIGURG)  // the handler runs before this returns
                return 0
            }
        ),
        (
            "kill",
            { _, vm in
                TestState.of(vm).vm.kill()
                raise(SIGURG)
                return 0
            }
        ),
        // arm(): the coroutine that runs is preempted soon, if there is a seed
        (
            "arm",
            { state, vm in
                TestState.of(vm).arm(state!)
                return 0
            }
        ),
        // copy(value): through a message
        (
            "copy",
            { state, vm in
                let stack = LuaStack(state)
                switch stack.encode(1, in: vm!) {
                case .failure(let problem):
                    stack.push(problem.description)
                    return LuaResult.raise
                case .success(let message):
                    defer { shim_message_release(message) { TestState.releaseObject($0) } }
                    return stack.decode(message) ? 1 : LuaResult.raise
                }
            }
        ),
        (
            "array",
            { state, _ in
                LuaStack(state).setTop(1)
                LuaStack(state).markArray()
                return 1
            }
        ),
        // is_array(table)
        (
            "is_array",
            { state, _ in
                let stack = LuaStack(state)
                stack.setTop(1)
                guard lua_getmetatable(stack.state, 1) != 0 else {
                    stack.push(false)
                    return 1
                }
                stack.pushTable()
                stack.markArray()
                _ = lua_getmetatable(stack.state, -1)
                stack.push(lua_rawequal(stack.state, -1, 2) != 0)
                return 1
            }
        ),
        (
            "shared",
            { state, vm in
                LuaStack(state).push(object: TestState.of(vm).shared, sharedType)
                return 1
            }
        ),
        (
            "own",
            { state, vm in
                LuaStack(state).push(object: TestState.of(vm).own, ownType)
                return 1
            }
        ),
        // json(text): the value, or nil and what is wrong
        (
            "json",
            { state, _ in
                let stack = LuaStack(state)
                guard let problem = stack.decodeJSON(stack.bytes(1)!) else { return 1 }
                stack.pushNil()
                stack.push(problem.description)
                return 2
            }
        ),
        // to_json(value): the text, or nil and what is wrong
        (
            "to_json",
            { state, _ in
                let stack = LuaStack(state)
                guard let problem = stack.encodeJSON(1) else { return 1 }
                stack.pushNil()
                stack.push(problem.description)
                return 2
            }
        ),
    ]

    private static func releaseObject(_ object: UnsafeMutableRawPointer?) {
        object!.assumingMemoryBound(to: TestObject.self).pointee.balance -= 1
    }

    /// A count hook that does what the watchdog would: its signal comes to this thread.
    private static let signal: lua_Hook = { state, _ in
        lua_sethook(state, nil, 0, 0)
        raise(SIGURG)
    }

    private func arm(_ state: OpaquePointer) {
        guard let seed = preemptionSeed else { return }
        preemptionSeed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        lua_sethook(state, Self.signal, LUA_MASKCOUNT, 1 + Int32(seed >> 33) % 300)
    }

    enum End: Equatable { case returned, raised(String), stopped, endless }

    /// Runs a program to its end. `limit`: how often it may come back to the host before.
    func run(_ program: String, limit: Int = .max) -> End {
        let source = Array(program.utf8)
        if let problem = source.withUnsafeBytes({ vm.load($0, name: "=t") }) { return .raised(problem) }
        let (task, reference) = vm.makeTask()!
        defer { vm.freeTask(reference) }
        vm.main.move(1, to: task)
        waits = 0
        preemptions = 0
        while waits + preemptions < limit {
            arm(task.state)
            switch vm.resume(task, arguments: 0) {
            case .returned: return .returned
            case .raised: return .raised(task.describe(-1, limit: 2000))
            case .waits: waits += 1
            case .preempted: preemptions += 1
            case .stopped: return .stopped
            }
        }
        return .endless
    }
}

/// Sends SIGURG to the thread that made it, at an interval, until it is stopped.
final class Interrupter: Sendable {
    private let thread: pthread_t

    private final class Work: Sendable {
        let target = pthread_self()
        let first: UInt32, interval: UInt32
        let atFirst: @Sendable () -> Void
        let isOver = Atomic<Bool>(false)
        init(_ first: UInt32, _ interval: UInt32, _ atFirst: @escaping @Sendable () -> Void) {
            self.first = first
            self.interval = interval
            self.atFirst = atFirst
        }
    }
    private let work: Work

    /// Microseconds. `atFirst` is called on the other thread before the first signal.
    init(after first: UInt32 = 0, every interval: UInt32, atFirst: @escaping @Sendable () -> Void = {}) {
        work = Work(first, interval, atFirst)
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                let work = Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue()
                usleep(work.first)
                work.atFirst()
                while !work.isOver.load(ordering: .acquiring) {
                    pthread_kill(work.target, SIGURG)
                    usleep(work.interval)
                }
                return nil
            }, Unmanaged.passRetained(work).toOpaque())
        self.thread = thread
    }

    func stop() {
        work.isOver.store(true, ordering: .releasing)
        pthread_join(thread, nil)
    }
}

// The owner of one lua_State.
import CLuaShim

/// What the host gives to all states: see `shim_host`.
public struct LuaHostFunctions: @unchecked Sendable {  // C functions, set once
    public var print: LuaFunction
    public var warn: LuaFunction
    public var findModule: LuaFunction
    public var finish: LuaFunction
    public var misuse: LuaFunction
    public var needLibrary: @convention(c) (OpaquePointer?) -> Void
    public var now: @convention(c) (OpaquePointer?) -> Double
    public var wall: @convention(c) (OpaquePointer?) -> Double
    public var retain: @convention(c) (UnsafeMutableRawPointer?) -> Void
    public var release: @convention(c) (UnsafeMutableRawPointer?) -> Void
    public var typeOf: @convention(c) (UnsafeMutableRawPointer?) -> LuaObjectTypePointer?
    public var park: (@convention(c) (OpaquePointer?, Int32, Bool) -> UnsafeMutableRawPointer?)?
    public var unpark: (@convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void)?
    public var clock: (@convention(c) (OpaquePointer?) -> Int64)?
    public var valueEnded: (@convention(c) (OpaquePointer?, Int32) -> Void)?

    public init(
        print: @escaping LuaFunction, warn: @escaping LuaFunction, findModule: @escaping LuaFunction,
        finish: @escaping LuaFunction, misuse: @escaping LuaFunction,
        needLibrary: @escaping @convention(c) (OpaquePointer?) -> Void,
        now: @escaping @convention(c) (OpaquePointer?) -> Double,
        wall: @escaping @convention(c) (OpaquePointer?) -> Double,
        retain: @escaping @convention(c) (UnsafeMutableRawPointer?) -> Void,
        release: @escaping @convention(c) (UnsafeMutableRawPointer?) -> Void,
        typeOf: @escaping @convention(c) (UnsafeMutableRawPointer?) -> LuaObjectTypePointer?,
        park: (@convention(c) (OpaquePointer?, Int32, Bool) -> UnsafeMutableRawPointer?)? = nil,
        unpark: (@convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void)? = nil,
        clock: (@convention(c) (OpaquePointer?) -> Int64)? = nil,
        valueEnded: (@convention(c) (OpaquePointer?, Int32) -> Void)? = nil
    ) {
        self.print = print
        self.warn = warn
        self.findModule = findModule
        self.finish = finish
        self.misuse = misuse
        self.needLibrary = needLibrary
        self.now = now
        self.wall = wall
        self.retain = retain
        self.release = release
        self.typeOf = typeOf
        self.park = park
        self.unpark = unpark
        self.clock = clock
        self.valueEnded = valueEnded
    }
}

/// The host functions of any number of states.
public final class LuaHost: @unchecked Sendable {  // immutable after init
    fileprivate let pointer: UnsafeMutablePointer<shim_host>

    public init(_ functions: LuaHostFunctions) {
        pointer = .allocate(capacity: 1)
        pointer.initialize(
            to: shim_host(
                print: functions.print, warn: functions.warn, find_module: functions.findModule,
                finish: functions.finish, misuse: functions.misuse, need_library: functions.needLibrary,
                now: functions.now, wall: functions.wall,
                retain: functions.retain, release: functions.release, type_of: functions.typeOf,
                park: functions.park, unpark: functions.unpark, clock: functions.clock,
                value_ended: functions.valueEnded))
    }

    deinit { pointer.deallocate() }
}

public typealias LuaObjectTypePointer = UnsafePointer<shim_type>

extension LuaObjectType {
    public var typePointer: LuaObjectTypePointer { pointer }
}

/// Bytes of memory of one state.
public struct LuaMemory: Sendable {
    public let used: Int, peak: Int
    /// 0: none.
    public let limit: Int

    public init(used: Int, peak: Int, limit: Int) {
        self.used = used
        self.peak = peak
        self.limit = limit
    }
}

/// Why a resumed task came back.
public enum LuaResumption {
    /// It returned: that many values are on its stack.
    case returned(Int32)
    /// It raised: the value is on top of its stack.
    case raised
    /// It waits for the host.
    case waits
    /// Its slice is over.
    case preempted
    /// It was stopped for good: it must not be resumed.
    case stopped
}

/// Owns one Lua state, in which one thread at a time runs. Dropping it returns the state's memory at once and releases
/// the host objects it held; no Lua code runs at that.
public final class LuaVM {
    public let pointer: OpaquePointer
    public let main: LuaStack

    private let host: LuaHost

    /// Once a process: installs the handler of the signal that interrupts running code.
    public static func installInterrupt() { shim_interrupt_install() }

    /// Once each thread that resumes tasks.
    public static func attachThread() { shim_interrupt_attach() }

    /// The library's version: "Lua 5.4.4".
    public static var release: String { String(cString: shim_lua_release()) }

    /// - Parameters:
    ///   - host: what the state calls; it outlives the state.
    ///   - owner: what host functions get from `owner(of:)`.
    ///   - memoryLimit: bytes, 0 for none.
    ///   - seed: of `math.random`.
    ///   - hashSeed: decides the order of `pairs` over strings; nil: it differs from state to state.
    public init?(
        host: LuaHost, owner: UnsafeMutableRawPointer?, memoryLimit: Int, seed: UInt64, hashSeed: UInt32? = nil
    ) {
        var fixed = hashSeed ?? 0
        let made = withUnsafePointer(to: &fixed) {
            shim_vm_create(host.pointer, owner, memoryLimit, seed, hashSeed == nil ? nil : $0)
        }
        guard let vm = made else { return nil }
        self.host = host
        pointer = vm
        main = LuaStack(shim_vm_main(vm))
    }

    deinit { shim_vm_destroy(pointer) }

    /// States of this process that have not been dropped.
    public static var liveStates: Int { shim_live_states() }

    /// The owner of the state that this thread resumes now; nil: of none.
    @inline(__always)
    public static var runningOwner: UnsafeMutableRawPointer? { shim_running_owner() }

    public static func owner(of vm: OpaquePointer?) -> UnsafeMutableRawPointer? { shim_vm_owner(vm) }
    /// The state that a coroutine belongs to.
    public static func vm(of coroutine: OpaquePointer?) -> OpaquePointer { shim_vm_of(coroutine) }

    public var memory: LuaMemory {
        let usage = shim_vm_usage(pointer)
        return LuaMemory(used: usage.used, peak: usage.peak, limit: usage.limit)
    }
    /// Fields of records that scripts had taken out of their messages, since the beginning.
    public var decodedFields: UInt64 { shim_vm_decoded_fields(pointer) }
    /// Where the last `kill` found the script: `script.lua:12`; empty before the first.
    public var stopPlace: String { String(cString: shim_vm_stopped_at(pointer)) }
    /// It has the hash seed that it was given.
    public var isHashFixed: Bool { shim_vm_hash_is_fixed(pointer) }

    // MARK: Control, from any thread

    /// Stops whatever runs, for good.
    public func kill() { shim_control_set(pointer, UInt32(SHIM_CONTROL_KILL)) }
    public func clearKill() {
        shim_control_clear(pointer, UInt32(SHIM_CONTROL_KILL | SHIM_CONTROL_CANCEL | SHIM_CONTROL_DEADLINE))
    }
    /// Raises "canceled", or "deadline exceeded", at the line that runs.
    public func cancelRunning(isDeadline: Bool = false) {
        shim_control_set(pointer, UInt32(SHIM_CONTROL_CANCEL | (isDeadline ? SHIM_CONTROL_DEADLINE : 0)))
    }
    /// How many contexts the running task has entered; its thread sets it.
    public func setEntered(_ count: Int) { Self.setEntered(pointer, count) }
    public static func setEntered(_ vm: OpaquePointer?, _ count: Int) { shim_set_entered(vm, Int32(count)) }

    // MARK: Code

    /// Pushes the function of a text chunk on the main stack; nil: done, else the message.
    public func load(_ source: UnsafeRawBufferPointer, name: String) -> String? { main.load(source, name: name) }

    public func pushGlobals() { shim_push_globals(main.state) }

    // MARK: Tasks

    /// A new coroutine, and the reference that keeps it. Nil: no memory.
    ///
    /// - Parameter closes: `<close>` variables run when its function raises. What calls the function stands below it then:
    ///   one more argument of the first resume.
    public func makeTask(closes: Bool = false) -> (stack: LuaStack, reference: Int32)? {
        var reference: Int32 = 0
        guard let coroutine = shim_task_new(pointer, &reference) else { return nil }
        if closes { shim_push_task_body(coroutine) }
        return (LuaStack(coroutine), reference)
    }

    public func freeTask(_ reference: Int32) { shim_task_free(pointer, reference) }

    public func resume(_ task: LuaStack, arguments: Int32) -> LuaResumption {
        Self.resume(pointer, task, arguments: arguments)
    }

    /// The same for whoever holds the state, and has its pointer at hand.
    public static func resume(_ vm: OpaquePointer?, _ task: LuaStack, arguments: Int32) -> LuaResumption {
        var op: Int32 = 0, results: Int32 = 0
        let status = shim_task_resume(vm, task.state, arguments, &op, &results)
        switch status {
        case LUA_OK: return .returned(results)
        case LUA_YIELD:
            switch op {
            case Int32(SHIM_OP_PREEMPT): return .preempted
            case Int32(SHIM_OP_KILL): return .stopped
            default: return .waits
            }
        default: return .raised
        }
    }

    /// The stack traceback of a task that has raised.
    public func traceback(_ task: LuaStack) -> String {
        shim_push_traceback(main.state, task.state)
        defer { main.pop() }
        return main.string(-1) ?? ""
    }

    /// The message that `LuaResult.value` decodes.
    public static func setInbox(_ vm: OpaquePointer?, _ message: UnsafePointer<msg_header>) {
        shim_set_inbox(vm, message)
    }

    // MARK: Images

    /// Encodes the top `count` values of `stack` and all they reach.
    public func image(_ stack: LuaStack, count: Int32) -> Result<LuaImage, LuaProblem> {
        var buffer = shim_buffer()
        var problem = shim_problem()
        guard shim_image_encode(stack.state, count, &buffer, &problem) == 0 else {
            shim_buffer_free(&buffer)
            return .failure(LuaProblem(problem))
        }
        return .success(LuaImage(buffer, host: host))
    }

    /// Pushes an image's roots on the main stack; nil: done, else the message.
    public func restore(_ image: LuaImage) -> String? {
        guard !shim_image_decode(main.state, image.buffer.bytes, image.buffer.used) else { return nil }
        defer { main.pop() }
        return main.describe(-1, limit: 2000)
    }
}

/// A copy of functions and all that they reach, from which any number of states can start.
public final class LuaImage: @unchecked Sendable {  // immutable
    fileprivate let buffer: shim_buffer
    private let host: LuaHost

    fileprivate init(_ buffer: shim_buffer, host: LuaHost) {
        self.buffer = buffer
        self.host = host
    }

    public var byteCount: Int { buffer.used }

    deinit {
        shim_image_release(buffer.bytes, buffer.used, host.pointer.pointee.release)
        var buffer = buffer
        shim_buffer_free(&buffer)
    }
}

// Limits of a state: see limits.c.
import CLuaShim

/// A limit for which a state is stopped. What runs in it then never goes on, whatever it catches.
public enum LuaOver: Sendable { case memory, cpu, output }

extension LuaVM {
    /// It has been stopped for a limit.
    public var over: LuaOver? {
        switch shim_vm_over(pointer) {
        case Int32(SHIM_OVER_MEMORY.rawValue): .memory
        case Int32(SHIM_OVER_CPU.rawValue): .cpu
        case Int32(SHIM_OVER_OUTPUT.rawValue): .output
        default: nil
        }
    }

    /// Memory was refused to it at four times its limit: Lua's own structures may be half built, and nothing is to run in it.
    public var isSpoilt: Bool { shim_vm_is_spoilt(pointer) }

    /// It may run what cleans up, in new tasks: with `more` bytes than it has now, and without the other limits.
    public func reprieve(more: Int) { shim_vm_reprieve(pointer, more) }

    /// The host holds so many bytes for it, which count as its memory until they are given back. On its thread.
    public func charge(_ bytes: Int) { shim_vm_charge(pointer, bytes) }
    public func uncharge(_ bytes: Int) { shim_vm_uncharge(pointer, bytes) }
    /// The same on any thread.
    public func giveBack(_ bytes: Int) { shim_vm_give_back(pointer, bytes) }
    /// So many bytes stand in channels of its own.
    public func setQueued(_ bytes: Int) { shim_vm_set_queued(pointer, bytes) }

    /// Calls `visit` with each host object of a type that it has.
    public func eachObject(_ type: LuaObjectType, _ visit: (UnsafeMutableRawPointer) -> Void) {
        withoutActuallyEscaping(visit) { visit in
            var box = visit
            withUnsafeMutablePointer(to: &box) { pointer in
                shim_each_object(
                    self.pointer, type.pointer,
                    { $1!.assumingMemoryBound(to: ((UnsafeMutableRawPointer) -> Void).self).pointee($0!) }, pointer)
            }
        }
    }

    /// Bytes of the largest message that its scripts may make; 0: as large as messages can be.
    public func setMaxValue(_ bytes: Int) { shim_vm_set_max_value(pointer, bytes) }

    /// From now on what it uses is the driver's, which outlives that; nil: nobody's.
    public func limit(_ driver: StageDriver?) { shim_vm_limit(pointer, driver?.driver) }

    /// The running task puts out so many bytes more. False: too many, it is stopped at its next instruction.
    public static func countOutput(_ vm: OpaquePointer?, _ bytes: Int) -> Bool { shim_count_output(vm, bytes) }
}

/// Limits of one value in a stage; 0: none.
public struct ValueLimits: Sendable {
    /// Nanoseconds.
    public var timeout: Int64 = 0, cpu: Int64 = 0
    /// Bytes.
    public var output: Int64 = 0

    public init(timeout: Int64 = 0, cpu: Int64 = 0, output: Int64 = 0) {
        self.timeout = timeout
        self.cpu = cpu
        self.output = output
    }

    public var isEmpty: Bool { timeout == 0 && cpu == 0 && output == 0 }
}

/// What the value in hand has used so far, and the most that a value used.
public struct ValueUse: Sendable {
    public var current: Int64, peak: Int64
}

extension StageDriver {
    /// Gives each stage its limits. Once, before it is pushed.
    public func setLimits(_ limits: [ValueLimits]) {
        precondition(limits.count == length && driver.pointee.limits == nil)
        let memory = UnsafeMutablePointer<shim_limit>.allocate(capacity: limits.count)
        for (index, limit) in limits.enumerated() {
            var entry = shim_limit()
            entry.timeout = limit.timeout
            entry.cpu = limit.cpu
            entry.output = limit.output
            memory.advanced(by: index).initialize(to: entry)
        }
        driver.pointee.limits = memory
    }

    public var hasLimits: Bool { driver.pointee.limits != nil }

    public enum Use { case cpu, output, time }
    /// Any thread.
    public func use(_ use: Use, ofLink link: Int) -> ValueUse {
        var current: Int64 = 0, peak: Int64 = 0
        guard let limits = driver.pointee.limits else { return ValueUse(current: 0, peak: 0) }
        let what =
            switch use {
            case .cpu: SHIM_USE_CPU
            case .output: SHIM_USE_OUTPUT
            case .time: SHIM_USE_TIME
            }
        shim_limit_use(limits + link, Int32(what), &current, &peak)
        return ValueUse(current: current, peak: peak)
    }

    /// The script's function takes its values itself, and its worker's tasks work on them together: `countTurn` tells of each.
    public var isProcess: Bool {
        get { driver.pointee.process }
        set { driver.pointee.process = newValue }
    }
    public func countTurn() { driver.pointee.turn &+= 1 }

    /// The value in hand, if it is one.
    public var valueInHand: UnsafePointer<msg_header>? {
        guard let message, message.pointee.kind != UInt8(MSG_MARK) else { return nil }
        return message
    }

    /// So many of what it emitted were not handed over, and count as not made.
    public func takeBack(_ count: Int) { driver.pointee.emitted -= UInt64(count) }

    /// The mark that it had in hand is the next to be read.
    public func putBackMark() {
        guard driver.pointee.message != nil, valueInHand == nil else { return }
        driver.pointee.message = nil
        driver.pointee.marks -= 1
    }

    /// The task that ran its function, or was waiting in it, was stopped: keeps what describes the value. `main`: a stack of
    /// the same state.
    public func describeStoppedValue(in task: LuaStack, _ main: LuaStack) {
        guard isChain, message != nil, main.ensure(8) else { return }
        shim_push_stopped_value(main.state, task.state, driver)
        faultyValue = main.describe(-1, limit: 160)
        main.pop()
    }
}

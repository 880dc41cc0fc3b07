// The functions that every state gets from the host, and how they answer. One file a group of functions:
// HostAPI+Channels, +Tasks, +Pipelines, +Data.
import LuaVM
import StreamCore

/// C functions that Lua calls. Each runs on the thread of the worker that owns the state.
enum HostAPI {
    // MARK: Object types

    static let channelType = LuaObjectType(
        "channel", phrase: "a channel", shared: true,
        methods: [
            ("send", channelSend), ("try_send", channelTrySend), ("recv", channelReceive),
            ("try_recv", channelTryReceive), ("range", channelRange), ("close", channelClose),
            ("is_closed", channelIsClosed), ("capacity", channelCapacity), ("request", channelRequest),
        ],
        metamethods: [("__len", channelLength), ("__close", channelScopeEnd)])
    static let pipelineType = LuaObjectType(
        "pipeline", phrase: "a pipeline", shared: false,
        methods: [("wait", pipelineWait), ("cancel", pipelineCancel), ("stats", pipelineStats)])

    private static func type(of object: SharedObject) -> LuaObjectType {
        guard let object = object as? any LuaVisible else { preconditionFailure("scripts see objects of known types") }
        return object.luaType
    }

    static func push(_ stack: LuaStack, _ object: SharedObject) {
        stack.push(object: object.reference, type(of: object))
    }
    static func pushContext(_ stack: LuaStack, _ context: Context) { push(stack, context) }

    static func channel(_ stack: LuaStack, _ index: Int32) -> Channel? {
        stack.object(index, channelType).map { unsafeDowncast(SharedObject.from($0), to: Channel.self) }
    }

    // MARK: Installation

    private static let installed: Void = LuaVM.installInterrupt()

    /// What the states of all workers call.
    static let host = LuaHost(
        LuaHostFunctions(
            print: printLine, warn: warn, findModule: findModule, finish: finish, misuse: misuse,
            needLibrary: { state in
                let vm = LuaVM.vm(of: state)
                HostAPI.loadLibrary(Worker.of(vm), LuaStack(state))
            },
            now: { vm in Double(Worker.of(vm).scheduler.now) / 1e9 },
            wall: { vm in Worker.of(vm).run.environment.wall() },
            retain: { SharedObject.retain($0) },
            release: { SharedObject.release($0) },
            typeOf: { reference in HostAPI.type(of: SharedObject.from(reference!)).typePointer },
            park: park, unpark: unpark, clock: clock, valueEnded: valueEnded))

    /// Once a process.
    static func install() { _ = installed }

    /// Prepares a new state: `arg` (in the main worker), `host` functions of the embedding program.
    static func open(_ worker: Worker, arguments: [String]?, scriptPath: String) {
        let stack = worker.vm.main
        guard let arguments else { return }
        worker.vm.pushGlobals()
        stack.pushTable()
        stack.push(scriptPath)
        stack.setIndex(-2, 0)
        for (index, argument) in arguments.enumerated() {
            stack.push(argument)
            stack.setIndex(-2, Int64(index + 1))
        }
        stack.setField(-2, "arg")
        stack.pop()
    }

    /// Loads the embedded library into the state, once; it is what `require "stream"` returns. False: no memory.
    @discardableResult
    static func loadLibrary(_ worker: Worker, _ stack: LuaStack) -> Bool {
        let top = stack.top
        defer { stack.setTop(top) }
        guard push(stack, libraryChunk: "stream", worker), stack.pushTable() else { return false }
        for (name, function) in functions {
            guard stack.push(function), stack.setField(-2, name) else { return false }
        }
        guard stack.pushSelect(select, channels: channelType), stack.setField(-2, "select") else { return false }
        if let failure = stack.call(arguments: 1, results: 1) {
            precondition(isNoMemory(failure, worker), "the embedded library fails: \(failure)")
            return false
        }
        guard stack.recordLibrary("stream") else { return false }
        stack.setTop(top)
        if worker.run.environment.test != nil { loadTestLibrary(worker, stack) }
        return true
    }

    /// Else it is a fault of the library.
    private static func isNoMemory(_ problem: String, _ worker: Worker) -> Bool {
        problem.contains("not enough memory") || worker.vm.over == .memory
    }

    /// What `stream.lua` has kept for `require "stream.test"`.
    private static func loadTestLibrary(_ worker: Worker, _ stack: LuaStack) {
        let top = stack.top
        guard worker.testLibrary != 0 else { return }
        stack.push(reference: worker.testLibrary)
        stack.recordLibrary("stream.test")
        stack.setTop(top)
        if worker.testChecks != 0 {
            stack.push(reference: worker.testChecks)
            stack.recordLibrary("stream.test.t")
            stack.setTop(top)
        }
    }

    /// Pushes an embedded chunk as a function. All are named "=[stream...": their lines are not the script's. False: there
    /// is none, or no memory for it.
    private static func push(_ stack: LuaStack, libraryChunk name: String, _ worker: Worker) -> Bool {
        guard let source = worker.run.environment.library(name) else { return false }
        if let compiled = compiledChunks.find(name, source) {
            let problem = compiled.withUnsafeBytes { stack.load(compiled: $0, name: "=[\(name)]") }
            return isLoaded(problem, worker)
        }
        let problem = source.withUnsafeBytes { stack.load($0, name: "=[\(name)]") }
        guard isLoaded(problem, worker) else { return false }
        if let compiled = stack.compiled() { compiledChunks.keep(name, source, compiled) }
        return true
    }

    private static func isLoaded(_ problem: String?, _ worker: Worker) -> Bool {
        guard let problem else { return true }
        precondition(isNoMemory(problem, worker), "the embedded library does not load: \(problem)")
        return false
    }

    /// Parsing the library takes longer than all else that a short run does.
    private static let compiledChunks = CompiledChunks()

    /// load(part): the chunk of a part of the library, as a function.
    private static let loadPart: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        let name = "stream." + (stack.string(1) ?? "")
        guard push(stack, libraryChunk: name, Worker.of(vm)) else {
            precondition(
                Worker.of(vm).run.environment.library(name) != nil, "the embedded library has no part \(name)")
            stack.push("not enough memory")
            return LuaResult.raise
        }
        return 1
    }

    /// What the Lua side of the library is built from.
    private static let functions: [(String, LuaFunction)] =
        general + contextFunctions + taskFunctions + limiterFunctions + byteStreamFunctions + testFunctions
        + breakerFunctions

    private static let general: [(String, LuaFunction)] = [
        ("misuse", misuse), ("place", place), ("duration", duration), ("size", size),
        ("chan", makeChannel), ("sleep", sleep), ("now", now), ("run", runPipelines),
        ("declare", declare), ("collect", collect), ("kind", kind), ("is_channel", isChannel),
        ("json_encode", encodeJSON), ("json_decode", decodeJSON), ("mark_array", markArray), ("null", pushNull),
        ("log", log), ("call", callHost), ("has_host", hasHost), ("has_source", hasSource),
        ("has_sink", hasSink), ("unfinished", keepUnfinished),
        ("undeclare", undeclare), ("ticker", ticker), ("after", after), ("load", loadPart),
    ]

    // MARK: Answers

    /// Raises `text` as a mistake of the script's line that called.
    static func misuse(_ worker: Worker, _ stack: LuaStack, _ text: String) -> Int32 {
        worker.lastMisuse = text
        let place = stack.place
        stack.push(place.isEmpty ? text : "\(place): \(text)")
        return LuaResult.raise
    }

    /// Returns `nil, reason`.
    static func refuse(_ stack: LuaStack, _ reason: String) -> Int32 {
        stack.pushNil()
        stack.push(reason)
        return 2
    }

    static func refuse(_ stack: LuaStack, _ reason: Reason) -> Int32 { refuse(stack, reason.description) }

    /// Why a wait cannot begin here, if it cannot.
    static func cannotWait(_ worker: Worker, _ stack: LuaStack, _ what: String) -> Int32? {
        worker.current == nil || !stack.canWait ? noWait(worker, stack, what) : nil
    }

    static func noWait(_ worker: Worker, _ stack: LuaStack, _ what: String) -> Int32 {
        misuse(
            worker, stack,
            "\(what) cannot wait here: Lua cannot leave a metamethod that C code called (tostring, "
                + "table.concat), or a reader of load")
    }

    /// Begins the running task's wait, which is registered already; ends at once if its context has.
    static func wait(_ worker: Worker, _ stack: LuaStack, _ wait: Wait, timeout: Int64? = nil) -> Int32 {
        worker.withCurrent { begin(wait, of: $0, worker, stack, timeout: timeout) }
    }

    private static func begin(
        _ wait: Wait, of task: LuaTask, _ worker: Worker, _ stack: LuaStack, timeout: Int64?
    ) -> Int32 {
        task.deadlines?.enter(task)
        task.wait = wait
        if let reason = task.mark.reason, task.waiter.claimCurrent() {
            task.waiter.outcome = .ended(reason)
            return answer(worker, stack, of: task)
        }
        if let timeout {
            let waiter = task.waiter!
            let generation = waiter.generation
            var atDeadline = WaitOutcome.ended(.timeout)
            switch wait {
            case .sleep, .select: atDeadline = .done
            default: break
            }
            let timer = Timer(deadline: worker.scheduler.now &+ timeout) { [atDeadline] in
                waiter.end(generation, atDeadline)
            }
            task.timer = timer
            worker.scheduler.arm(timer)
        }
        worker.startDeclared()
        return LuaResult.wait
    }

    static let finish: LuaFunction = { state, vm in
        Worker.with(vm) { worker in worker.withCurrent { answer(worker, LuaStack(state), of: $0) } }
    }

    /// The results of the wait that is over.
    private static func answer(_ worker: Worker, _ stack: LuaStack, of task: LuaTask) -> Int32 {
        var wait = Wait.none
        swap(&wait, &task.wait)
        if let timer = task.timer {
            worker.scheduler.disarm(timer)
            task.timer = nil
        }
        if task.charged != 0 { worker.uncharge(task) }
        if case .select(let select) = wait { return finish(select, worker, stack) }
        switch task.waitSeat._withUnsafeGuaranteedRef({ $0.outcome }) {
        case .received:
            if worker.countsValues || wait.isExposed, let channel = wait.channel { worker.countReceived(from: channel) }
            task.waitSeat._withUnsafeGuaranteedRef { $0.moveInbox(to: worker.received) }
            LuaVM.setInbox(worker.vmPointer, worker.received.message!)
            return LuaResult.value
        case .sent:
            if worker.countsValues || wait.isExposed, let channel = wait.channel { worker.countSent(on: channel) }
            stack.push(true)
            return 1
        case .closed:
            task.waiter.dropOutbox()
            if case .range = wait {
                stack.pushNil()
                return 1
            }
            return refuse(stack, .closed)
        case .done:
            switch wait {
            case .task(let other): return results(of: other, stack)
            case .pipeline(let pipeline): return outcome(of: pipeline, stack)
            case .allPipelines: return outcomeOfAll(worker, stack)
            case .output: return 0
            case .host(let other): return other.finish(worker, stack)
            default:
                stack.push(true)
                return 1
            }
        case .ended(let reason):
            task.waiter.dropOutbox()
            wait.abandon()
            task.ports?.waitWasEnded(of: task)
            if case .range = wait {
                stack.pushNil()
                return 1
            }
            if case .output = wait { return 0 }
            return refuse(stack, reason)
        case .pending, .batch, .granted:
            preconditionFailure("a task's wait ends with what it waited for")
        }
    }

    // MARK: Arguments

    /// What a host function returns in place of results: an error was pushed.
    struct Raised: Error { let code: Int32 }

    /// Seconds or text at `index` as nanoseconds. Nil: neither; the message says what is accepted.
    static func nanoseconds(_ stack: LuaStack, _ index: Int32) -> Int64? {
        if let number = stack.number(index) {
            guard number >= 0, number.isFinite else { return number == .infinity ? Int64.max / 4 : nil }
            return number >= 9e9 ? Int64.max / 4 : Int64(number * 1e9)
        }
        return stack.string(index).flatMap { Quantity.nanoseconds($0) }
    }

    /// The timeout of a method's wait at `index`, whose argument 1 is the method's object; nil: none.
    static func timeout(
        _ worker: Worker, _ stack: LuaStack, _ index: Int32, _ method: String
    ) -> Result<Int64?, Raised> {
        if stack.isNil(index) { return .success(nil) }
        if let time = nanoseconds(stack, index) { return .success(time) }
        let text = "argument \(index - 1) of \(method) expected \(durationHint), got \(stack.shown(index))"
        return .failure(Raised(code: misuse(worker, stack, text)))
    }

    static let durationHint = #"a duration: seconds (0.8) or text such as "800ms", "1.5s", "2m", "1h""#
}

/// A host object that scripts can hold.
protocol LuaVisible: SharedObject {
    var luaType: LuaObjectType { get }
}

extension Channel: LuaVisible { var luaType: LuaObjectType { HostAPI.channelType } }
extension LuaTask: LuaVisible { var luaType: LuaObjectType { HostAPI.taskType } }
extension PipelineRun: LuaVisible { var luaType: LuaObjectType { HostAPI.pipelineType } }

/// Durations and sizes as text.
public enum Quantity {
    private static func split(_ text: String) -> (Double, Substring)? {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let number = Double(digits), number.isFinite else { return nil }
        return (number, text.dropFirst(digits.count))
    }

    public static func nanoseconds(_ text: String) -> Int64? {
        guard let (number, unit) = split(text) else { return nil }
        let scale: Double
        switch unit {
        case "ns": scale = 1
        case "us": scale = 1e3
        case "ms": scale = 1e6
        case "s": scale = 1e9
        case "m": scale = 60e9
        case "h": scale = 3600e9
        default: return nil
        }
        let value = number * scale
        return value >= 9e18 ? Int64.max / 4 : Int64(value.rounded())
    }

    public static func bytes(_ text: String) -> Int64? {
        guard let (number, unit) = split(text) else { return nil }
        let scale: Double
        switch unit {
        case "", "B": scale = 1
        case "KB", "K": scale = 1024
        case "MB", "M": scale = 1024 * 1024
        case "GB", "G": scale = 1024 * 1024 * 1024
        default: return nil
        }
        let value = number * scale
        return value >= 9e18 ? nil : Int64(value)
    }
}

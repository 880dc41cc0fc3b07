// Circuit breakers, as scripts see them.
import LuaVM
import StreamCore

extension HostAPI {
    static let breakerFunctions: [(String, LuaFunction)] = [
        ("breaker", makeBreaker), ("breaker_runner", keepBreakerRunner), ("breaker_settle", settleBreakerCall),
    ]

    static let breakerType = LuaObjectType(
        "breaker", phrase: "a circuit breaker", shared: true,
        methods: [
            ("run", breakerRun), ("allow", breakerAllow), ("report", breakerReport), ("state", breakerState),
            ("reset", breakerReset),
        ])
    static let breakerCallType = LuaObjectType(
        "breaker call", phrase: "a call of a circuit breaker", shared: false, methods: [],
        metamethods: [("__close", closeBreakerCall)])

    private static func breaker(_ stack: LuaStack) -> Breaker? {
        stack.object(1, breakerType).map { unsafeDowncast(SharedObject.from($0), to: Breaker.self) }
    }

    private static func call(_ stack: LuaStack) -> BreakerCall? {
        stack.object(1, breakerCallType).map { unsafeDowncast(SharedObject.from($0), to: BreakerCall.self) }
    }

    private static func noBreaker(_ worker: Worker, _ stack: LuaStack, _ method: String) -> Int32 {
        misuse(
            worker, stack,
            "\(method) expected a circuit breaker, got \(stack.kind(1)): call it as breaker:\(method)(...)")
    }

    /// breaker(name, failures, within, reset, probes): checked by the library's Lua side.
    private static let makeBreaker: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        let spec = BreakerSpec(
            failures: Int(stack.integer(2) ?? 1), window: nanoseconds(stack, 3) ?? 1, reset: nanoseconds(stack, 4) ?? 1,
            probes: Int(stack.integer(5) ?? 1))
        push(stack, Breaker(spec, name: stack.string(1) ?? "the circuit breaker of \(stack.place)"))
        return 1
    }

    /// breaker_runner(fn): keeps the library's function that calls what `run` was given.
    private static let keepBreakerRunner: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.setTop(1)
        Worker.of(vm).breakerRunner = stack.makeReference()
        return 0
    }

    // MARK: Methods

    /// run(fn, ...): what fn returns; or nil, "open".
    private static let breakerRun: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let breaker = breaker(stack) else { return noBreaker(worker, stack, "run") }
        guard stack.type(2) == .function else {
            return misuse(worker, stack, "argument 1 of run expected a function, got \(stack.shown(2))")
        }
        let now = worker.scheduler.now, count = stack.top
        guard let ticket = breaker.ask(now) else { return refuse(stack, "open") }
        let call = BreakerCall(breaker, ticket)
        guard stack.ensure(count + 8) else {
            call.takeBack()
            return misuse(worker, stack, "not enough memory")
        }
        call.number = worker.holdings.add(call, of: worker.current, now)
        if worker.breakerRunner == 0 { loadLibrary(worker, worker.vm.main) }
        push(stack, call)
        stack.push(reference: worker.breakerRunner)
        push(stack, call)
        for index in 2..<(count + 1) { stack.pushCopy(index) }
        for _ in 0..<count { stack.remove(1) }
        return LuaResult.call  // stack: call, runner, call, fn, arguments
    }

    /// allow(): whether a call may be made now; what comes of it is told by `report`.
    private static let breakerAllow: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let breaker = breaker(stack) else { return noBreaker(worker, stack, "allow") }
        let now = worker.scheduler.now
        let ticket = breaker.ask(now, by: ObjectIdentifier(worker), worker.current.map(ObjectIdentifier.init))
        if let ticket, ticket.isProbe {
            _ = worker.holdings.add(BreakerCall(breaker, ticket), of: worker.current, now)
        }
        stack.push(ticket != nil)
        return 1
    }

    /// report(ok)
    private static let breakerReport: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let breaker = breaker(stack) else { return noBreaker(worker, stack, "report") }
        guard stack.type(2) == .boolean else {
            return misuse(
                worker, stack, "argument 1 of report expected true (it succeeded) or false, got \(stack.shown(2))")
        }
        breaker.report(
            by: ObjectIdentifier(worker), worker.current.map(ObjectIdentifier.init), ok: stack.boolean(2),
            worker.scheduler.now)
        return 0
    }

    private static let breakerState: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let breaker = breaker(stack) else { return noBreaker(worker, stack, "state") }
        stack.push(breaker.phase(worker.scheduler.now).rawValue)
        return 1
    }

    private static let breakerReset: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let breaker = breaker(stack) else { return noBreaker(worker, stack, "reset") }
        breaker.reset()
        return 0
    }

    // MARK: The end of a call

    /// breaker_settle(call, results...): counts what came of it; returns the results.
    private static let settleBreakerCall: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let call = call(stack) else { return 0 }
        let isFailure = stack.isNil(2) && !stack.isNil(3)
        end(call, ok: !isFailure, worker)
        return stack.top - 1
    }

    /// __close(call, error): after its results, or where it raised.
    private static let closeBreakerCall: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        if let call = call(stack) { end(call, ok: false, worker) }
        return 0
    }

    /// What fails because the caller was cancelled says nothing of what it called.
    private static func end(_ call: BreakerCall, ok: Bool, _ worker: Worker) {
        worker.holdings.remove(call.number)
        if !ok && worker.current?.context.reason == .canceled { return call.takeBack() }
        call.end(ok: ok, worker.scheduler.now)
    }
}

extension Breaker: LuaVisible { var luaType: LuaObjectType { HostAPI.breakerType } }

/// A call that a breaker has let through. Its worker's thread alone.
final class BreakerCall: SharedObject, Holding, LuaVisible, @unchecked Sendable {  // as said
    private let breaker: Breaker
    private let ticket: BreakerState.Ticket
    private var isOver = false
    var number: UInt64 = 0

    init(_ breaker: Breaker, _ ticket: BreakerState.Ticket) {
        self.breaker = breaker
        self.ticket = ticket
    }

    var luaType: LuaObjectType { HostAPI.breakerCallType }

    func end(ok: Bool, _ now: Int64) {
        guard !isOver else { return }
        isOver = true
        breaker.report(ticket, ok: ok, now)
    }

    func takeBack() {
        guard !isOver else { return }
        isOver = true
        breaker.giveUp(ticket)
    }

    func isHeld(_ now: Int64) -> Bool { !isOver && breaker.isHeld(ticket) }
}

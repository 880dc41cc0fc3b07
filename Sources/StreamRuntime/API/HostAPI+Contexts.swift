// Contexts, as scripts see them.
import LuaVM
import StreamCore

extension HostAPI {
    /// One more, which the worker is charged for until nobody refers to it.
    private static func pushNew(_ stack: LuaStack, _ worker: Worker, _ context: Context) {
        context.attachment = HostCharge(worker, Worker.contextBytes)
        pushContext(stack, context)
    }

    static let contextFunctions: [(String, LuaFunction)] = [
        ("context", currentContext), ("any_context", anyContext),
    ]

    static let contextType = LuaObjectType(
        "context", phrase: "a context", shared: true,
        methods: [
            ("with_cancel", contextWithCancel), ("with_timeout", contextWithTimeout),
            ("with_deadline", contextWithDeadline), ("with_value", contextWithValue),
            ("without_cancel", contextWithoutCancel), ("run", contextRun), ("cancel", contextCancel),
            ("err", contextError), ("cause", contextCause), ("deadline", contextDeadline), ("value", contextValue),
            ("done", contextDone), ("on_end", contextOnEnd),
        ],
        metamethods: [("__close", contextClose)])

    static let currentContext: LuaFunction = { state, vm in
        pushContext(LuaStack(state), Worker.of(vm).innermostContext)
        return 1
    }

    static func context(_ stack: LuaStack, _ index: Int32 = 1) -> Context? {
        stack.object(index, contextType).map { unsafeDowncast(SharedObject.from($0), to: Context.self) }
    }

    private static func noContext(_ vm: OpaquePointer?, _ stack: LuaStack, _ method: String) -> Int32 {
        misuse(
            Worker.of(vm), stack, "\(method) expected a context, got \(stack.kind(1)): call it as ctx:\(method)(...)")
    }

    // MARK: Children

    private static func pushChild(_ vm: OpaquePointer?, _ stack: LuaStack, of parent: Context, at deadline: Int64?) {
        pushNew(
            stack, Worker.of(vm), Context(scheduler: Worker.of(vm).scheduler, parents: [parent], deadline: deadline))
    }

    static let contextWithCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let parent = context(stack) else { return noContext(vm, stack, "with_cancel") }
        pushChild(vm, stack, of: parent, at: nil)
        return 1
    }

    /// Further away than this is never.
    private static let never = Int64.max / 4

    static let contextWithTimeout: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let parent = context(stack) else { return noContext(vm, stack, "with_timeout") }
        guard let time = nanoseconds(stack, 2) else {
            return misuse(
                worker, stack, "argument 1 of with_timeout expected \(durationHint), got \(stack.shown(2))")
        }
        pushChild(vm, stack, of: parent, at: time >= never ? nil : worker.scheduler.now &+ time)
        return 1
    }

    static let contextWithDeadline: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let parent = context(stack) else { return noContext(vm, stack, "with_deadline") }
        guard let time = stack.number(2), !time.isNaN else {
            return misuse(
                Worker.of(vm), stack,
                "argument 1 of with_deadline expected a time, in seconds as stream.now() gives them "
                    + "(stream.now() + 0.8; with_timeout takes a duration), got \(stack.shown(2))")
        }
        pushChild(vm, stack, of: parent, at: time >= 9e9 ? nil : Int64(max(time, -9e9) * 1e9))
        return 1
    }

    /// The key at `index`; nil: it is none.
    private static func key(_ stack: LuaStack, _ index: Int32) -> ContextKey? {
        switch stack.type(index) {
        case .string: return stack.bytes(index).map { .string(Array($0)) }
        case .boolean: return .boolean(stack.boolean(index))
        case .number:
            if let whole = stack.integer(index) { return .integer(whole) }
            return stack.number(index).flatMap { $0.isNaN ? nil : .float($0) }
        default: return nil
        }
    }

    private static func noKey(_ vm: OpaquePointer?, _ stack: LuaStack, _ method: String) -> Int32 {
        misuse(
            Worker.of(vm), stack,
            "argument 1 of \(method) expected a key, a string, a number or a boolean, got \(stack.shown(2))")
    }

    static let contextWithValue: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let parent = context(stack) else { return noContext(vm, stack, "with_value") }
        guard let key = key(stack, 2) else { return noKey(vm, stack, "with_value") }
        switch stack.encode(3, in: vm!) {
        case .failure(let problem): return misuse(worker, stack, problem.description)
        case .success(let message):
            let value = MessageBuffer()
            value.fill(message)
            pushNew(stack, worker, Context(scheduler: worker.scheduler, parents: [parent], entry: (key, value)))
            return 1
        }
    }

    static let contextWithoutCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let origin = context(stack) else { return noContext(vm, stack, "without_cancel") }
        pushNew(stack, Worker.of(vm), Context(scheduler: Worker.of(vm).scheduler, parents: [], origin: origin))
        return 1
    }

    /// any_context(a, b, ...)
    static let anyContext: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        var parents: [Context] = []
        for index in 1..<(stack.top + 1) {
            guard let parent = context(stack, index) else {
                return misuse(
                    worker, stack, "argument \(index) of any_context expected a context, got \(stack.kind(index))")
            }
            parents.append(parent)
        }
        guard !parents.isEmpty else {
            return misuse(worker, stack, "any_context expected at least one context: stream.any_context(a, b)")
        }
        pushNew(stack, worker, Context(scheduler: worker.scheduler, parents: parents))
        return 1
    }

    // MARK: Running in one

    /// ctx:run(fn, ...): calls `fn` in it.
    static let contextRun: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let context = context(stack) else { return noContext(vm, stack, "run") }
        guard isCallable(stack, 2) else {
            return misuse(worker, stack, "argument 1 of run expected a function, got \(stack.kind(2))")
        }
        guard let task = worker.current, stack.ensure(8) else {
            return misuse(worker, stack, "run expected a task to run in")
        }
        // The context stays where it is for as long as the task holds it; its place on the stack is the guard's.
        push(stack, worker.contextGuard)
        stack.replace(1)
        task.enter(context)
        return LuaResult.call
    }

    static func isCallable(_ stack: LuaStack, _ index: Int32) -> Bool {
        stack.type(index) == .function || stack.object(index, onceType) != nil
    }

    static let guardType = LuaObjectType(
        "context guard", phrase: "a guard of a context", shared: false, methods: [],
        metamethods: [("__close", leaveContext)])

    private static let leaveContext: LuaFunction = { _, vm in
        Worker.of(vm).current?.leave()
        return 0
    }

    /// A coroutine leaves the contexts above `depth` while it does not run.
    static let park: @convention(c) (OpaquePointer?, Int32, Bool) -> UnsafeMutableRawPointer? = { vm, depth, keeps in
        guard let task = Worker.of(vm).current else { return nil }
        let left = task.leave(to: Int(depth))
        return keeps ? Unmanaged.passRetained(ParkedContexts(left) as SharedObject).toOpaque() : nil
    }

    static let unpark: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void = { vm, parked in
        guard let parked, let task = Worker.of(vm).current else { return }
        task.enter(unsafeDowncast(SharedObject.from(parked), to: ParkedContexts.self).contexts)
    }

    static let parkedType = LuaObjectType("parked contexts", phrase: "parked contexts", shared: false, methods: [])

    // MARK: Ends

    /// The cause at `index`; a message for anything but a string and nil.
    static func cause(_ stack: LuaStack, _ index: Int32) -> Result<String?, LuaProblem> {
        if stack.isNil(index) { return .success(nil) }
        if let text = stack.string(index) { return .success(text) }
        return .failure(LuaProblem("argument 1 of cancel expected a cause, a string, got \(stack.kind(index))"))
    }

    static let contextCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let context = context(stack) else { return noContext(vm, stack, "cancel") }
        switch cause(stack, 2) {
        case .success(let cause): context.cancel(cause: cause)
        case .failure(let problem): return misuse(Worker.of(vm), stack, problem.description)
        }
        return 0
    }

    static let contextClose: LuaFunction = { state, vm in
        context(LuaStack(state))?.cancel()
        return 0
    }

    static let contextError: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let context = context(stack) else { return noContext(vm, stack, "err") }
        if let reason = context.reason { stack.push(reason.description) } else { stack.pushNil() }
        return 1
    }

    static let contextCause: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let context = context(stack) else { return noContext(vm, stack, "cause") }
        if let cause = context.cause { stack.push(cause) } else { stack.pushNil() }
        return 1
    }

    static let contextDeadline: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let context = context(stack) else { return noContext(vm, stack, "deadline") }
        if let time = context.deadline { stack.push(Double(time) / 1e9) } else { stack.pushNil() }
        return 1
    }

    static let contextValue: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let context = context(stack) else { return noContext(vm, stack, "value") }
        guard let key = key(stack, 2) else { return noKey(vm, stack, "value") }
        guard let message = context.value(key) else {
            stack.pushNil()
            return 1
        }
        return stack.decode(message) ? 1 : LuaResult.raise
    }

    static let contextDone: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let context = context(stack) else { return noContext(vm, stack, "done") }
        push(stack, context.doneChannel)
        return 1
    }

    /// ctx:on_end(fn)
    static let contextOnEnd: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let context = context(stack) else { return noContext(vm, stack, "on_end") }
        guard isCallable(stack, 2) else {
            return misuse(worker, stack, "argument 1 of on_end expected a function, got \(stack.kind(2))")
        }
        stack.setTop(2)
        let function = stack.makeReference()
        guard function != 0 else { return misuse(worker, stack, "not enough memory for one more on_end") }
        worker.add(
            Ending(
                worker: worker, context: context, function: function, home: worker.innermostContext,
                origin: worker.shared(stack.place)))
        return 0
    }
}

extension Context: LuaVisible { var luaType: LuaObjectType { HostAPI.contextType } }

/// What `<close>` of a `ctx:run` is called on: one for each worker.
final class ContextGuard: SharedObject, LuaVisible, @unchecked Sendable {  // no state
    var luaType: LuaObjectType { HostAPI.guardType }
}

/// The contexts that a coroutine enters again when it is resumed.
final class ParkedContexts: SharedObject, LuaVisible, @unchecked Sendable {  // immutable
    let contexts: [Context]
    init(_ contexts: [Context]) { self.contexts = contexts }
    var luaType: LuaObjectType { HostAPI.parkedType }
}

/// One `on_end`: it becomes a task of the worker that asked, once.
final class Ending: ContextListener, @unchecked Sendable {  // all immutable; its start is its worker's
    private unowned let worker: Worker
    private let run: Run
    let context: Context
    let function: Int32
    /// The context in which the task will be: as of one that was started where it was asked for.
    let home: Context
    let origin: String

    init(worker: Worker, context: Context, function: Int32, home: Context, origin: String) {
        self.worker = worker
        run = worker.run
        self.context = context
        self.function = function
        self.home = home
        self.origin = origin
    }

    /// On any thread. The run does not end before it has become a task.
    func contextEnded(_ reason: Reason) {
        guard run.beginIfLive() else { return }
        worker.call { [self] worker in
            worker.start(self)
            run.end()
        }
    }
}

extension Worker {
    /// The context in which what starts now is.
    var innermostContext: Context { current?.innermost ?? run.context }

    /// On the worker's thread.
    func add(_ ending: Ending) {
        endings[ObjectIdentifier(ending)] = ending
        if !ending.context.add(ending) { start(ending) }
    }

    /// Makes it a task, unless it is one already or the state is gone. Where the state was stopped it waits for its time in
    /// `finishEndings`.
    func start(_ ending: Ending) {
        guard let vm, vm.over == nil, endings.removeValue(forKey: ObjectIdentifier(ending)) != nil else { return }
        ending.context.remove(ending)
        let stack = vm.main, run = run
        stack.push(reference: ending.function)
        stack.push((ending.context.reason ?? .canceled).description)
        run.begin()
        let limited = lastEndings.map { limitedContext(ending.home, until: $0.timer.deadline) }
        let task = start(
            from: stack, arguments: 1, context: limited ?? ending.home, isOwn: false, origin: ending.origin
        ) { [self] task, end in
            limited?.cancel()
            if task.isStopped, task.arguments > 0 {  // it has not begun
                endings[ObjectIdentifier(ending)] = ending
            } else {
                self.vm.main.drop(reference: ending.function)
                if case .failed(let failure) = end { tell(failure, ofEndingAt: ending.origin) }
            }
            endingTasks -= 1
            if lastEndings != nil, endingTasks == 0 { goOnWithEndings() }
            run.end()
        }
        if let task {
            endingTasks += 1
            task.failsAfterItsEnd = true
        } else {
            limited?.cancel()
            stack.drop(reference: ending.function)
            run.fail(ScriptFailure(message: "\(ending.origin): not enough memory for an on_end"))
            run.end()
        }
    }

    /// What a stopped worker does at its very end is under its limits, and fails nobody else.
    private func tell(_ failure: ScriptFailure, ofEndingAt origin: String) {
        if vm.over != nil {
            run.log("in the on_end of \(origin): " + failure.message)
        } else {
            run.offer(failure, isHandled: { false })
        }
    }

    /// Of contexts that have ended, and whoever ended them has not come to tell: before this worker goes.
    func startDueEndings() {
        for ending in dueEndings { start(ending) }
    }

    private var dueEndings: [Ending] {
        endings.values.filter { $0.context.reason != nil }.sorted { $0.function < $1.function }
    }

    /// The state goes: nobody is told any more.
    func dropEndings() {
        for ending in endings.values { ending.context.remove(ending) }
        endings = [:]
    }

    // MARK: Those of a worker that is stopped

    struct LastEndings {
        let body: () -> Void
        let timer: Timer
    }

    /// Runs what is due of a worker that is about to end although it has tasks, or was stopped: those end, and what was
    /// asked for at the end of their contexts, and of others that have ended, has as much time as a teardown. Then calls
    /// `body`, once.
    func finishEndings(within time: Int64, _ body: @escaping () -> Void) {
        guard vm != nil, !endings.isEmpty || endingTasks > 0 else { return body() }
        dropWaitingTasks { !$0.failsAfterItsEnd }
        dropComputingTasks { !$0.failsAfterItsEnd }
        guard vm.over == nil || reprieve() else {
            for ending in dueEndings {
                run.log(
                    "\(ending.origin): an on_end was not run: the worker's memory was more than four times its limit")
            }
            return body()
        }
        vm.limit(nil)
        let timer = Timer(deadline: scheduler.now + time) { [weak self] in self?.call { $0.leaveEndings() } }
        lastEndings = LastEndings(body: body, timer: timer)
        scheduler.arm(timer)
        if endingTasks == 0 { goOnWithEndings() } else { startDueEndings() }
    }

    /// None runs: those that have become due, or the end.
    private func goOnWithEndings() {
        startDueEndings()
        if endingTasks == 0 { leaveEndings() }
    }

    private func leaveEndings() {
        guard let last = lastEndings else { return }
        lastEndings = nil
        scheduler.disarm(last.timer)
        last.body()
    }

    /// As `home`, and not for long.
    private func limitedContext(_ home: Context, until deadline: Int64) -> Context {
        let context = Context(scheduler: scheduler, parent: home)
        context.end(at: deadline)
        return context
    }

    /// One string for all tasks that were started at one place.
    func shared(_ place: String) -> String {
        if place != lastPlace { lastPlace = place }
        return lastPlace
    }
}

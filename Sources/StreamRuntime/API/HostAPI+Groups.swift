// Groups: tasks that are waited for together, of which the first that fails cancels the rest.
import DequeModule
import LuaVM
import StreamCore

/// A group of tasks of one worker. All on that worker's thread.
final class TaskGroup: SharedObject, LuaVisible, @unchecked Sendable {  // its worker's thread alone
    let context: Context
    let place: String
    private let limit: Int
    private(set) var running = 0
    /// Of the first that failed.
    private(set) var failure: String?
    private var failures = 0
    /// So many failures someone has received.
    private var received = 0
    var followers = Followers()
    /// Those that wait for a free place.
    private var queue = Deque<(waiter: Waiter, generation: UInt64)>()

    init(context: Context, limit: Int, place: String) {
        self.context = context
        self.limit = limit
        self.place = place
    }

    var luaType: LuaObjectType { HostAPI.groupType }

    var isFull: Bool { running >= limit }

    func takePlace() { running += 1 }

    /// Begins a wait for a place, which whoever ends it hands over.
    func queueUp(_ waiter: Waiter) { queue.append((waiter, waiter.begin())) }

    /// One of its places is free: it goes to who waits first.
    func givePlace() {
        while let next = queue.popFirst() {
            if next.waiter.end(next.generation, .done) { return }
        }
        running -= 1
        if running == 0 { followers.tell() }
    }

    func fail(_ message: String) {
        guard failure == nil else { return }
        failure = message
        context.cancel(cause: message)
    }

    /// A failure that `wait` may still give to someone.
    func offer(_ failure: ScriptFailure, of task: LuaTask) {
        failures += 1
        let number = failures
        task.worker.run.offer(failure, isHandled: { task.isFailureHandled || self.received >= number })
    }

    func receive() { received = failures }
}

extension HostAPI {
    static let groupType = LuaObjectType(
        "group", phrase: "a group", shared: false,
        methods: [("go", groupGo), ("wait", groupWait), ("cancel", groupCancel)],
        metamethods: [("__close", groupClose)])

    private static func group(_ stack: LuaStack) -> TaskGroup? {
        stack.object(1, groupType).map { unsafeDowncast(SharedObject.from($0), to: TaskGroup.self) }
    }

    /// group(context or nil, limit or nil): checked by the Lua side.
    static let makeGroup: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let parent = context(stack, 1) ?? worker.innermostContext
        push(
            stack,
            TaskGroup(
                context: Context(scheduler: worker.scheduler, parent: parent),
                limit: stack.integer(2).map { Int($0) } ?? .max, place: stack.place))
        return 1
    }

    /// group:go(fn, ...): the task, or nil and the reason of a group that has ended.
    static let groupGo: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let group = group(stack) else {
            return misuse(worker, stack, "go expected a group, got \(stack.kind(1)): call it as group:go(fn, ...)")
        }
        guard isCallable(stack, 2) else {
            return misuse(worker, stack, "argument 1 of go expected a function, got \(stack.kind(2))")
        }
        if let reason = group.context.reason { return refuse(stack, reason) }
        if group.isFull {
            if let raised = cannotWait(worker, stack, "go") { return raised }
            group.queueUp(worker.current!.waiter)
            return wait(worker, stack, .host(PlaceWait(group: group)))
        }
        group.takePlace()
        return startMember(worker, stack, group)
    }

    private final class PlaceWait: HostWait {
        let group: TaskGroup
        init(group: TaskGroup) { self.group = group }
        var description: String { "waiting for a free place in the group of \(group.place)" }
        func finish(_ worker: Worker, _ stack: LuaStack) -> Int32 {
            if let reason = group.context.reason {
                group.givePlace()
                return refuse(stack, reason)
            }
            return startMember(worker, stack, group)
        }
        func abandon() {}
    }

    /// stack: group, function, arguments. The place is taken.
    private static func startMember(_ worker: Worker, _ stack: LuaStack, _ group: TaskGroup) -> Int32 {
        worker.run.begin()
        let task = worker.start(
            from: stack, arguments: stack.top - 2, context: group.context, isOwn: false,
            origin: worker.shared(stack.place), completion: memberEnded)
        guard let task else {
            worker.run.end()
            group.givePlace()
            return misuse(worker, stack, "not enough memory for one more task")
        }
        task.group = group
        push(stack, task)
        return 1
    }

    private static func memberEnded(_ task: LuaTask, _ end: TaskEnd) {
        let run = task.worker.run, group = task.group!, stack = task.stack
        task.result = result(of: task, end)
        switch end {
        case .returned(let count):
            let first = stack.top - count + 1
            if case .failed(let message) = task.result {
                group.fail(message)
            } else if count >= 2, stack.isNil(first), !stack.isNil(first + 1) {
                group.fail(stack.string(first + 1) ?? stack.describe(first + 1))
            }
        case .failed(let failure):
            group.fail(failure.message)
            group.offer(failure, of: task)
        case .stopped(let reason): group.fail(reason.description)
        }
        task.group = nil
        group.givePlace()
        run.end()
    }

    static let groupWait: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let group = group(stack) else {
            return misuse(worker, stack, "wait expected a group, got \(stack.kind(1)): call it as group:wait()")
        }
        let limit: Int64?
        switch timeout(worker, stack, 2, "wait") {
        case .success(let time): limit = time
        case .failure(let raised): return raised.code
        }
        if group.running == 0 { return outcome(of: group, stack) }
        if let raised = cannotWait(worker, stack, "wait") { return raised }
        let current = worker.current!
        if current.group === group {
            return misuse(worker, stack, "a task of a group cannot wait for the group, which waits for it")
        }
        group.followers.add(current.waiter)
        return wait(worker, stack, .host(GroupWait(group: group)), timeout: limit)
    }

    private final class GroupWait: HostWait {
        let group: TaskGroup
        init(group: TaskGroup) { self.group = group }
        var description: String { "waiting for the group of \(group.place)" }
        func finish(_ worker: Worker, _ stack: LuaStack) -> Int32 { outcome(of: group, stack) }
        func abandon() {}
    }

    private static func outcome(of group: TaskGroup, _ stack: LuaStack) -> Int32 {
        group.receive()
        if let failure = group.failure { return refuse(stack, failure) }
        stack.push(true)
        return 1
    }

    static let groupCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let group = group(stack) else {
            return misuse(worker, stack, "cancel expected a group, got \(stack.kind(1)): call it as group:cancel()")
        }
        switch cause(stack, 2) {
        case .success(let cause): group.context.cancel(cause: cause)
        case .failure(let problem): return misuse(worker, stack, problem.description)
        }
        return 0
    }

    private static let groupClose: LuaFunction = { state, vm in
        group(LuaStack(state))?.context.cancel()
        return 0
    }
}

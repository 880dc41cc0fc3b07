// stream.worker: a function that runs in a Lua state of its own, as a task of whoever started it.
import LuaVM
import StreamCore

/// One start of a declared worker. What it captured and its arguments are copies; it ends when its function has
/// returned, and its state lives until the tasks it started there have ended.
final class WorkerTask: SharedObject, LuaVisible, @unchecked Sendable {  // `lock`, or its worker's thread
    let context: Context
    let name: String
    let place: String
    private let run: Run
    private let image: LuaImage
    private var arguments: [MessageBuffer]
    /// 0: none.
    private let limits: Limits
    private let lock = Lock()
    private var found: LuaTask.TaskResult?
    private var followers = Followers()
    private var isHandled = false
    /// To whoever started it, until it has ended.
    var charge: HostCharge?

    /// What it may use.
    struct Limits {
        var memory = 0
        /// Of the whole task, nanoseconds; 0: none.
        var cpu: Int64 = 0
        /// Bytes of the largest value that it sends; 0: as large as values can be.
        var maxValue = StageGroup.defaultMaxValue
    }

    init(
        run: Run, parent: Context, name: String, place: String, image: LuaImage, arguments: [MessageBuffer],
        limits: Limits
    ) {
        self.run = run
        context = Context(scheduler: run.scheduler, parent: parent)
        self.name = name
        self.place = place
        self.image = image
        self.arguments = arguments
        self.limits = limits
    }

    var luaType: LuaObjectType { HostAPI.workerTaskType }

    var result: LuaTask.TaskResult? { lock.withLock { found } }

    /// Someone receives its result: a failure is no longer the run's.
    func handle() { lock.withLock { isHandled = true } }

    /// Begins a wait of `waiter`'s for its end. False: it has ended.
    func follow(_ waiter: Waiter) -> Bool {
        lock.withLock {
            if found != nil { return false }
            followers.add(waiter)
            return true
        }
    }

    // MARK: On its worker's thread

    func start() {
        run.begin()
        let worker = Worker(run: run, name: "worker \"\(name)\"") { [self] in begin($0) }
        run.add(worker)
        worker.wake()
    }

    private func begin(_ worker: Worker) {
        let value = ValueLimits(cpu: run.scheduler.isSystemTime ? limits.cpu : 0)
        worker.limits = WorkerLimits(memory: limits.memory, values: [value])
        guard worker.open(memoryLimit: limits.memory) else { return over(worker, failure: "not enough memory") }
        worker.vm.setMaxValue(limits.maxValue)
        if !value.isEmpty {  // the task is one value, and all that it starts works on that
            let driver = StageDriver(.sink)
            driver.isProcess = true
            driver.setLimits([value])
            worker.limits.driver = driver
            worker.vm.limit(driver)
        }
        HostAPI.open(worker, arguments: nil, scriptPath: run.environment.scriptPath)
        if let problem = worker.vm.restore(image) { return over(worker, failure: problem) }
        let stack = worker.vm.main
        let count = Int32(arguments.count)
        guard stack.ensure(count + 8) else { return over(worker, failure: "not enough memory") }
        for argument in arguments {
            if let message = argument.message {
                if !stack.decode(message) { return over(worker, failure: stack.describe(-1, limit: 2000)) }
            } else {
                stack.pushNil()
            }
        }
        arguments = []
        let task = worker.start(from: stack, arguments: count, context: context, origin: place, isPrincipal: true) {
            [self] task, end in
            switch end {
            case .failed(let failure): over(worker, failure)
            default: over(worker, HostAPI.result(of: task, end))
            }
        }
        if task == nil { over(worker, failure: "not enough memory") }
    }

    private func over(_ worker: Worker, failure message: String) { over(worker, ScriptFailure(message: message)) }

    private func over(_ worker: Worker, _ failure: ScriptFailure) {
        var failure = failure
        failure.message = "worker \"\(name)\" (\(place)): \(failure.message)"
        run.offer(failure, isHandled: { self.lock.withLock { self.isHandled } })
        over(worker, .failed(failure.message))
    }

    private func over(_ worker: Worker, _ result: LuaTask.TaskResult) {
        charge = nil
        var told = lock.withLock {
            found = result
            return followers.take()
        }
        told.tell()
        worker.endWhenIdle { [run] in
            run.remove(worker)
            run.end()
        }
    }
}

extension HostAPI {
    static let workerTaskType = LuaObjectType(
        "task", phrase: "a task", shared: false,
        methods: [("wait", workerWait), ("cancel", workerCancel), ("status", workerStatus)],
        metamethods: [("__close", workerClose)])

    private static func workerTask(_ stack: LuaStack) -> WorkerTask? {
        stack.object(1, workerTaskType).map { unsafeDowncast(SharedObject.from($0), to: WorkerTask.self) }
    }

    /// start_worker(name, fn, limits, place, ...): the first four are checked by the Lua side.
    static let startWorker: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let name = stack.string(1) ?? ""
        var limits = WorkerTask.Limits()
        for position in Int64(1)...3 {
            stack.getIndex(3, position)
            let limit = stack.integer(-1) ?? 0
            stack.pop()
            switch position {
            case 1: limits.memory = limit > 0 ? Int(limit) : worker.run.environment.workerMemory
            case 2: limits.cpu = limit
            default: if limit >= 0 { limits.maxValue = Int(limit) }
            }
        }
        var arguments: [MessageBuffer] = []
        for index in 5..<(max(5, stack.top + 1)) {
            let buffer = MessageBuffer()
            if !stack.isNil(index) {
                switch stack.encode(index, in: vm!) {
                case .success(let message): buffer.fill(message)
                case .failure(let problem):
                    return misuse(worker, stack, "argument \(index - 4) of start: \(problem)")
                }
            }
            arguments.append(buffer)
        }
        let main = worker.vm.main
        guard main.ensure(8) else { return misuse(worker, stack, "not enough memory for one more worker") }
        stack.pushCopy(2)
        stack.move(1, to: main)
        defer { main.pop() }
        switch worker.vm.image(main, count: 1) {
        case .failure(let problem): return misuse(worker, stack, "worker \"\(name)\" \(problem)")
        case .success(let image):
            let started = WorkerTask(
                run: worker.run, parent: worker.innermostContext, name: name, place: stack.string(4) ?? "",
                image: image, arguments: arguments, limits: limits)
            started.charge = HostCharge(worker, Worker.workerBytes)
            push(stack, started)
            started.start()
            return 1
        }
    }

    private static let workerWait: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = workerTask(stack) else {
            return misuse(worker, stack, "wait expected a task, got \(stack.kind(1)): call it as task:wait()")
        }
        let limit: Int64?
        switch timeout(worker, stack, 2, "wait") {
        case .success(let time): limit = time
        case .failure(let raised): return raised.code
        }
        if task.result == nil {
            if let raised = cannotWait(worker, stack, "wait") { return raised }
            if task.follow(worker.current!.waiter) {
                return wait(worker, stack, .host(WorkerWait(task: task)), timeout: limit)
            }
        }
        return outcome(of: task, stack)
    }

    private final class WorkerWait: HostWait {
        let task: WorkerTask
        init(task: WorkerTask) { self.task = task }
        var description: String { "waiting for worker \"\(task.name)\" (\(task.place))" }
        func finish(_ worker: Worker, _ stack: LuaStack) -> Int32 { outcome(of: task, stack) }
        func abandon() {}
    }

    private static func outcome(of task: WorkerTask, _ stack: LuaStack) -> Int32 {
        task.handle()
        return push(task.result, stack)
    }

    private static let workerCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = workerTask(stack) else {
            return misuse(worker, stack, "cancel expected a task, got \(stack.kind(1)): call it as task:cancel()")
        }
        switch cause(stack, 2) {
        case .success(let cause): task.context.cancel(cause: cause)
        case .failure(let problem): return misuse(worker, stack, problem.description)
        }
        return 0
    }

    private static let workerClose: LuaFunction = { state, vm in
        workerTask(LuaStack(state))?.context.cancel()
        return 0
    }

    private static let workerStatus: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = workerTask(stack) else {
            return misuse(worker, stack, "status expected a task, got \(stack.kind(1)): call it as task:status()")
        }
        stack.push(status(task.result, isRunning: true))
        return 1
    }
}

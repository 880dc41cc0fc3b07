// Tasks, sleep, time, printing.
import LuaVM
import StreamCore

extension HostAPI {
    static let taskFunctions: [(String, LuaFunction)] = [
        ("go", go), ("group", makeGroup), ("start_worker", startWorker), ("once", makeOnce), ("once_keep", keepOnce),
        ("once_copy", copyOnce), ("once_first", setOnceFirst),
    ]

    static let taskType = LuaObjectType(
        "task", phrase: "a task", shared: false,
        methods: [("wait", taskWait), ("cancel", taskCancel), ("status", taskStatus)],
        metamethods: [("__close", taskClose)])

    /// go(fn, ...)
    static let go: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard isCallable(stack, 1) else {
            return misuse(worker, stack, "argument 1 of go expected a function, got \(stack.kind(1))")
        }
        worker.run.begin()
        let task = worker.start(
            from: stack, arguments: stack.top - 1, context: worker.innermostContext, isOwn: false,
            origin: worker.shared(stack.place), completion: goEnded)
        guard let task else {
            worker.run.end()
            return misuse(worker, stack, "not enough memory for one more task")
        }
        push(stack, task)
        return 1
    }

    private static func goEnded(_ task: LuaTask, _ end: TaskEnd) {
        let run = task.worker.run
        task.result = result(of: task, end)
        if case .failed(let failure) = end { run.offer(failure, isHandled: { task.isFailureHandled }) }
        run.end()
    }

    static func result(of task: LuaTask, _ end: TaskEnd) -> LuaTask.TaskResult {
        switch end {
        case .returned(let count): result(of: task, count: count)
        case .failed(let failure): .failed(failure.message)
        case .stopped(let reason): .stopped(reason)
        }
    }

    /// Encodes what a task returned; what cannot be sent is a failure that says so.
    static func result(of task: LuaTask, count: Int32) -> LuaTask.TaskResult {
        var buffers: [MessageBuffer] = []
        for index in 0..<count {
            let at = task.stack.top - count + 1 + index
            let buffer = MessageBuffer()
            if !task.stack.isNil(at) {
                switch task.stack.encode(at, in: task.worker.vm.pointer) {
                case .success(let message): buffer.fill(message)
                case .failure(let problem): return .failed("\(task.origin): result \(index + 1): \(problem)")
                }
            }
            buffers.append(buffer)
        }
        return .values(buffers)
    }

    private static func task(_ stack: LuaStack) -> LuaTask? {
        stack.object(1, taskType).map { unsafeDowncast(SharedObject.from($0), to: LuaTask.self) }
    }

    static func push(_ values: [MessageBuffer], _ stack: LuaStack) -> Int32 {
        for buffer in values {
            guard stack.ensure(4) else {
                stack.push("not enough memory for the results")
                return LuaResult.raise
            }
            if let message = buffer.message {
                if !stack.decode(message) { return LuaResult.raise }
            } else {
                stack.pushNil()
            }
        }
        return Int32(values.count)
    }

    static func results(of task: LuaTask, _ stack: LuaStack) -> Int32 {
        if case .failed = task.result { task.isFailureHandled = true }
        return push(task.result, stack)
    }

    static func push(_ result: LuaTask.TaskResult?, _ stack: LuaStack) -> Int32 {
        switch result {
        case .values(let buffers): push(buffers, stack)
        case .failed(let message): refuse(stack, message)
        case .stopped(let reason): refuse(stack, reason)
        case nil: refuse(stack, .canceled)
        }
    }

    static let taskWait: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = task(stack) else {
            return misuse(worker, stack, "wait expected a task, got \(stack.kind(1)): call it as task:wait()")
        }
        let limit: Int64?
        switch timeout(worker, stack, 2, "wait") {
        case .success(let time): limit = time
        case .failure(let raised): return raised.code
        }
        if task.isOver { return results(of: task, stack) }
        if let raised = cannotWait(worker, stack, "wait") { return raised }
        let current = worker.current!
        if task === current { return misuse(worker, stack, "a task cannot wait for itself") }
        task.followers.add(current.waiter)
        return wait(worker, stack, .task(task), timeout: limit)
    }

    static let taskCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = task(stack) else {
            return misuse(worker, stack, "cancel expected a task, got \(stack.kind(1)): call it as task:cancel()")
        }
        switch cause(stack, 2) {
        case .success(let cause): if !task.isOver || task.hasOwnContext { task.own.cancel(cause: cause) }
        case .failure(let problem): return misuse(worker, stack, problem.description)
        }
        return 0
    }

    private static let taskClose: LuaFunction = { state, vm in
        if let task = task(LuaStack(state)), !task.isOver { task.own.cancel() }
        return 0
    }

    static let taskStatus: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = task(stack) else {
            return misuse(worker, stack, "status expected a task, got \(stack.kind(1)): call it as task:status()")
        }
        stack.push(status(task.result, isRunning: task === worker.current))
        return 1
    }

    static func status(_ result: LuaTask.TaskResult?, isRunning: Bool) -> String {
        switch result {
        case .values: "done"
        case .failed: "failed"
        case .stopped(let reason): reason.description
        case nil: isRunning ? "running" : "waiting"
        }
    }

    /// sleep(duration): true, or nil and the reason.
    static let sleep: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let time = nanoseconds(stack, 1) else {
            return misuse(worker, stack, "argument 1 of sleep expected \(durationHint), got \(stack.shown(1))")
        }
        if let raised = cannotWait(worker, stack, "sleep") { return raised }
        _ = worker.current!.waiter.begin()
        return wait(worker, stack, .sleep, timeout: time)
    }

    static let now: LuaFunction = { state, vm in
        LuaStack(state).push(Double(Worker.of(vm).scheduler.now) / 1e9)
        return 1
    }

    // MARK: Text

    /// More than this many bytes not yet written, and `print` waits.
    private static let printMark = 1 << 20

    static let printLine: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let output = worker.run.environment.output
        if let bytes = stack.bytes(-1) {
            if worker.countsOutput, !LuaVM.countOutput(vm, bytes.count + 1) { return 0 }
            let line = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count + 1, alignment: 1)
            line.copyMemory(from: bytes)
            line[bytes.count] = 10
            output.enqueue(UnsafeRawBufferPointer(line))
            line.deallocate()
        }
        guard output.pendingBytes > printMark, stack.canWait, let task = worker.current else { return 0 }
        let waiter = task.waiter!, generation = waiter.begin()
        output.whenDrained(below: printMark) { waiter.end(generation, .done) }
        return wait(worker, stack, .output)
    }

    static let warn: LuaFunction = { state, vm in
        Worker.of(vm).run.log("warning: " + (LuaStack(state).string(-1) ?? ""))
        return 0
    }

    /// log(level, message): one line on standard error.
    static let log: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        Worker.of(vm).run.log("\(stack.string(1) ?? ""): \(stack.string(2) ?? "")")
        return 0
    }
}

// Tasks, sleep, time, contexts, printing.
import LuaVM
import StreamCore

extension HostAPI {
    /// go(fn, ...)
    static let go: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard stack.type(1) == .function else {
            return misuse(worker, stack, "argument 1 of go expected a function, got \(stack.kind(1))")
        }
        let parent = worker.current?.context ?? worker.run.context
        let context = Context(scheduler: worker.scheduler, parent: parent)
        let run = worker.run
        run.begin()
        let task = worker.start(from: stack, arguments: stack.top - 1, context: context, origin: stack.place) {
            task, end in
            switch end {
            case .returned(let count): task.result = result(of: task, count: count)
            case .failed(let failure):
                task.result = .failed(failure.message)
                run.offer(failure, isHandled: { task.isFailureHandled })
            case .stopped(let reason): task.result = .failed(reason.description)
            }
            run.end()
        }
        guard let task else {
            run.end()
            return misuse(worker, stack, "not enough memory for one more task")
        }
        push(stack, task)
        return 1
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

    static func results(of task: LuaTask, _ stack: LuaStack) -> Int32 {
        switch task.result {
        case .values(let buffers):
            for buffer in buffers {
                guard stack.ensure(4) else { return LuaResult.raise }
                if let message = buffer.message {
                    if !stack.decode(message) { return LuaResult.raise }
                } else {
                    stack.pushNil()
                }
            }
            return Int32(buffers.count)
        case .failed(let message):
            task.isFailureHandled = true
            return refuse(stack, message)
        case nil: return refuse(stack, .canceled)
        }
    }

    static let taskWait: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = task(stack) else {
            return misuse(worker, stack, "wait expected a task: call it as task:wait()")
        }
        if task.isOver { return results(of: task, stack) }
        var limit: Int64?
        if !stack.isNil(2) {
            limit = nanoseconds(stack, 2)
            if limit == nil {
                return misuse(worker, stack, "argument 1 expected \(durationHint), got \(stack.describe(2))")
            }
        }
        if let raised = cannotWait(worker, stack, "wait") { return raised }
        let current = worker.current!
        if task === current { return misuse(worker, stack, "a task cannot wait for itself") }
        task.followers.append((current.waiter, current.waiter.begin()))
        return wait(worker, stack, .task(task), timeout: limit)
    }

    static let taskCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let task = task(stack) else {
            return misuse(Worker.of(vm), stack, "cancel expected a task: call it as task:cancel()")
        }
        task.context.cancel(cause: stack.type(2) == .string ? stack.string(2) : nil)
        return 0
    }

    static let taskStatus: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let task = task(stack) else { return misuse(worker, stack, "status expected a task") }
        switch task.result {
        case .values: stack.push("done")
        case .failed(let message):
            stack.push(task.context.reason.map { $0.description == message } ?? false ? message : "failed")
        case nil: stack.push(task === worker.current ? "running" : "waiting")
        }
        return 1
    }

    /// sleep(duration): true, or nil and the reason.
    static let sleep: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let time = nanoseconds(stack, 1) else {
            return misuse(worker, stack, "argument 1 of sleep expected \(durationHint), got \(stack.describe(1))")
        }
        if let raised = cannotWait(worker, stack, "sleep") { return raised }
        _ = worker.current!.waiter.begin()
        return wait(worker, stack, .sleep, timeout: time)
    }

    static let now: LuaFunction = { state, vm in
        LuaStack(state).push(Double(Worker.of(vm).scheduler.now) / 1e9)
        return 1
    }

    // MARK: Contexts

    static let currentContext: LuaFunction = { state, vm in
        let worker = Worker.of(vm)
        pushContext(LuaStack(state), worker.current?.context ?? worker.run.context)
        return 1
    }

    private static func context(_ stack: LuaStack) -> Context? {
        stack.object(1, contextType).map { unsafeDowncast(SharedObject.from($0), to: Context.self) }
    }

    static let contextError: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        if let reason = context(stack)?.reason { stack.push(reason.description) } else { stack.pushNil() }
        return 1
    }

    static let contextCause: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        if let cause = context(stack)?.cause { stack.push(cause) } else { stack.pushNil() }
        return 1
    }

    static let contextCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        context(stack)?.cancel(cause: stack.type(2) == .string ? stack.string(2) : nil)
        return 0
    }

    // MARK: Text

    /// More than this many bytes not yet written, and `print` waits.
    private static let printMark = 1 << 20

    static let printLine: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let output = worker.run.environment.output
        if let bytes = stack.bytes(-1) {
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

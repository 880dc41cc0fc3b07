// Declaring pipelines, waiting for them, and what the Lua side of the library asks the host.
import LuaVM
import StreamCore

extension HostAPI {
    /// declare(spec): the pipeline that will start at the next wait.
    static let declare: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let spec: PipelineSpec
        do throws(LuaProblem) { spec = try SpecReader(stack: stack, vm: vm!).read(1) } catch {
            return misuse(worker, stack, error.description)
        }
        let readers = spec.readersOfStandardInput
        if readers.count > 1 {
            spec.dropReferences(worker.vm.main)
            return misuse(
                worker, stack,
                "standard input can be read by one source, and this pipeline has \(readers.count) that read it: use "
                    + ":tee to work on its values in several ways")
        }
        let pipeline = PipelineRun(
            run: worker.run, spec: spec, parent: worker.innermostContext)
        if !readers.isEmpty, let place = worker.run.readStandardInput(pipeline) {
            pipeline.withdraw(in: worker)
            return misuse(
                worker, stack,
                "standard input can be read by one source, and the pipeline of \(place) reads it: use :tee there to "
                    + "work on its values in several ways")
        }
        worker.run.add(pipeline)
        worker.declare(pipeline)
        push(stack, pipeline)
        return 1
    }

    /// undeclare(pipeline): true if it had not started, and will not.
    static let undeclare: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let isWithdrawn = pipeline(stack).map(worker.withdraw) ?? false
        if isWithdrawn { worker.run.withdraw(pipeline(stack)!) }
        stack.push(isWithdrawn)
        return 1
    }

    /// collect(pipeline): runs it and waits; a table of its values, or nil and the reason.
    static let collect: LuaFunction = { state, vm in pipelineWait(state, vm) }

    private static func pipeline(_ stack: LuaStack) -> PipelineRun? {
        stack.object(1, pipelineType).map { unsafeDowncast(SharedObject.from($0), to: PipelineRun.self) }
    }

    static func outcome(of pipeline: PipelineRun, _ stack: LuaStack) -> Int32 {
        pipeline.handle()
        switch pipeline.outcome {
        case .success:
            if case .collect = pipeline.spec.chain.sink {
                guard let collected = pipeline.collected else { return refuse(stack, .canceled) }
                guard case .values(let buffers) = collected, let message = buffers.first?.message else {
                    if case .failed(let text) = collected { return refuse(stack, text) }
                    return refuse(stack, .canceled)
                }
                return stack.decode(message) ? 1 : LuaResult.raise
            }
            stack.push(true)
            return 1
        case .failure(let problem): return refuse(stack, problem.description)
        case nil: return refuse(stack, .canceled)
        }
    }

    static let pipelineWait: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let pipeline = pipeline(stack) else {
            return misuse(worker, stack, "wait expected a pipeline: call it as pipeline:wait()")
        }
        let limit: Int64?
        switch timeout(worker, stack, 2, "wait") {
        case .success(let time): limit = time
        case .failure(let raised): return raised.code
        }
        if pipeline.outcome != nil { return outcome(of: pipeline, stack) }
        if let raised = cannotWait(worker, stack, "wait") { return raised }
        pipeline.handle()
        let waiter = worker.current!.waiter!
        if !pipeline.follow(waiter, waiter.begin()) {
            _ = waiter.claimCurrent()
            return outcome(of: pipeline, stack)
        }
        return wait(worker, stack, .pipeline(pipeline), timeout: limit)
    }

    static let pipelineCancel: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let pipeline = pipeline(stack) else {
            return misuse(Worker.of(vm), stack, "cancel expected a pipeline: call it as pipeline:cancel()")
        }
        pipeline.handle()
        pipeline.context.cancel(cause: stack.type(2) == .string ? stack.string(2) : nil)
        return 0
    }

    static let pipelineStats: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let pipeline = pipeline(stack) else {
            return misuse(Worker.of(vm), stack, "stats expected a pipeline: call it as pipeline:stats()")
        }
        pipeline.pushStats(stack)
        return 1
    }

    /// run(): waits until all pipelines have ended. True, or nil and the first failure.
    static let runPipelines: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        if let raised = cannotWait(worker, stack, "run") { return raised }
        worker.awaited = worker.run.awaitedPipelines  // first: one may end while they are started
        worker.startDeclared()
        return outcomeOfAll(worker, stack)
    }

    /// Goes on waiting for the next pipeline that has not ended.
    static func outcomeOfAll(_ worker: Worker, _ stack: LuaStack) -> Int32 {
        var failure: LuaProblem?
        for pipeline in worker.awaited {
            pipeline.handle()
            let waiter = worker.current!.waiter!
            if pipeline.outcome == nil {
                if pipeline.follow(waiter, waiter.begin()) { return wait(worker, stack, .allPipelines) }
                _ = waiter.claimCurrent()
            }
            if failure == nil, case .failure(let problem) = pipeline.outcome { failure = problem }
        }
        worker.awaited = []
        if let failure { return refuse(stack, failure.description) }
        stack.push(true)
        return 1
    }

    /// unfinished(fn): keeps the library's function that names pipelines without an end.
    static let keepUnfinished: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.setTop(1)
        Worker.of(vm).unfinishedPipelines = stack.makeReference()
        return 0
    }

    /// Names on standard error the pipelines that the script began and never ended.
    static func reportUnfinished(_ worker: Worker) {
        guard worker.unfinishedPipelines != 0 else { return }
        let stack = worker.vm.main
        stack.push(reference: worker.unfinishedPipelines)
        guard stack.call(arguments: 0, results: 1) == nil else { return }
        let table = stack.top
        for index in 1..<(1 + stack.count(table)) {
            stack.getIndex(table, index)
            worker.run.log(
                "\(stack.string(-1) ?? ""): this pipeline has no end and does not run: add :to(...) or :collect()")
            stack.pop()
        }
        stack.pop()
    }

    // MARK: What the Lua side asks

    /// misuse(text): raises it as a mistake of the script's line.
    static let misuse: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        return misuse(Worker.of(vm), stack, stack.string(1) ?? "")
    }

    /// place(): "script.lua:12", the script's line that runs.
    static let place: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(stack.place)
        return 1
    }

    /// duration(value): seconds, or nil.
    static let duration: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        if let time = nanoseconds(stack, 1) { stack.push(Double(time) / 1e9) } else { stack.pushNil() }
        return 1
    }

    /// size(value): bytes, or nil.
    static let size: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        if let bytes = stack.integer(1) ?? stack.string(1).flatMap(Quantity.bytes), bytes >= 0 {
            stack.push(bytes)
        } else {
            stack.pushNil()
        }
        return 1
    }

    /// kind(value): "a function", "a channel": for messages.
    static let kind: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(stack.shown(1, limit: 60))
        return 1
    }
}

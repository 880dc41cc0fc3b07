// stream.once: a function that runs once for all workers.
import LuaVM
import StreamCore

/// What became of a function that shall run once. The first call runs it, in the caller's worker; the others wait and get
/// copies of its results, or its error. A call that is cancelled before it has a result leaves it to the next one.
final class Once: SharedObject, LuaVisible, @unchecked Sendable {  // `lock` guards what changes
    let place: String
    /// What other workers run: a copy from when it was declared; or why there is none.
    let image: Result<LuaImage, LuaProblem>
    private let lock = Lock()
    private var state = State.idle
    private var followers = Followers()

    enum State {
        case idle
        case running(ObjectIdentifier)
        case done([MessageBuffer])
        case failed(MessageBuffer)
    }

    /// What a call is to do.
    enum Answer {
        case run, wait, isInside
        case results([MessageBuffer])
        case raise(MessageBuffer)
    }

    init(place: String, image: Result<LuaImage, LuaProblem>) {
        self.place = place
        self.image = image
    }

    var luaType: LuaObjectType { HostAPI.onceType }

    /// On the task's worker. `.wait`: a wait of the task's has begun.
    func call(_ task: LuaTask) -> Answer {
        lock.withLock {
            switch state {
            case .idle:
                state = .running(ObjectIdentifier(task))
                return .run
            case .running(let other):
                if other == ObjectIdentifier(task) { return .isInside }
                followers.add(task.waiter)
                return .wait
            case .done(let results): return .results(results)
            case .failed(let error): return .raise(error)
            }
        }
    }

    /// The call that runs it has come to an end. False: it had already.
    func settle(_ end: State) -> Bool {
        let told = lock.withLock { () -> Followers? in
            guard case .running = state else { return nil }
            state = end
            return followers.take()
        }
        guard var told else { return false }
        // Where it is to be run again, whoever comes first does, and the others wait again.
        told.tell()
        return true
    }
}

/// One call that runs it: closed however it ends.
final class OnceRun: SharedObject, LuaVisible, @unchecked Sendable {  // its worker's thread
    let once: Once
    private var isOver = false

    init(once: Once) { self.once = once }

    var luaType: LuaObjectType { HostAPI.onceRunType }

    func end(_ state: Once.State) {
        guard !isOver else { return }
        isOver = true
        _ = once.settle(state)
    }

    /// Its task is gone without an end.
    func abandon() { end(.idle) }
}

extension HostAPI {
    static let onceType = LuaObjectType(
        "once function", phrase: "a once function", shared: true, methods: [], metamethods: [("__call", callOnce)])
    static let onceRunType = LuaObjectType(
        "once run", phrase: "a run of a once function", shared: false, methods: [],
        metamethods: [("__close", closeOnceRun)])

    private static func once(_ stack: LuaStack, _ index: Int32) -> Once? {
        stack.object(index, onceType).map { unsafeDowncast(SharedObject.from($0), to: Once.self) }
    }

    /// once(fn)
    static let makeOnce: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm), main = worker.vm.main
        guard main.ensure(8) else { return misuse(worker, stack, "not enough memory for one more once function") }
        stack.pushCopy(1)
        stack.move(1, to: main)
        defer { main.pop() }
        push(stack, Once(place: stack.place, image: worker.vm.image(main, count: 1)))
        return 1
    }

    /// once_first(fn): keeps the library's function that runs a once function the first time.
    static let setOnceFirst: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.setTop(1)
        Worker.of(vm).onceFirst = stack.makeReference()
        return 0
    }

    private static let callOnce: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let once = once(stack, 1) else { return misuse(worker, stack, "a once function is called as f()") }
        if stack.top > 1 {
            return misuse(
                worker, stack,
                "a once function takes no arguments, since its result is kept for all: let it read what it needs")
        }
        return call(once, worker, stack)
    }

    private static func call(_ once: Once, _ worker: Worker, _ stack: LuaStack) -> Int32 {
        guard let task = worker.current else {
            return misuse(worker, stack, "a once function expected a task to run in")
        }
        if let raised = cannotWait(worker, stack, "a once function") { return raised }
        // Before the once function is this task's to run: for want of memory it would be nobody's.
        if worker.onceFirst == 0, !loadLibrary(worker, worker.vm.main) {
            stack.push("not enough memory")
            return LuaResult.raise
        }
        switch once.call(task) {
        case .results(let results): return push(results, stack)
        case .raise(let error):
            if let message = error.message { _ = stack.decode(message) } else { stack.pushNil() }
            return LuaResult.raise
        case .isInside:
            return misuse(
                worker, stack, "the once function of \(once.place) calls itself: it would wait for its own result")
        case .wait: return wait(worker, stack, .host(OnceWait(once)))
        case .run:
            let run = OnceRun(once: once)
            task.onceRuns.append(run)
            stack.setTop(0)
            push(stack, run)
            stack.push(reference: worker.onceFirst)
            push(stack, once)
            push(stack, run)
            return LuaResult.call
        }
    }

    private final class OnceWait: HostWait {
        let once: Once
        init(_ once: Once) { self.once = once }
        var description: String { "waiting for the once function of \(once.place)" }
        func finish(_ worker: Worker, _ stack: LuaStack) -> Int32 { call(once, worker, stack) }
        func abandon() {}
    }

    private static func onceRun(_ stack: LuaStack, _ index: Int32) -> OnceRun? {
        stack.object(index, onceRunType).map { unsafeDowncast(SharedObject.from($0), to: OnceRun.self) }
    }

    /// once_copy(once): its function, restored in this state; raises why it cannot be.
    static let copyOnce: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let once = once(stack, 1) else { return misuse(worker, stack, "a once function was expected") }
        switch once.image {
        case .failure(let problem):
            return misuse(worker, stack, "the once function of \(once.place) cannot run in this worker: it \(problem)")
        case .success(let image):
            if let problem = worker.vm.restore(image) { return misuse(worker, stack, problem) }
            worker.vm.main.move(1, to: stack)
            return 1
        }
    }

    /// once_keep(run, results...): keeps the results for all, and returns them.
    static let keepOnce: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let run = onceRun(stack, 1), let task = worker.current else { return 0 }
        let count = stack.top - 1
        // What a cancelled wait made of it is no result: the next call tries again.
        if count >= 1, stack.isNil(2), task.context.reason != nil {
            run.end(.idle)
            return count
        }
        var results: [MessageBuffer] = []
        for index in 2..<(count + 2) {
            let buffer = MessageBuffer()
            if !stack.isNil(index) {
                switch stack.encode(index, in: vm!) {
                case .success(let message): buffer.fill(message)
                case .failure(let problem):
                    return misuse(worker, stack, "result \(index - 1) of a once function: \(problem)")
                }
            }
            results.append(buffer)
        }
        run.end(.done(results))
        return count
    }

    /// __close(run, error)
    private static let closeOnceRun: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let run = onceRun(stack, 1) else { return 0 }
        worker.current?.onceRuns.removeAll { $0 === run }
        // What a task raises after its context has ended is its end: the next call tries again.
        if worker.current?.context.reason != nil || stack.isNil(2) {
            run.end(.idle)
            return 0
        }
        let error = MessageBuffer()
        switch stack.encode(2, in: vm!) {
        case .success(let message): error.fill(message)
        case .failure:
            stack.push(stack.describe(2))
            if case .success(let message) = stack.encode(-1, in: vm!) { error.fill(message) }
        }
        run.end(.failed(error))
        return 0
    }
}

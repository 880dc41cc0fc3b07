// A worker: one Lua state, its tasks, and the order in which they run.
import LuaVM
import StreamCore
import Synchronization

/// Runs the tasks of one Lua state. Tasks switch only where they wait; a task that was preempted is resumed first.
final class Worker: Job, @unchecked Sendable {  // all state is its running thread's, but for what `inbox*` says
    let run: Run
    let name: String
    /// Runs the script's top level, or a stage. Set before it starts.
    var isMain = false, isStage = false
    @exclusivity(unchecked) private(set) var vm: LuaVM!
    /// Its pointer, without a reference count for each look at it.
    @exclusivity(unchecked) private(set) var vmPointer: OpaquePointer?
    /// The task that runs now: `resume` holds it. This and `ready` are the worker's thread's alone.
    @exclusivity(unchecked) private var running: Unmanaged<LuaTask>?
    var current: LuaTask? { running?.takeUnretainedValue() }
    /// Its seat, without a reference count for each look at it.
    @exclusivity(unchecked) private(set) var currentSeat: Unmanaged<Waiter>?

    /// Calls `body` with the task that runs now, of which there is one.
    @inline(__always)
    func withCurrent<R>(_ body: (LuaTask) -> R) -> R { running!._withUnsafeGuaranteedRef(body) }
    /// Which task computes, for the timers of a grace period; 0: none. One that was preempted still does: it is resumed
    /// first.
    let computing = Atomic<UInt>(0)
    private(set) var tasks: [ObjectIdentifier: LuaTask] = [:]
    /// In the order in which they were started: a seed fixes it.
    var orderedTasks: [LuaTask] { tasks.values.sorted { $0.number < $1.number } }
    private var startedTasks: UInt64 = 0
    /// The ports of those that drive a stage, in that order too: few, however many tasks there are.
    @exclusivity(unchecked) private var ports: [StagePorts] = []  // its thread's, as the two below
    @exclusivity(unchecked) var ready = TaskQueue()
    /// What is received for the running host function; dropped at the next one.
    let received = MessageBuffer()
    /// Selects that no task uses now.
    @exclusivity(unchecked) private var selects: [Select] = []
    /// Pipelines declared and not yet started: they start at the declaring code's next wait.
    @exclusivity(unchecked) private var declared: [PipelineRun] = []
    /// The library's function that names pipelines without an end; 0: the library is not loaded.
    var unfinishedPipelines: Int32 = 0
    /// The library's function that runs a once function the first time; 0 as above.
    var onceFirst: Int32 = 0
    /// The library's function that calls what a circuit breaker's `run` was given; 0 as above.
    var breakerRunner: Int32 = 0
    /// The library's `stream.test`, and the functions that its `t` has; 0: not loaded.
    var testLibrary: Int32 = 0, testChecks: Int32 = 0
    /// What `stream.run` still waits for.
    var awaited: [PipelineRun] = []
    /// The text of the last mistake in the program that a host function reported.
    var lastMisuse: String?
    /// Runs once, on the worker's thread, before anything else.
    @exclusivity(unchecked) private var prepare: ((Worker) -> Void)?  // its thread's, as the next
    /// Set when it shall end after this slice; its state is dropped then.
    @exclusivity(unchecked) private var ending = false
    /// At the end: tasks whose wait was claimed by someone who has not told it yet.
    private var untold: Set<ObjectIdentifier>?
    private var onEnd: [() -> Void] = []
    @exclusivity(unchecked) private var onIdle: (() -> Void)?  // its thread's
    /// The task to be stopped for good, when it next comes to the interrupt.
    let victim = Atomic<UInt>(0)
    /// What `on_end` was asked for here, and has not been started.
    var endings: [ObjectIdentifier: Ending] = [:]
    /// Their tasks that have not ended; and what follows the last ones of a worker that is stopped.
    var endingTasks = 0, lastEndings: LastEndings?
    let contextGuard = ContextGuard()
    var lastPlace = ""
    let grace = Atomic<Bool>(false)
    /// Under `inboxLock`: the task that computes although its context has ended. `grace` says that there is one.
    var overdue: Overdue?
    /// Under `inboxLock`.
    var isGraceArmed = false

    /// The channels of a stage whose function has them itself. Where they are a script's, it is counted here how many values
    /// it took from one and put into the other; a link of the pipeline is counted by its channel.
    @exclusivity(unchecked) var stageInput: Channel?
    @exclusivity(unchecked) var stageOutput: Channel?
    @exclusivity(unchecked) private(set) var taken = 0
    @exclusivity(unchecked) private(set) var put = 0
    /// What others may read of that meanwhile, and what of it stands there.
    var stageMeter: Meter?
    @exclusivity(unchecked) private var published = (taken: 0, put: 0)
    /// Permits and reservations that its script has.
    var holdings = Holdings()
    /// Why what ran here was stopped: see Worker+Limits. Its thread's.
    @exclusivity(unchecked) var stop: LimitStop?
    /// What its messages say of its limits.
    @exclusivity(unchecked) var limits = WorkerLimits() { didSet { countsOutput = limits.countsOutput } }
    /// Asked for each value sent.
    @exclusivity(unchecked) private(set) var countsOutput = false
    /// On its own channels, since these were looked at.
    @exclusivity(unchecked) var sentBytes = 0

    @exclusivity(unchecked) var countsTaken = false  // its thread's, as the next two; asked for each value
    @exclusivity(unchecked) var countsPut = false
    var countsValues: Bool { countsTaken || countsPut }

    @inline(__always)
    func countReceived(from channel: Channel) {
        if channel.isExposed { channel.exposure!.countReceived() }
        if channel === stageInput {
            if countsTaken { taken += 1 }
            limits.driver?.countTurn()
        }
    }
    @inline(__always)
    func countSent(on channel: Channel) {
        if channel.isExposed { channel.exposure!.countSent() }
        if countsPut && channel === stageOutput { put += 1 }
    }

    /// Tasks whose wait was ended by others, put there before the wake that calls for a look.
    private let inbox = TaskInbox()
    let inboxLock = Lock()
    /// Whether there is anything in `calls`; written under the lock, before the wake.
    private let hasCalls = Atomic<Bool>(false)
    /// Under `inboxLock`.
    private var calls: [(Worker) -> Void] = []

    init(run: Run, name: String, prepare: @escaping (Worker) -> Void) {
        self.run = run
        self.name = name
        self.prepare = prepare
        super.init(scheduler: run.scheduler)
    }

    /// The same for what is called for each value: without a reference count.
    @inline(__always)
    static func with(_ vm: OpaquePointer?, _ body: (Worker) -> Int32) -> Int32 {
        Unmanaged<Worker>.fromOpaque(LuaVM.owner(of: vm)!)._withUnsafeGuaranteedRef(body)
    }

    static func of(_ vm: OpaquePointer?) -> Worker {
        Unmanaged<Worker>.fromOpaque(LuaVM.owner(of: vm)!).takeUnretainedValue()
    }

    /// Makes its state. False: no memory.
    func open(memoryLimit: Int) -> Bool {
        let seed = scheduler.random()
        let hashSeed = run.environment.test == nil ? nil : UInt32(truncatingIfNeeded: (seed &* 0x9E37_79B9) >> 32)
        let made = LuaVM(
            host: HostAPI.host, owner: Unmanaged.passUnretained(self).toOpaque(), memoryLimit: memoryLimit,
            seed: seed, hashSeed: hashSeed)
        inboxLock.withLock { vm = made }  // others may ask for its memory
        vmPointer = vm?.pointer
        return vm != nil
    }

    /// Of its state; nil: it has none now. Any thread.
    var memory: LuaMemory? { inboxLock.withLock { vm?.memory ?? lastMemory } }
    /// Under `inboxLock`: of the state that was dropped.
    private var lastMemory: LuaMemory?

    /// What it was charged for is gone. Any thread.
    func giveBack(_ bytes: Int) { inboxLock.withLock { vm?.giveBack(bytes) } }

    // MARK: From any thread

    func makeReady(_ task: LuaTask) {
        if LuaVM.runningOwner == Unmanaged.passUnretained(self).toOpaque() {  // one of its own tasks, on its own thread
            ready.append(task)
            return
        }
        inbox.push(task)
        wake()
    }

    /// Runs `body` on the worker's thread, between tasks.
    func call(_ body: @escaping (Worker) -> Void) {
        inboxLock.withLock {
            calls.append(body)
            hasCalls.store(true, ordering: .releasing)
        }
        wake()
    }

    func takeSelect() -> Select { selects.popLast() ?? Select() }
    func giveBack(_ select: Select) { if selects.count < 16 { selects.append(select) } }

    /// Stops the task that computes now, if one does, for good.
    func stopComputing() {
        inboxLock.withLock {
            grace.store(true, ordering: .sequentiallyConsistent)  // whoever comes back clears what is set here
            let task = computing.load(ordering: .sequentiallyConsistent)
            guard task != 0, let vm else { return }
            victim.store(task, ordering: .relaxed)
            vm.kill()
        }
    }

    static func identity(_ task: LuaTask) -> UInt { UInt(bitPattern: ObjectIdentifier(task)) }

    // MARK: Tasks

    /// Starts a task of the function and `arguments` values on top of `source`, which it pops. Nil: no memory.
    ///
    /// - Parameters:
    ///   - isOwn: whether scripts see `context` as this task's; else it has one below that.
    ///   - drives: its function is the driver of a stage, which protects its calls itself.
    ///   - isPrincipal: it does what the worker is there for, and fails where that is stopped for a limit.
    @discardableResult
    func start(
        from source: LuaStack, arguments: Int32, context: Context, isOwn: Bool = true, origin: String,
        ports: StagePorts? = nil, drives: Bool = false, isPrincipal: Bool = false,
        completion: @escaping (LuaTask, TaskEnd) -> Void
    ) -> LuaTask? {
        guard let (stack, reference) = vm.makeTask(closes: !drives), stack.ensure(arguments + 8) else { return nil }
        source.move(arguments + 1, to: stack)
        let task = LuaTask(
            worker: self, stack: stack, anchor: reference, arguments: drives ? arguments : arguments + 1,
            context: context, isOwn: isOwn, origin: origin, completion: completion)
        vm.charge(Self.taskBytes)
        startedTasks += 1
        task.number = startedTasks
        task.isPrincipal = isPrincipal
        task.ports = ports
        task.deadlines = ports?.deadlines
        task.deadlines?.reset()
        tasks[ObjectIdentifier(task)] = task
        if let ports {
            self.ports.append(ports)
            ports.driver.setOwner(stack)
        }
        task.enterFirst()
        ready.append(task)
        return task
    }

    /// The running task is about to wait, or has ended: pipelines that it declared start now.
    func startDeclared() {
        while !declared.isEmpty {
            let pipelines = declared
            declared = []
            for pipeline in pipelines { pipeline.start(in: self) }
        }
    }

    func declare(_ pipeline: PipelineRun) { declared.append(pipeline) }

    /// Takes back a pipeline that has not started. False: it has.
    func withdraw(_ pipeline: PipelineRun) -> Bool {
        guard let index = declared.firstIndex(where: { $0 === pipeline }) else { return false }
        declared.remove(at: index)
        pipeline.withdraw(in: self)
        return true
    }

    /// Tasks that have not ended.
    var hasTasks: Bool { tasks.values.contains { !$0.isOver } }

    /// Ends the worker when its last task has ended; at once if its state was stopped for a limit.
    func endWhenIdle(_ body: @escaping () -> Void) { if vm == nil || stop != nil { end(body) } else { onIdle = body } }

    /// Ends the worker after this slice.
    func end(_ body: @escaping () -> Void) {
        ending = true
        onEnd.append(body)
    }

    // MARK: Running

    override func work() -> Outcome {
        if let prepare {
            self.prepare = nil
            prepare(self)
        }
        while !ending {
            takeInbox()
            guard let task = ready.popFirst() else { break }
            if task.isOver { continue }
            if task.isStopped {
                finish(stopped: task)
                continue
            }
            if resume(task) {
                settle()
                return .again
            }
            if let held = task.heldInput {
                task.heldInput = nil
                held.openIntake()
            }
            if !declared.isEmpty { startDeclared() }
        }
        if onIdle != nil, tasks.isEmpty, !ending, !endings.isEmpty {
            startDueEndings()
            if !ready.isEmpty { return .again }
        }
        if let onIdle, tasks.isEmpty, !ending {
            self.onIdle = nil
            end(onIdle)
        }
        if ending {
            takeInbox()  // what was called for meanwhile, or after the end: whoever called may wait for it
            if endWaits() { close() }
        } else {
            settle()
        }
        return .park
    }

    private func takeInbox() {
        guard hasCalls.load(ordering: .acquiring) else { return inbox.move(to: &ready) }
        let bodies = inboxLock.withLock {
            hasCalls.store(false, ordering: .relaxed)
            let bodies = calls
            calls = []
            return bodies
        }
        inbox.move(to: &ready)  // after `calls` was read: what was ready before a call is ready in it
        for body in bodies { body(self) }
    }

    /// Nothing stays private in a port that a neighbour could use while this worker does not run.
    private func settle() {
        for ports in ports { ports.settle() }
        publishValues()
    }

    private func publishValues() {
        guard countsValues, let stageMeter else { return }
        let (moreTaken, morePut) = (taken - published.taken, put - published.put)
        stageMeter.add(
            Meter.Counts(received: moreTaken, emitted: morePut, created: morePut, consumed: moreTaken))
        published = (taken, put)
    }

    /// Runs a task until it waits or ends. True: it was preempted.
    private func resume(_ task: LuaTask) -> Bool {
        if task.arguments < 0, let ports = task.ports {
            if task.arguments == -1 {
                ports.resumed(task.waiter)
            } else if let isPreempted = goOn(task, follow(ports.onJudged?(task) ?? .stop, ports)) {
                return isPreempted
            }
        }
        while true {
            let arguments = max(0, task.arguments)
            task.arguments = 0
            running = .passUnretained(task)
            currentSeat = task.waitSeat
            // One that was preempted still computes, and what its grace period has come to stands.
            if computing.load(ordering: .relaxed) == 0 {
                computing.store(Self.identity(task), ordering: .sequentiallyConsistent)
                checkGrace(of: task)
                // The hook looks at it again, and says which value it is.
                if task.deadlines?.resumed() ?? false { vm.kill() }
            }
            LuaVM.setEntered(vmPointer, task.entered)
            let resumption = LuaVM.resume(vmPointer, task.stack, arguments: arguments)
            running = nil
            currentSeat = nil
            var isVictim = false
            if case .preempted = resumption {
            } else {
                // The order with `grace` is the one that `contextEnded` relies on.
                computing.store(0, ordering: .sequentiallyConsistent)
                isVictim = endGrace(of: task)
            }
            switch resumption {
            case .waits:
                task.deadlines?.waits()
                guard let ports = task.ports, let progress = serve(task, ports) else { return false }
                if progress == .ready { continue }
                if progress != .waits { return goOn(task, progress) ?? false }
                task.arguments = -1  // a port's wait: its outcome is looked at before the next resume
                task.deadlines?.enter(task)
                if let reason = task.context.reason, task.waiter.claimCurrent() {
                    task.waiter.outcome = .ended(reason)
                    task.deadlines?.isRefused = true
                    ready.prepend(task)
                }
                return false
            case .preempted:
                ready.prepend(task)
                return true
            case .stopped:
                if let limit = vm.over {
                    stop(for: limit, in: task)
                    return false
                }
                vm.clearKill()
                if let failure = task.deadlines?.stopped(task, isVictim: isVictim, at: vm.stopPlace) {
                    noteStop(of: task, for: .timeout)
                    over(task, .failed(failure))
                    return false
                }
                if !isVictim && !(task.deadlines?.driver.isOverdue ?? false) {
                    ready.prepend(task)
                    return true
                }
                run.environment.test?.noteStop(vm.stopPlace)
                noteStop(of: task, for: nil)
                holdings.takeBack(of: task)
                over(task, .stopped(task.context.reason ?? .canceled))
                return false
            case .returned(let count):
                over(task, .returned(count))
                return false
            case .raised:
                let failure = describeFailure(task)
                over(task, end(of: task, raising: failure))
                return false
            }
        }
    }

    /// Does what a driver asks for. Nil: it asks for nothing, the task waits for something else.
    private func serve(_ task: LuaTask, _ ports: StagePorts) -> StagePorts.Progress? {
        switch ports.driver.takeRequest() {
        case .nothing: return nil
        case .input: return ports.refill(task.waiter)
        case .output:
            let progress = ports.send(task.waiter)
            // A queue that drops never makes it wait, so nothing else tells it of the end.
            if ports.driver.isRendezvous, progress == .ready, let reason = (ports.home ?? task.context).reason {
                ports.abandon(reason)
            }
            return progress
        case .judgement:
            ports.driver.pushFault(task.stack)
            let failure = failure(task.stack, -1)
            task.stack.pop()
            if let reason = (ports.home ?? task.context).reason {  // what is raised after the end is the end
                ports.driver.dropFailure()
                ports.abandon(reason)
                return .ready
            }
            return follow(ports.onFailure?(failure, task) ?? .stop, ports)
        }
    }

    func over(_ task: LuaTask, _ end: TaskEnd) {
        if !declared.isEmpty { startDeclared() }
        task.ports?.driver.setOwner(nil)  // before the completion, which may start the next one
        task.complete(end)
        tasks.removeValue(forKey: ObjectIdentifier(task))
        if let own = task.ports { ports.removeAll { $0 === own } }
        vm.freeTask(task.anchor)
        vm.uncharge(Self.taskBytes)
    }

    /// What a task raises after its context has ended is its end, not a failure. What leaves a `ctx:run` is the caller's,
    /// whatever has become of `ctx`.
    private func end(of task: LuaTask, raising failure: ScriptFailure) -> TaskEnd {
        let reason = task.outermost.reason
        // The host's own: it says no more than the reason.
        let isStop = failure.message == (reason ?? task.context.reason)?.description
        if let reason, !failure.isMisuse, isStop || !task.failsAfterItsEnd { return .stopped(reason) }
        guard isStop else { return .failed(failure) }
        var failure = failure
        let place = task.stack.place
        failure.message = "\(place.isEmpty ? task.origin : place): \(failure.message)"
        return .failed(failure)
    }

    /// Ends the waits that are open somewhere: they must not find this worker gone. False: others have claimed some and
    /// are about to write how they ended; each of them wakes this worker when that stands.
    private func endWaits() -> Bool {
        if let untold {
            self.untold = untold.subtracting(ready.identities)
        } else {
            let told = Set(ready.identities)
            let claimed = orderedTasks.filter { !$0.waiter.claimCurrent() }
            untold = Set(claimed.map(ObjectIdentifier.init)).subtracting(told)
        }
        return untold!.isEmpty
    }

    /// Counts what a wait that is over has moved, and takes back what it left elsewhere.
    func endWait(of task: LuaTask) {
        if let channel = task.wait.channel {
            if case .sent = task.waiter.outcome { countSent(on: channel) }
            if case .received = task.waiter.outcome { countReceived(from: channel) }
        }
        task.waiter.dropOutbox()
        if case .select(let select) = task.wait {
            HostAPI.count(task.waiter.outcome, of: select, in: self)
            select.finish(task.waiter, task.waiter.outcome)
        }
        task.wait.abandon()
    }

    private func close() {
        lastEndings = nil
        for task in orderedTasks {
            // no wait is open, and how each ended is written
            endWait(of: task)
            task.complete(.stopped(.canceled))
        }
        publishValues()
        dropEndings()
        tasks = [:]
        ports = []
        ready.removeAll()
        received.drop()
        holdings.takeBack()
        vmPointer = nil
        let dropped = vm  // its objects go with no lock held
        inboxLock.withLock {
            lastMemory = vm.map { LuaMemory(used: 0, peak: $0.memory.peak, limit: $0.memory.limit) }
            vm = nil
        }
        withExtendedLifetime(dropped) {}
        let onEnd = onEnd, onIdle = onIdle
        self.onEnd = []
        self.onIdle = nil
        onIdle?()
        for body in onEnd { body() }
    }
}

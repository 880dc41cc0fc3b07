// One coroutine that the host runs in a worker.
import DequeModule
import LuaVM
import StreamCore
import Synchronization

/// How a task ended.
enum TaskEnd {
    /// It returned; the values are on its stack while the completion runs.
    case returned(Int32)
    case failed(ScriptFailure)
    /// Its context ended and it did not return by itself.
    case stopped(Reason)
}

/// An error that a script raised, for people.
struct ScriptFailure: Sendable {
    /// Lua's message, with file and line where Lua gives them.
    var message: String
    var traceback = ""
    /// A mistake in the program that the host found, rather than something that happened.
    var isMisuse = false
}

/// A wait for something that has no case of its own in `Wait`.
protocol HostWait: AnyObject {
    /// What the task does meanwhile, for reports: "waiting for the limiter of script.lua:3".
    var description: String { get }
    /// It ended with `.done`: pushes the results and returns their number.
    func finish(_ worker: Worker, _ stack: LuaStack) -> Int32
    /// It ended otherwise, and nobody will tell: takes back what it left elsewhere. On the worker's thread.
    func abandon()
}

/// What a task's function is waiting for, and so what `finish` gives it.
enum Wait {
    case none
    // Not counted: the channel stands on the stack of the function that waits, and `complete` forgets what is here.
    case send(Unmanaged<Channel>)
    case receive(Unmanaged<Channel>)
    case range(Unmanaged<Channel>)
    case sleep
    case task(LuaTask)
    case pipeline(PipelineRun)
    case allPipelines
    case output
    case select(Select)
    case host(any HostWait)

    var description: String {
        switch self {
        case .none: "computing"
        case .send(let channel): "sending on \(channel._withUnsafeGuaranteedRef(\.name))"
        case .receive(let channel), .range(let channel): "receiving from \(channel._withUnsafeGuaranteedRef(\.name))"
        case .sleep: "sleeping"
        case .task(let task): "waiting for the task of \(task.origin)"
        case .pipeline: "waiting for a pipeline"
        case .allPipelines: "waiting for the pipelines"
        case .output: "waiting for standard output"
        case .select(let select): select.description
        case .host(let wait): wait.description
        }
    }

    var channel: Channel? {
        switch self {
        case .send(let channel), .receive(let channel), .range(let channel): channel.takeUnretainedValue()
        default: nil
        }
    }

    /// It is on a link of a pipeline that a script has in hand.
    var isExposed: Bool {
        switch self {
        case .send(let channel), .receive(let channel), .range(let channel):
            channel._withUnsafeGuaranteedRef { $0.isExposed }
        default: false
        }
    }

    /// It ended in another way than the one it was for.
    func abandon() {
        channel?.forget()
        if case .host(let wait) = self { wait.abandon() }
    }
}

/// A task of a worker: a coroutine, the context it runs in, and its one seat for waiting.
final class LuaTask: SharedObject, WaiterOwner, ContextListener, @unchecked Sendable {
    // Touched by its worker's thread alone, but for `waiter` and what `lock` in the worker guards.
    let worker: Worker
    let stack: LuaStack
    let anchor: Int32
    /// The one in which it waits now.
    @exclusivity(unchecked) private(set) var context: Context
    /// Of `context`.
    @exclusivity(unchecked) private(set) var mark: ContextMark
    private let seat = ContextSeat()
    /// Changes with `context`; any thread may ask.
    private let epoch = Atomic<UInt32>(0)
    /// Those that it will be in again, innermost last, while it is in others: see `enter`.
    @exclusivity(unchecked) private var outer: [Context] = []  // its worker's thread alone
    /// The lowest of them is its own: what ends that ends this task and what it started, and nothing else.
    private var hasOwn: Bool
    /// Held by it, and not counted again at each switch.
    @exclusivity(unchecked) private(set) var waitSeat: Unmanaged<Waiter>!
    var waiter: Waiter! { waitSeat.takeUnretainedValue() }
    /// The one behind it in the row of those that are ready: see `TaskQueue`.
    @exclusivity(unchecked) var nextReady: Unmanaged<LuaTask>?
    @exclusivity(unchecked) var wait = Wait.none
    @exclusivity(unchecked) var timer: Timer?
    /// Arguments on its stack for the next resume.
    @exclusivity(unchecked) var arguments: Int32
    /// The input of a stage's function: held until that has requested, or first waits.
    var heldInput: Channel?
    /// It cleans up: until then nobody drops it. Nanoseconds on the scheduler's clock.
    var cleansUntil: Int64 = .min
    /// The ports of the stage whose driver this task runs.
    @exclusivity(unchecked) var ports: StagePorts?
    /// Of the values that it has, if that stage has a timeout.
    @exclusivity(unchecked) var deadlines: ValueDeadlines?
    private let completion: (LuaTask, TaskEnd) -> Void
    /// What `task:wait()` returns: messages, or why there are none.
    var result: TaskResult?
    var isFailureHandled = false
    /// Of an `on_end`: it is run after an end, so what it raises is a failure.
    var failsAfterItsEnd = false
    /// Any thread may ask.
    var isOver: Bool { over.load(ordering: .relaxed) }
    private let over = Atomic<Bool>(false)
    /// Others that wait for this one.
    var followers = Followers()
    /// The group that it is of.
    var group: TaskGroup?
    /// Functions of `stream.once` that it runs.
    var onceRuns: [OnceRun] = []
    /// It does what its worker is there for.
    var isPrincipal = false
    /// Its worker was stopped for a limit while it was there: it never goes on.
    @exclusivity(unchecked) var isStopped = false
    /// Bytes of the message with which it waits that its worker is charged for.
    @exclusivity(unchecked) var charged = 0
    /// Where it was started: `script.lua:12`.
    let origin: String
    /// Counted in its worker.
    var number: UInt64 = 0

    enum TaskResult {
        case values([MessageBuffer])
        case failed(String)
        case stopped(Reason)
    }

    /// - Parameter completion: called once on the worker's thread, with the task's stack still there.
    init(
        worker: Worker, stack: LuaStack, anchor: Int32, arguments: Int32, context: Context, isOwn: Bool, origin: String,
        completion: @escaping (LuaTask, TaskEnd) -> Void
    ) {
        self.worker = worker
        self.stack = stack
        self.anchor = anchor
        self.arguments = arguments
        self.context = context
        mark = context.mark
        hasOwn = isOwn
        self.origin = origin
        self.completion = completion
        super.init()
        waitSeat = .passRetained(Waiter(owner: self))
    }

    func ready(_ waiter: Waiter) { worker.makeReady(self) }

    deinit {
        seat.destroy()
        waitSeat.release()
    }

    // MARK: Contexts

    /// Once, when it has begun.
    func enterFirst() { move(to: context) }

    /// From now on it waits in `next`, until `leave`.
    func enter(_ next: Context) {
        outer.append(context)
        move(to: next)
    }

    func leave() { move(to: outer.removeLast()) }

    /// The one that it began in, or its own.
    var outermost: Context { outer.first ?? context }

    /// From now on that is another.
    func setOutermost(_ next: Context) {
        if outer.isEmpty { move(to: next) } else { outer[0] = next }
    }

    /// How many it has entered and not left.
    var entered: Int { outer.count }

    /// Leaves those above `depth`; returns them.
    func leave(to depth: Int) -> [Context] {
        let left = Array(outer[(depth + 1)...]) + [context]
        let next = outer[depth]
        outer.removeSubrange(depth...)
        move(to: next)
        return left
    }

    func enter(_ all: [Context]) {
        guard let last = all.last else { return }
        outer.append(context)
        outer.append(contentsOf: all.dropLast())
        move(to: last)
    }

    private func move(to next: Context) {
        epoch.store(next.add(self, seat).epoch, ordering: .sequentiallyConsistent)
        context = next
        mark = next.mark
        worker.contextChanged(of: self)
    }

    /// The context that scripts see, and in which what this task starts is. Most tasks start nothing: a node of its own
    /// is made when it is first asked for.
    var innermost: Context {
        deadlines?.enter(self)
        return outer.isEmpty ? own : context
    }

    /// What ends this task.
    var own: Context {
        if hasOwn { return outer.first ?? context }
        let own = Context(scheduler: worker.scheduler, parent: outer.first ?? context)
        hasOwn = true
        if outer.isEmpty { move(to: own) } else { outer[0] = own }
        return own
    }

    var hasOwnContext: Bool { hasOwn }

    func contextEnded(_ reason: Reason) { contextEnded(reason, epoch: epoch.load(ordering: .sequentiallyConsistent)) }

    /// Whoever ends a context may tell it late: then it waits in another one.
    func contextEnded(_ reason: Reason, epoch: UInt32) {
        if waiter.claimCurrent(where: { self.epoch.load(ordering: .sequentiallyConsistent) == epoch }) {
            waiter.outcome = .ended(reason)
            if worker.run.environment.planted == .waitsDropped && ports == nil { isStopped = true }
            worker.makeReady(self)
        } else {
            worker.contextEnded(of: self, reason) { self.epoch.load(ordering: .sequentiallyConsistent) == epoch }
        }
    }

    /// Ends it, once.
    func complete(_ end: TaskEnd) {
        guard !isOver else { return }
        over.store(true, ordering: .relaxed)
        context.remove(seat)
        timer.map(worker.scheduler.disarm)
        timer = nil
        wait = .none
        if charged != 0 { worker.uncharge(self) }
        completion(self, end)
        for run in onceRuns { run.abandon() }
        onceRuns = []
        followers.tell()
    }
}

/// Waits that something ends: of those that wait for a task, a group.
struct Followers {
    private var waits: [(waiter: Waiter, generation: UInt64)] = []
    /// At so many those that ended otherwise are taken out: who asks again and again with a timeout leaves many.
    private var mark = 8

    /// Begins a wait of `waiter`'s.
    mutating func add(_ waiter: Waiter) {
        if waits.count >= mark {
            waits.removeAll { !$0.waiter.isOpen($0.generation) }
            mark = max(8, 2 * waits.count)
        }
        waits.append((waiter, waiter.begin()))
    }

    /// Takes them all.
    mutating func take() -> Followers {
        defer { waits = [] }
        return self
    }

    /// Ends their waits; with no lock held.
    mutating func tell() {
        let told = waits
        waits = []
        for wait in told { wait.waiter.end(wait.generation, .done) }
    }
}

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
    case send(Channel)
    case receive(Channel)
    case range(Channel)
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
        case .send(let channel): "sending on \(channel.name)"
        case .receive(let channel), .range(let channel): "receiving from \(channel.name)"
        case .sleep: "sleeping"
        case .task: "waiting for a task"
        case .pipeline: "waiting for a pipeline"
        case .allPipelines: "waiting for the pipelines"
        case .output: "waiting for standard output"
        case .select(let select): select.description
        case .host(let wait): wait.description
        }
    }

    var channel: Channel? {
        switch self {
        case .send(let channel), .receive(let channel), .range(let channel): channel
        default: nil
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
    let context: Context
    @exclusivity(unchecked) private(set) var waiter: Waiter!
    @exclusivity(unchecked) var wait = Wait.none
    @exclusivity(unchecked) var timer: Timer?
    /// Arguments on its stack for the next resume.
    @exclusivity(unchecked) var arguments: Int32
    /// The input of a stage's function: held until that has requested, or first waits.
    var heldInput: Channel?
    /// The ports of the stage whose driver this task runs.
    @exclusivity(unchecked) var ports: StagePorts?
    private let completion: (LuaTask, TaskEnd) -> Void
    /// What `task:wait()` returns: messages, or why there are none.
    var result: TaskResult?
    var isFailureHandled = false
    /// Any thread may ask.
    var isOver: Bool { over.load(ordering: .relaxed) }
    private let over = Atomic<Bool>(false)
    /// Others that wait for this one.
    var followers: [(waiter: Waiter, generation: UInt64)] = []
    /// Where it was started: `script.lua:12`.
    let origin: String
    /// Counted in its worker.
    var number: UInt64 = 0

    enum TaskResult {
        case values([MessageBuffer])
        case failed(String)
    }

    /// - Parameter completion: called once on the worker's thread, with the task's stack still there.
    init(
        worker: Worker, stack: LuaStack, anchor: Int32, arguments: Int32, context: Context, origin: String,
        completion: @escaping (LuaTask, TaskEnd) -> Void
    ) {
        self.worker = worker
        self.stack = stack
        self.anchor = anchor
        self.arguments = arguments
        self.context = context
        self.origin = origin
        self.completion = completion
        super.init()
        waiter = Waiter(owner: self)
    }

    func ready(_ waiter: Waiter) { worker.makeReady(self) }

    func contextEnded(_ reason: Reason) {
        if waiter.claimCurrent() {
            waiter.outcome = .ended(reason)
            worker.makeReady(self)
        }
        worker.contextEnded(of: self)
    }

    /// Ends it, once.
    func complete(_ end: TaskEnd) {
        guard !isOver else { return }
        over.store(true, ordering: .relaxed)
        context.remove(self)
        timer.map(worker.scheduler.disarm)
        timer = nil
        completion(self, end)
        let told = followers
        followers = []
        for follower in told { follower.waiter.end(follower.generation, .done) }
    }
}

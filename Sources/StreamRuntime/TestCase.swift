// A test case, as the run that it has to itself sees it.
import LuaVM
import StreamCore
import Synchronization

/// What a test script declared with `test.case`.
public struct TestDeclaration: Sendable, Equatable {
    public var name: String
    /// `queue_test.lua:12`.
    public var place: String
    /// Under so many seeds.
    public var schedules = 1
    /// On real threads, with the real clock.
    public var isReal = false
    /// Tasks that had to be cancelled at its end fail it too.
    public var reportsLeaks = false
    /// Nanoseconds of real time that one schedule may take.
    public var limit: Int64 = 10_000_000_000

    public init(name: String, place: String) {
        self.name = name
        self.place = place
    }
}

/// What failed, for people.
public struct TestFailure: Sendable, Equatable {
    /// One line, or more where a traceback or a list follows.
    public var message: String
    /// `queue_test.lua:14`; empty: no line of the script's.
    public var place = ""
    /// Of a comparison: the values, and where they differ.
    public var differences: [String] = []
    public var expected: String?, actual: String?

    public init(message: String, place: String = "") {
        self.message = message
        self.place = place
    }
}

/// Runs the file's top level to find its cases, or one of them. To scripts it is `t`, which all workers share.
public final class TestCase: SharedObject, @unchecked Sendable {  // `lock`, but for what is the main worker's
    /// Nil: only to find what there is.
    public let name: String?
    /// Called once, on the main worker's thread, when the body has ended; nothing counts as a deadlock from then on,
    /// until the scheduler's activity that this began is ended.
    public var onBodyEnd: (@Sendable () -> Void)?

    private let lock = Lock()
    private var found: [TestDeclaration] = []
    private var recorded: [TestFailure] = []
    private let checked = Atomic<Int>(0)
    private var stopped: String?

    // The main worker's.
    private var body: Int32 = 0
    private var isTopLevel = true

    public init(_ name: String?) { self.name = name }

    /// What the top level has declared, in order.
    public var declarations: [TestDeclaration] { lock.withLock { found } }
    /// Assertions that failed, in order.
    public var failures: [TestFailure] { lock.withLock { recorded } }
    /// Assertions made.
    public var checks: Int { checked.load(ordering: .relaxed) }
    /// Where it computed when it was stopped.
    public var stopPlace: String? { lock.withLock { stopped } }

    func countCheck() { checked.wrappingAdd(1, ordering: .relaxed) }
    func record(_ failure: TestFailure) { lock.withLock { recorded.append(failure) } }
    func noteStop(_ place: String) { lock.withLock { stopped = stopped ?? place } }

    /// Takes a declaration; its function is on top of `stack`, which it pops. Nil: done; else what is wrong.
    func declare(_ declaration: TestDeclaration, _ stack: LuaStack) -> String? {
        guard isTopLevel else {
            stack.pop()
            return "test.case belongs to the top level of the file: it runs before any case does"
        }
        if let other = declarations.first(where: { $0.name == declaration.name }) {
            stack.pop()
            return "there is a case \"\(declaration.name)\" already, at \(other.place)"
        }
        lock.withLock { found.append(declaration) }
        if declaration.name == name { body = stack.makeReference() } else { stack.pop() }
        return nil
    }

    /// The top level has returned: the body follows, as a task of the main worker.
    func topLevelReturned(_ worker: Worker) {
        isTopLevel = false
        guard let name else {
            worker.run.context.cancel()
            return
        }
        guard body != 0, let declaration = declarations.first(where: { $0.name == name }) else {
            record(
                TestFailure(
                    message:
                        "the file's top level, which runs again for each schedule, has not declared this case again"
                ))
            return bodyEnded(worker)
        }
        let stack = worker.vm.main, run = worker.run
        stack.push(reference: body)
        HostAPI.push(stack, self)
        run.begin()
        let context = Context(scheduler: worker.scheduler, parent: run.context)
        let task = worker.start(from: stack, arguments: 1, context: context, origin: declaration.place) {
            [self] _, end in
            switch end {
            case .returned: HostAPI.reportUnfinished(worker)
            case .stopped: break
            case .failed(let failure): run.fail(failure)
            }
            bodyEnded(worker)
            run.end()
        }
        if task == nil {
            record(TestFailure(message: "not enough memory"))
            bodyEnded(worker)
            run.end()
        }
    }

    /// The top level has failed, or the body has ended.
    func bodyEnded(_ worker: Worker) {
        isTopLevel = false
        guard let told = onBodyEnd else { return }
        onBodyEnd = nil
        worker.scheduler.beginActivity()
        told()
    }
}

extension TestCase: LuaVisible { var luaType: LuaObjectType { HostAPI.testType } }

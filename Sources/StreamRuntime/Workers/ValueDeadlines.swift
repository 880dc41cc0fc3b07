// Contexts of the values of stages that have a timeout.
import LuaVM
import StreamCore

/// Makes the context of the value that a stage's function has, with its deadline, when the function first waits or asks
/// for its context: one that does neither costs no more than a look at the clock. Used by the worker's thread alone.
final class ValueDeadlines {
    let driver: StageDriver
    /// The one that they are below: the pipeline's.
    let home: Context
    private let scheduler: Scheduler
    private let links: Int
    /// Of stages that share a worker each may have a value: outermost first.
    private var contexts: [(link: Int, context: Context)] = []

    /// It would have waited, but the context had ended: that is no rest from computing.
    var isRefused = false
    /// Its value's time was over when it last went on after a wait.
    private var isLate = false
    /// When it began to wait, where it is late.
    private var waitsSince: Int64?
    /// Nanoseconds that it may compute after its value's deadline: SHIM_GRACE of driver_timeout.c.
    private static let grace: Int64 = 10_000_000
    /// A shorter wait is no rest from computing: little more than the switches that it takes.
    private static let shortestRest: Int64 = 100_000

    init(driver: StageDriver, home: Context, links: Int, scheduler: Scheduler) {
        self.driver = driver
        self.home = home
        self.links = links
        self.scheduler = scheduler
    }

    /// The task that runs is about to wait, or asks for its context: from now on it is in its value's.
    func enter(_ task: LuaTask) {
        guard driver.hasFreshValue else { return }
        driver.hasFreshValue = false
        for link in 0..<links where !contexts.contains(where: { $0.link == link }) {
            guard let deadline = driver.deadline(ofLink: link) else { continue }
            let outer = contexts.last?.context ?? home
            contexts.append((link, Context(scheduler: scheduler, parents: [outer], deadline: deadline)))
        }
        guard let last = contexts.last else { return }
        driver.entered = last.link + 1
        task.setOutermost(last.context)
    }

    /// The values of `link` and of those behind it are done with. Tasks that they started keep their contexts.
    func leave(_ task: LuaTask, from link: Int) {
        isLate = false
        contexts.removeAll { $0.link >= link }
        driver.entered = contexts.last.map { $0.link + 1 } ?? 0
        task.setOutermost(contexts.last?.context ?? home)
    }

    /// Its task begins to wait.
    func waits() { if isLate { waitsSince = scheduler.now } }

    /// Its task goes on after a wait. True: it has used its grace up. One that was waiting at its deadline has it whole; what it
    /// waits later, in contexts that have not ended, does not bring it another: it would never be stopped, as slices that
    /// end by waiting are too short for an interrupt.
    func resumed() -> Bool {
        let now = scheduler.now
        if !isRefused {
            if isLate, let waitsSince {
                if now - waitsSince >= Self.shortestRest { driver.since += now - waitsSince }
            } else {
                driver.since = now
            }
        }
        isRefused = false
        waitsSince = nil
        var deadline = Int64.max
        for link in 0..<links { deadline = min(deadline, driver.deadline(ofLink: link) ?? .max) }
        guard now >= deadline else {
            isLate = false
            return false
        }
        isLate = true
        return now - max(deadline, driver.since) >= Self.grace
    }

    /// Its task was stopped: the failure, unless the pipeline has ended, or it had no value. A grace after the end of the
    /// value's context may have been over before the driver's own.
    func stopped(_ task: LuaTask, isVictim: Bool, at place: String) -> ScriptFailure? {
        let isOver = driver.isOverdue || isVictim && task.context.reason != nil
        guard isOver, home.reason == nil, driver.hasTimedValue else { return nil }
        driver.isOverdue = true
        return ScriptFailure(message: "\(place): \(Reason.deadlineExceeded)")
    }

    /// Another task drives the stage.
    func reset() {
        contexts = []
        isLate = false
        driver.forgetValues()
    }
}

extension HostAPI {
    static let clock: @convention(c) (OpaquePointer?) -> Int64 = { vm in Worker.of(vm).scheduler.now }

    static let valueEnded: @convention(c) (OpaquePointer?, Int32) -> Void = { vm, link in
        guard let task = Worker.of(vm).current else { return }
        task.deadlines?.leave(task, from: Int(link))
    }
}

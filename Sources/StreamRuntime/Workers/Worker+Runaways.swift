// Tasks that are dropped: those that wait for what will not come, and those that neither wait nor end, as each computes too
// short for its grace period and starts the next.
import StreamCore

extension Worker {
    /// The context of the work that this worker did has ended. Tasks in contexts that have ended too have two grace periods,
    /// as one that computes has; afterwards those that are about to compute are dropped, so that tasks which start tasks come
    /// to an end.
    func dropRunawaysLater() {
        let timer = Timer(deadline: scheduler.now + 2 * Run.grace, isAwaited: { false }) { [weak self] in
            self?.call { worker in
                worker.dropComputingTasks { $0.context.reason != nil }
                if worker.hasTasks { worker.dropRunawaysLater() }
            }
        }
        scheduler.arm(timer)
    }

    /// Those that wait for what will not come, once the run has ended.
    func dropWaitingTasks(where shallEnd: (LuaTask) -> Bool = { _ in true }) {
        let now = scheduler.now
        // What drives a stage and waits in its ports ends by its pipeline's context.
        for task in orderedTasks
        where (task.ports == nil || task.arguments >= 0) && !task.isOver && task.cleansUntil < now && shallEnd(task)
            && task.waiter.claimCurrent()
        {
            task.waiter.outcome = .ended(task.context.reason ?? .canceled)
            task.waiter.dropOutbox()
            if case .select(let select) = task.wait { select.finish(task.waiter, task.waiter.outcome) }
            task.wait.abandon()
            holdings.takeBack(of: task)
            over(task, .stopped(task.context.reason ?? .canceled))
        }
    }

    /// On its thread, between tasks: of those that are ready to run, or were preempted, in that order. What drives a stage is
    /// stopped by the interrupt where it computes. As many as the worker's memory holds are dropped at once, so nothing
    /// here is done for those that wait.
    func dropComputingTasks(where shallEnd: (LuaTask) -> Bool) {
        let now = scheduler.now
        for task in ready.tasks where !task.isOver && task.cleansUntil < now && shallEnd(task) {
            if !task.isComputing {  // its wait is over, if it was no port's
                guard task.ports == nil || task.arguments >= 0 else { continue }
                endWait(of: task)
            } else if task.ports != nil {
                continue
            }
            holdings.takeBack(of: task)
            over(task, .stopped(task.context.reason ?? .canceled))
        }
    }
}

/// Tasks outlive the function of the stage that started them: they come to an end where its pipeline ends early.
final class RunawayWatch: ContextListener, Sendable {
    private let worker: Weak

    private struct Weak: @unchecked Sendable {  // set once
        weak var worker: Worker?
    }

    init(_ worker: Worker) { self.worker = Weak(worker: worker) }

    func contextEnded(_ reason: Reason) {
        worker.worker?.call { worker in if worker.hasTasks { worker.dropRunawaysLater() } }
    }
}

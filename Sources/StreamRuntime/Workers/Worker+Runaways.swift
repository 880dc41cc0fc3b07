// Tasks that neither wait nor end: each computes too short for its grace period, and starts the next.
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

    /// On its thread, between tasks: of those that are ready to run, or were preempted.
    func dropComputingTasks(where shallEnd: (LuaTask) -> Bool) {
        for task in orderedTasks where task.ports == nil && !task.isOver && task.isComputing && shallEnd(task) {
            holdings.takeBack(of: task)
            over(task, .stopped(task.context.reason ?? .canceled))
        }
    }
}

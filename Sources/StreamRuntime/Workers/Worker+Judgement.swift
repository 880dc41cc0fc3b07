// What a worker does with a task that drives a stage, once it is decided what follows a failure.
import StreamCore

extension Worker {
    /// What the decision means for the task.
    func follow(_ judgement: Judgement, _ ports: StagePorts) -> StagePorts.Progress {
        switch judgement {
        case .retry, .goOn: return .ready
        case .stop:
            ports.abandon(ports.endReason ?? .canceled)
            return .ready
        case .replace: return .over
        case .waits: return .judges
        }
    }

    /// What follows a failure of a task that drives a stage. Nil: it is resumed; else what `resume` returns.
    func goOn(_ task: LuaTask, _ progress: StagePorts.Progress) -> Bool? {
        switch progress {
        case .ready, .waits: return nil
        case .judges:
            task.arguments = -2
            if let reason = task.context.reason, task.waiter.claimCurrent() {
                task.waiter.outcome = .ended(reason)
                ready.prepend(task)
            }
        case .over:  // never resumed: its worker goes
            noteStop(of: task, for: nil, isReplaced: true)
            holdings.takeBack(of: task)
            over(task, .returned(0))
        }
        return false
    }
}

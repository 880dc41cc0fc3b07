// The grace of a task whose context has ended: until when it may compute, and what stops it then.
import StreamCore
import Synchronization

extension Worker {
    /// A task that computes although its context has ended.
    struct Overdue {
        let task: UInt
        let reason: Reason
        /// When its grace period began.
        var since: Int64
        /// It got `canceled` raised.
        var isTold = false
    }

    /// The context of a task has ended. If it computes, it gets `canceled` raised after a grace period, and is stopped
    /// one grace period later. One timer for all: a task that waits, as most do, needs none.
    ///
    /// - Parameter holds: asked under the lock, whether that context is still the task's.
    func contextEnded(of task: LuaTask, _ reason: Reason, where holds: () -> Bool) {
        let timer = inboxLock.withLock { () -> Timer? in
            // First the mark, then the look: a task that comes to its end in between sees the mark.
            grace.store(true, ordering: .sequentiallyConsistent)
            guard computing.load(ordering: .sequentiallyConsistent) == Self.identity(task), holds() else {
                grace.store(overdue != nil, ordering: .sequentiallyConsistent)
                return nil
            }
            return beginGrace(task, reason)
        }
        if let timer { scheduler.arm(timer) }
    }

    /// Under the lock. A timer to arm, if one is needed.
    private func beginGrace(_ task: LuaTask, _ reason: Reason) -> Timer? {
        guard overdue == nil else { return nil }
        let now = scheduler.now
        overdue = Overdue(task: Self.identity(task), reason: reason, since: now)
        grace.store(true, ordering: .sequentiallyConsistent)
        if isGraceArmed { return nil }
        return graceTimer(now)
    }

    private func graceTimer(_ since: Int64) -> Timer {
        isGraceArmed = true
        return Timer(deadline: since + Run.grace) { [weak self] in self?.graceIsOver() }
    }

    private func graceIsOver() {
        let timer = inboxLock.withLock { () -> Timer? in
            isGraceArmed = false
            guard var task = overdue, let vm else { return nil }  // under the lock the state is not dropped
            let now = scheduler.now
            if now >= task.since + Run.grace {
                if task.isTold {
                    victim.store(task.task, ordering: .relaxed)
                    vm.kill()
                    return nil
                }
                vm.cancelRunning(isDeadline: task.reason == .deadlineExceeded)
                task.isTold = true
                task.since = now
                overdue = task
            }
            return graceTimer(task.since)
        }
        if let timer { scheduler.arm(timer) }
    }

    /// On the worker's thread: the task that computed has come back, or is in another context. What was to cancel or stop
    /// it must not reach the next one. True: it was to be stopped.
    @discardableResult
    func endGrace(of task: LuaTask) -> Bool {
        guard grace.load(ordering: .sequentiallyConsistent) else { return false }
        return inboxLock.withLock {
            overdue = nil
            grace.store(false, ordering: .sequentiallyConsistent)
            if vm.over == nil { vm.clearKill() }
            return victim.exchange(0, ordering: .relaxed) == Self.identity(task)
        }
    }

    /// On the worker's thread: a task begins to compute, or computes in another context from now on.
    func checkGrace(of task: LuaTask) {
        endGrace(of: task)
        guard let reason = task.mark.reason else { return }
        let timer = inboxLock.withLock { beginGrace(task, reason) }
        if let timer { scheduler.arm(timer) }
    }

    func contextChanged(of task: LuaTask) {
        guard task === current else { return }
        vm.setEntered(task.entered)
        checkGrace(of: task)
    }
}

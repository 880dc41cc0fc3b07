// What follows a failure of a stage's worker: of one value, of a phase, of the whole worker.
import LuaVM
import StreamCore

extension StageWorker {
    /// A failure that is not one value's: it fails the pipeline.
    func failed(_ failure: ScriptFailure, _ link: Int = 0) {
        var failure = failure
        failure.message = group.describe(failure, of: links[link], value: nil)
        self.failure = failure
        group.pipeline.fail(failure)
    }

    /// A failure for the value in hand.
    func judge(_ failure: ScriptFailure) -> Bool {
        // What a task raises after its context has ended is its end, not a failure.
        if let reason = group.context.reason {
            stopped = reason
            return false
        }
        var text: String?
        if let value = driver.faultyValue {
            text = value
        } else if let message = driver.message {
            if stack.decode(message) { text = stack.describe(-1, limit: 160) }
            stack.pop()
        }
        let link = driver.faultyLink
        if group.judge(failure, of: links[link], value: text, count: driver.failed(inLink: link)) { return true }
        self.failure = failure
        return false
    }

    // MARK: Stopped for a limit

    /// The worker's task was stopped, as a value had more than its time: the policy for errors says what follows.
    func overdue(_ end: TaskEnd) {
        ports.settle()  // what was emitted in time has left
        if let reason = group.context.reason {
            stopped = reason
            return
        }
        wasOverdue = true
        driver.describeOverdueValue(stack)
        if group.run.environment.planted != .stopNotCounted { driver.giveUpValue() }
        guard case .failed(let failure) = end else { return stopped = .deadlineExceeded }
        guard judge(failure) else { return }
        if group.isGenerator {
            let text = "its worker was stopped, and the generator in it cannot begin anew: \(failure.message)"
            return failed(ScriptFailure(message: text), driver.faultyLink)
        }
        isReplaced = true
        for link in links {
            switch link.kind {
            case .script(.scan), .script(.reduce):
                group.run.log("stage \"\(link.name)\" (\(link.place)): its state is the initial one again")
            default: break
            }
        }
    }

    /// The stage goes on with the next value, in a worker started from the same image. At most one is there at a time.
    func replace() {
        let old = worker!, fresh = makeWorker()
        isReplaced = false
        wasOverdue = false
        driver.isOverdue = false
        references = []
        begun = 0
        state = 0
        lock.withLock { worker = fresh }
        group.run.add(fresh)
        old.end { [group] in
            group.run.remove(old)
            fresh.wake()
        }
    }
}

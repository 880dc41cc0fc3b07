// What follows a failure of a stage's worker: of one value, of a phase, of the whole worker.
import LuaVM
import StreamCore

extension StageWorker {
    /// A failure that is not one value's: it fails the pipeline.
    func failed(_ failure: ScriptFailure, _ link: Int = 0, value: String? = nil) {
        var failure = failure
        failure.message = group.describe(failure, of: links[link], value: value)
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
        } else if worker.stop != nil {  // its state is not for use any more
            text = driver.message.flatMap { HostAPI.describe($0) }
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

    /// The worker's task was stopped for a limit: the policy for errors says what follows.
    func overLimit(_ end: TaskEnd) {
        ports.settle()  // what was emitted in time has left
        ports.dropUnsent()
        if let reason = group.context.reason {
            stopped = reason
            return
        }
        wasStopped = true
        let stop = worker.stop, link = driver.faultyLink
        if stop == nil { driver.describeOverdueValue(stack) }
        group.limitUse.count(stop?.limit ?? .timeout, ofLink: link)
        // A task that the script started here may have been the one that was over it, between two values.
        let hasValue = stop == nil || driver.message != nil || driver.isChain && group.isGenerator && link > 0
        let isPlanted = group.run.environment.planted == .stopNotCounted
        if hasValue && !isPlanted { driver.giveUpValue() } else { driver.forgetValues() }
        guard case .failed(let failure) = end else { return stopped = .deadlineExceeded }
        if case .process = group.stage.kind, link == 0, !isKey {
            // It has its values itself: a policy that begins a process or a generator anew comes in here.
            let received = group.isGenerator ? nil : worker.received.message
            return failed(failure, link, value: received.flatMap { HostAPI.describe($0) })
        }
        guard judge(failure) else { return }
        if group.isGenerator {
            let text = "its worker was stopped, and the generator in it cannot begin anew: \(failure.message)"
            return failed(ScriptFailure(message: text), link)
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
        group.limitUse.ended(old, driver, limits)
        _ = group.restarts?.next()
        isReplaced = false
        wasStopped = false
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

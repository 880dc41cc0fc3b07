// What follows a failure of a stage's worker: of a phase, of the whole worker. One value's: StageWorker+Judgement.
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

    /// An error in `setup`: a fresh worker tries again, if that is declared.
    func setupFailed(_ failure: ScriptFailure, _ link: Int) {
        let failure = ScriptFailure(message: "in setup: " + failure.message, traceback: failure.traceback)
        guard links[link].onError.restarts != nil, !group.isGenerator else { return failed(failure, link) }
        guard restarts(after: failure, link, value: nil) else { return }
        setupFailures += 1
        let backoff = links[link].onError.backoff
        restartDelay = ErrorPolicy.wait(
            before: setupFailures, backoff: backoff > 0 ? backoff : Self.setupBackoff,
            random: group.run.scheduler.random)
    }

    /// Before setup is tried again, where no backoff is declared.
    private static let setupBackoff: Int64 = 100_000_000

    /// A `:stage` process has raised: a fresh one goes on with the next value, if that is declared.
    func processFailed(_ failure: ScriptFailure) {
        guard group.stage.onError.restarts != nil else { return failed(failure) }
        if worker.taken > 0 { lostInHand += 1 }
        _ = restarts(after: failure, 0, value: nil)
    }

    // MARK: Stopped for a limit

    /// The worker's task was stopped, as a value had more than its time: the policy for errors says what follows.
    func overdue(_ end: TaskEnd) {
        ports.settle()  // what was emitted in time has left
        driver.dropHeld()
        if let reason = group.context.reason {
            stopped = reason
            return teardown(0)
        }
        wasOverdue = true
        driver.describeOverdueValue(stack)
        driver.giveUpValue()
        guard case .failed(let failure) = end else {
            stopped = .deadlineExceeded
            return teardown(0)
        }
        let wait = WorkerWait(group.context) { [self] wait in
            worker.call { [self] _ in
                wait.end()
                self.wait = nil
                follow(judged(wait.waiter), failure, wait)
            }
        }
        follow(judge(failure, wait.waiter), failure, wait)
    }

    private func follow(_ judgement: Judgement, _ failure: ScriptFailure, _ wait: WorkerWait) {
        switch judgement {
        case .waits:
            self.wait = wait
            return wait.begin()
        case .stop: break
        case .retry, .goOn, .replace:
            if driver.isClosed { break }
            if group.isGenerator {
                let text = "its worker was stopped, and the generator in it cannot begin anew: \(failure.message)"
                failed(ScriptFailure(message: text), driver.faultyLink)
            } else if links[driver.faultyLink].onError.restarts != nil, case .goOn = judgement {
                _ = restarts(after: failure, driver.faultyLink, value: nil)
            } else {
                isReplaced = true
                logInitialStates()
            }
        }
        teardown(0)
    }

    // MARK: Replacement

    /// The stage goes on with the next value, in a worker started from the same image. At most one is there at a time.
    func replace() {
        let old = worker!, fresh = makeWorker()
        let delay = restartDelay
        isReplaced = false
        isFailing = false
        isWorking = false
        wasOverdue = false
        restartDelay = 0
        driver.isOverdue = false
        references = []
        begun = 0
        state = 0
        lock.withLock { worker = fresh }
        group.run.add(fresh)
        old.end { [self] in
            takenBefore += old.taken
            putBefore += old.put
            group.run.remove(old)
            if delay > 0 { start(fresh, after: delay) } else { fresh.wake() }
        }
    }

    /// Sooner where the pipeline ends.
    private func start(_ fresh: Worker, after delay: Int64) {
        let wait = WorkerWait(group.context) { wait in
            wait.end()
            fresh.wake()
        }
        self.wait = wait
        wait.arm(group.run.scheduler.now &+ delay, group.run.scheduler)
        wait.begin()
    }
}

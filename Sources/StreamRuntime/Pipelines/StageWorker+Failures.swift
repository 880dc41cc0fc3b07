// What follows a failure of a stage's worker: of a phase, of the whole worker. One value's: StageWorker+Judgement.
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
        // Where a value of its own had come in and it asked for no other since.
        let received = group.isGenerator ? nil : worker.received.message
        let value = received.flatMap { HostAPI.describe($0) }
        guard group.stage.onError.restarts != nil, !group.isGenerator else { return failed(failure, value: value) }
        if worker.received.message != nil {
            lostInHand += 1
            group.meter.add(Meter.Counts(failed: 1, consumed: -1))
        }
        _ = restarts(after: failure, 0, value: value)
    }

    // MARK: Stopped for a limit

    /// The worker's task was stopped for a limit: the policy for errors says what follows.
    func overLimit(_ end: TaskEnd) {
        ports.settle()  // what was emitted in time has left
        driver.dropHeld()
        ports.dropUnsent()
        if let reason = group.context.reason {
            stopped = reason
            return teardown(0)
        }
        wasStopped = true
        let exceeded = worker.exceeded, link = driver.faultyLink
        if exceeded == nil { driver.describeOverdueValue(stack) }
        group.limitUse.count(exceeded ?? .timeout, ofLink: link)
        // A task that the script started here may have been the one that was over it, between two values.
        driver.putBackMark()
        // Or the host had no memory for what was to begin: there is none in hand either.
        let hasValue = driver.message != nil || driver.isChain && group.isGenerator && link > 0
        if hasValue, !driver.isChain, case .script(let form) = links[0].kind, form != .flatMap {
            ports.takeBackUnsent()
        }
        if hasValue { driver.giveUpValue() } else { driver.forgetValues() }
        guard case .failed(let failure) = end else {
            stopped = .deadlineExceeded
            return teardown(0)
        }
        if case .process = group.stage.kind, link == 0, !isKey {
            processFailed(failure)
            return teardown(0)
        }
        guard hasValue else {
            let policy = links[link].onError
            if policy.skips || policy.hasLetters || policy.restarts != nil {
                group.run.log("skipped: " + group.describe(failure, of: links[link], value: nil))
                follow(.goOn, failure)
            } else {
                failed(failure, link)
                teardown(0)
            }
            return
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

    private func follow(_ judgement: Judgement, _ failure: ScriptFailure, _ wait: WorkerWait? = nil) {
        switch judgement {
        case .waits:
            self.wait = wait
            wait!.begin()
            return
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
        group.limitUse.ended(old, driver, limits)
        _ = group.restarts?.next()
        isReplaced = false
        isFailing = false
        isWorking = false
        wasStopped = false
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

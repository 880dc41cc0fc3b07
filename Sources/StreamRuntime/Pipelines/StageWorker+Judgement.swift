// What follows a failure for one value, where that is more than to stop or to skip: tries, dead letters, fresh workers.
import LuaVM
import StreamCore

/// The failure that is being judged.
struct PendingFailure {
    let failure: ScriptFailure
    let link: Int
    /// The value for people.
    var text: String?
    /// Its wait: for the time of the next try, or for whoever takes the letter.
    var timer: Timer?
    var letters: Link?
}

/// A wait of a worker's whose task is gone.
final class WorkerWait: WaiterOwner, ContextListener, @unchecked Sendable {  // set before its wait begins
    private(set) var waiter: Waiter!
    private let context: Context
    private let onReady: (WorkerWait) -> Void
    private var disarm: (() -> Void)?

    /// - Parameter onReady: called once, on any thread.
    init(_ context: Context, onReady: @escaping (WorkerWait) -> Void) {
        self.context = context
        self.onReady = onReady
        waiter = Waiter(owner: self)
    }

    func ready(_ waiter: Waiter) { onReady(self) }

    /// The wait has begun. Also called when it may have ended.
    func begin() {
        if !context.add(self) { contextEnded(context.reason ?? .canceled) }
    }

    /// Ends the wait that is about to begin at `time`.
    func arm(_ time: Int64, _ scheduler: Scheduler) {
        let generation = waiter.begin()
        let timer = Timer(deadline: time) { [self] in waiter.end(generation, .done) }
        disarm = { scheduler.disarm(timer) }
        scheduler.arm(timer)
    }

    func end() {
        context.remove(self)
        disarm?()
        disarm = nil  // it holds the timer, which holds this
    }

    func contextEnded(_ reason: Reason) {
        guard waiter.claimCurrent() else { return }
        waiter.outcome = .ended(reason)
        ready(waiter)
    }
}

extension StageWorker {
    /// The failure of the value in hand, which the driver has counted. `.waits`: a wait of `waiter`'s has begun.
    func judge(_ failure: ScriptFailure, _ waiter: Waiter) -> Judgement {
        // What a task raises after its context has ended is its end, not a failure.
        if let reason = group.context.reason {
            driver.dropFailure()
            stopped = reason
            return .stop
        }
        let link = driver.faultyLink, policy = links[link].onError
        if policy.isPlain {
            if group.judge(failure, of: links[link], value: faultyText, count: driver.failed(inLink: link)) {
                return .goOn
            }
            self.failure = failure
            return .stop
        }
        let text = faultyText
        pending = PendingFailure(failure: failure, link: link, text: text)
        driver.takeBackFailure()
        if canRetry {
            let number = driver.received(inLink: link)
            switch tries[link].failed(number, policy, random: group.run.scheduler.random) {
            case .retry(after: 0): return retry()
            case .retry(let time):
                let generation = waiter.begin()
                let timer = Timer(deadline: group.run.scheduler.now &+ time) { waiter.end(generation, .done) }
                pending!.timer = timer
                group.run.scheduler.arm(timer)
                ports.judgesFor = "waiting to try a value again"
                return .waits
            case .giveUp: break
            }
        }
        return giveUp(waiter)
    }

    /// The wait that a judgement began is over.
    func judged(_ waiter: Waiter) -> Judgement {
        ports.judgesFor = nil
        if let timer = pending!.timer {
            pending!.timer = nil
            group.run.scheduler.disarm(timer)
            if let reason = group.context.reason { return abandon(reason) }
            if case .done = waiter.outcome { return retry() }
            return giveUp(waiter)  // the time of the value that it was made for is over
        }
        let letters = pending!.letters!
        waiter.dropOutbox()
        if case .sent = waiter.outcome { return lettered() }
        if let reason = group.context.reason {
            letters.channel.forget()
            return abandon(reason)
        }
        if case .ended = waiter.outcome { letters.channel.forget() }
        return unwanted(letters)
    }

    /// Not where something of the value has gone on. And what a stage behind the first of a chain had exists only in the
    /// worker, so it is gone where that was stopped; the first one's is still in the input.
    private var canRetry: Bool {
        !driver.hasPassedOn && (!wasStopped || driver.faultyLink == 0 && driver.message != nil)
    }

    private func retry() -> Judgement {
        pending = nil
        driver.retries = true
        return .retry
    }

    /// The pipeline has ended meanwhile: the value is dropped.
    private func abandon(_ reason: Reason) -> Judgement {
        pending = nil  // the driver has it in hand still, and so it counts
        stopped = reason
        return .stop
    }

    // MARK: Dead letters

    private func giveUp(_ waiter: Waiter) -> Judgement {
        let link = pending!.link
        guard let letters = group.letters[link] else { return otherwise() }
        pending!.letters = letters
        let letter = MessageBuffer()
        fill(letter)
        switch letters.channel.send(letter.message!, waiter) {
        case .sent:
            letter.moved()
            return lettered()
        case .waiting:
            letter.moved()  // to the waiter's outbox
            ports.judgesFor = "sending a dead letter on \(letters.channel.name)"
            return .waits
        case .closed, .full, .overflow: return unwanted(letters)
        }
    }

    private func fill(_ letter: MessageBuffer) {
        let failure = pending!.failure, stage = links[pending!.link].name
        let time = Int64(group.run.environment.wall().rounded(.down))
        func fill(_ value: DeadLetter.Value) {
            DeadLetter.fill(letter, value: value, error: failure.message, stage: stage, time: time)
        }
        if pending!.link == 0 {
            guard let message = driver.message else { return fill(.text(pending!.text ?? "")) }
            return fill(.message(message))
        }
        guard worker.exceeded == nil, driver.pushKeptValue(stack) else { return fill(.text(pending!.text ?? "")) }
        defer { stack.pop() }
        switch stack.encode(-1, in: worker.vm.pointer) {
        case .success(let message):
            fill(.message(message))
            message.releaseObjects()  // the letter has its own
        case .failure: fill(.text(stack.describe(-1, limit: 1000)))  // what cannot leave its worker
        }
    }

    private func lettered() -> Judgement {
        group.pipeline.countLetter(pending!.letters!)
        ports.lettered += 1
        driver.handOn()
        return goOn()
    }

    /// Nobody takes dead letters any more.
    private func unwanted(_ letters: Link) -> Judgement {
        if letters.isSink { return otherwise() }
        // A sink of the host's that has failed, which fails the pipeline, or whose reader is gone, which ends it.
        pending = nil
        driver.isClosed = true
        return .goOn
    }

    // MARK: Else

    private func otherwise() -> Judgement {
        driver.countFailure()
        let pending = pending!, link = links[pending.link]
        let goesOn = group.judge(
            pending.failure, of: link, value: pending.text, count: driver.failed(inLink: pending.link))
        if goesOn { return goOn() }
        failure = pending.failure
        self.pending = nil
        return .stop
    }

    /// The value is done with: in a fresh worker, if that is declared.
    private func goOn() -> Judgement {
        let pending = pending!, link = links[pending.link]
        self.pending = nil
        guard link.onError.restarts != nil, isWorking, !group.isGenerator, !wasStopped else { return .goOn }
        guard restarts(after: pending.failure, pending.link, value: pending.text) else { return .stop }
        return .replace
    }

    /// Whether a fresh worker takes the place of this one; else the pipeline has failed.
    func restarts(after failure: ScriptFailure, _ index: Int, value: String?) -> Bool {
        let link = links[index]
        var failure = failure
        guard let count = group.restart(index) else {
            failure.message = group.describe(failure, of: link, value: value)
            failure.message += "; \(link.onError.restartsSpent)"
            self.failure = failure
            group.pipeline.fail(failure)
            return false
        }
        isReplaced = true
        isFailing = true
        if count <= StageGroup.loggedFailures {
            group.run.log("restarted: " + group.describe(failure, of: link, value: value))
        }
        logInitialStates()
        return true
    }

    func logInitialStates() {
        for link in links {
            switch link.kind {
            case .script(.scan), .script(.reduce):
                group.run.log("stage \"\(link.name)\" (\(link.place)): its state is the initial one again")
            default: break
            }
        }
    }

    private var faultyText: String? {
        if let value = driver.faultyValue { return value }
        guard let message = driver.message else { return nil }
        if worker.exceeded != nil { return HostAPI.describe(message) }  // its state is not for use any more
        return HostAPI.describe(message, stack)
    }
}

extension ErrorPolicy {
    /// Why there is no further fresh worker.
    var restartsSpent: String {
        let seconds = Double(window) / 1e9
        let time = seconds == seconds.rounded() ? "\(Int64(seconds))" : "\(seconds)"
        return "its workers were restarted \(restarts ?? 0) times within \(time) s, and that is the limit (restart)"
    }
}

extension HostAPI {
    static func describe(_ message: MessagePointer, _ stack: LuaStack) -> String? {
        defer { stack.pop() }
        return stack.decode(message) ? stack.describe(-1, limit: 160) : nil
    }
}

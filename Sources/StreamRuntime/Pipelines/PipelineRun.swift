// A pipeline that runs: its context, its account, how its parts end.
import LuaVM
import StreamCore

/// What starts and ends together: sources, stages, sinks, and the links between them.
///
/// Each part, when it ends, closes the link behind it and gives up the one before it, so an end travels both ways. A
/// failure is recorded once and cancels the pipeline's context. The pipeline has ended when all parts have.
///
/// PipelineRun+Build makes the parts of its chains, PipelineRun+Parts the single ones.
final class PipelineRun: SharedObject, @unchecked Sendable {  // `lock` guards what parts on several threads change
    let run: Run
    let spec: PipelineSpec
    let context: Context
    let lock = Lock()
    private var partsLeft = 0
    private var failureFound: ScriptFailure?
    private var isOver = false
    /// Why it ended early, as its context said when its last part ended; what the context does later is no matter.
    private var endReason: String?
    private var isHandled = false
    private var followers: [(waiter: Waiter, generation: UInt64)] = []
    private var draining = false
    /// All parts have been started: before that `drain` only leaves word.
    private var isStanding = false
    private var counted = Account()
    /// What is wrong with it: empty, unless this program has a bug.
    private var problems: [String] = []
    var collected: LuaTask.TaskResult?

    // Its parts; under `lock`.
    var groups: [StageGroup] = []
    var pumps: [Pump] = []
    var hostSources: [any HostSource] = []
    var connectors: [ConnectorWatch] = []
    var links: [Link] = []
    var letterLinks: [PipelineSpec.LetterSpec.Key: Link] = [:]
    /// What `stats` tells of each step, in order.
    var records: [PartRecord] = []
    /// What is read where values enter, and where they come to an end.
    var entries: [Gauge] = [], exits: [Gauge] = []
    /// What its parts tell meanwhile of values that they make, consume, and give back.
    var meters: [Meter] = []
    /// What its sources hand over as dead letters.
    var rejections: [Counter] = []
    /// Channels of scripts that it feeds and has not closed, once for each end that does.
    private var feeds: [Channel]

    init(run: Run, spec: PipelineSpec, parent: Context) {
        self.run = run
        self.spec = spec
        context = Context(scheduler: run.scheduler, parent: parent)
        feeds = spec.fedChannels
        super.init()
        // From its declaration on: one declared before it shall not close what it feeds too.
        for channel in feeds { HostAPI.feed(channel, 1) }
    }

    var account: Account { lock.withLock { counted } }
    func count(_ change: (inout Account) -> Void) { lock.withLock { change(&counted) } }

    /// What the check at its end has found, each with the place of the pipeline.
    var accountProblems: [String] { lock.withLock { problems } }
    func report(_ more: [String]) { lock.withLock { problems += more } }

    /// All parts have ended, and told what they counted: adds what the queues between them did, and checks the whole.
    private func closeAccount() {
        lock.withLock {
            var isMixed = false
            for link in links where link.isInner {
                let channel = link.channel
                link.account.shed = channel.shed
                counted.drop(channel.shed, channel.overflow.name)
                if let exposure = channel.exposure {
                    isMixed = isMixed || exposure.isMixed
                    countExposed(link, exposure)
                }
            }
            if isMixed { return }
            problems += links.filter(\.isInner).compactMap(\.account.problem)
            if !counted.isBalanced { problems.append("its account does not balance: \(counted)") }
            problems = problems.map { "\(spec.place): \($0)" }
        }
    }

    /// What of it the two ends do not tell.
    private func countExposed(_ link: Link, _ exposure: ExposedLink) {
        counted.add(link.channel, exposure)
        let channel = link.channel.account
        link.account.taken += exposure.isInput ? Int(channel.received) : exposure.count
        link.account.put += exposure.isInput ? exposure.count : Int(channel.sent)
    }

    /// Nil while it runs; then its failure, or success.
    var outcome: Result<Void, LuaProblem>? {
        lock.withLock {
            guard isOver else { return nil }
            if let failureFound { return .failure(LuaProblem(failureFound.message)) }
            if let endReason { return .failure(LuaProblem(endReason)) }
            return .success(())
        }
    }

    var hasFailed: Bool { lock.withLock { failureFound != nil } }

    /// Someone receives its outcome: a failure is no longer the run's.
    var isReceived: Bool { lock.withLock { isHandled } }
    func handle() { lock.withLock { isHandled = true } }

    /// Ends `waiter`'s wait when the pipeline ends. False: it has ended.
    func follow(_ waiter: Waiter, _ generation: UInt64) -> Bool {
        lock.withLock {
            if isOver { return false }
            followers.append((waiter, generation))
            return true
        }
    }

    func fail(_ failure: ScriptFailure) {
        let isFirst = lock.withLock {
            guard failureFound == nil else { return false }
            failureFound = failure
            return true
        }
        if isFirst { context.cancel(cause: failure.message) }
    }

    func fail(_ message: String) { fail(ScriptFailure(message: message)) }

    /// A part that is no stage has ended: at a queue that was full, and whose policy is to fail?
    func failIfFull(_ queue: Channel?) { if let queue { fail("\(spec.place): \(queue.overflowMessage)") } }

    /// Sources end as at their natural end.
    func drain() {
        let (sources, pumps, groups) = lock.withLock {
            draining = true
            return isStanding ? (hostSources, self.pumps, self.groups) : ([], [], [])
        }
        for source in sources { source.stop() }
        for case let pump as ValuePump in pumps { pump.stop() }
        for group in groups where group.isSource { group.drain() }
    }

    /// Where its parts wait, for the report of a deadlock.
    var waiting: [String] {
        let pumps = lock.withLock { self.pumps }
        return pumps.filter { $0.isWaiting && !$0.isOver }.map { "\(spec.place): \($0.label) is \($0.waitsFor)" }
    }

    // MARK: Start, on the declaring worker's thread

    func start(in worker: Worker) {
        partsLeft = 1  // this function, until everything stands
        build(in: worker)
        let (pumps, groups, links) = lock.withLock { (self.pumps, self.groups, self.links) }
        for pump in pumps { pump.start() }
        for group in groups { group.start() }
        for link in links { producerEnded(link) }  // this function: no part that ends early closes what others feed
        // Whoever drains from now on finds all parts started, and what came before is done here: none goes between.
        let isDraining = lock.withLock {
            isStanding = true
            return draining
        }
        if isDraining { drain() }
        partEnded()
    }

    /// It shall not start: another was declared in its place.
    func withdraw(in worker: Worker) {
        for channel in feeds { HostAPI.feed(channel, -1) }
        feeds = []
        spec.dropReferences(worker.vm.main)
    }

    // MARK: Ends

    func addPart() { lock.withLock { partsLeft += 1 } }

    func partEnded() {
        let isLast = lock.withLock {
            partsLeft -= 1
            return partsLeft == 0
        }
        guard isLast else { return }
        let left = lock.withLock {  // what could not be built feeds nothing
            defer { feeds = [] }
            return feeds
        }
        for channel in left where HostAPI.feed(channel, -1) == 0 { channel.close() }
        closeAccount()
        let told = lock.withLock {
            isOver = true
            endReason = context.reason.map { context.cause ?? $0.description }
            groups = []
            pumps = []
            hostSources = []
            connectors = []
            links = []
            letterLinks = [:]
            defer { followers = [] }
            return followers
        }
        for follower in told { follower.waiter.end(follower.generation, .done) }
        if let failureFound { run.offer(failureFound, isHandled: { self.lock.withLock { self.isHandled } }) }
        run.ended(self)
    }

    /// A part that puts into `link` has ended; the last one closes it.
    func producerEnded(_ link: Link) {
        let isLast = lock.withLock {
            link.producers -= 1
            return link.producers == 0
        }
        guard isLast else { return }
        switch link.kind {
        case .inner: link.channel.close()
        case .source, .sink(closes: false): break
        case .sink(closes: true):
            let isFeeding = lock.withLock {
                guard let index = feeds.firstIndex(where: { $0 === link.channel }) else { return false }
                feeds.remove(at: index)
                return true
            }
            if isFeeding, HostAPI.feed(link.channel, -1) == 0 { link.channel.close() }
        }
    }

    /// The part that takes from `link` has ended; returns how many values were dropped with it. Takes the lock: not to be
    /// called from inside `count`.
    func giveUp(_ link: Link) -> Int {
        if link.isSource { return 0 }
        let left = link.channel.closeReading().drop()
        lock.withLock { link.account.left += left }
        // The sources behind it may be waiting for input that nobody wants any more.
        for source in lock.withLock({ link.sources }) { source.stop() }
        return left
    }
}

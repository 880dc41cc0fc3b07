// The scheduler of real runs: a thread a core, and one thread for timers and for slices that are too old.
import CLimiter
import CMessage
import Glibc
import Synchronization

/// Jobs on `threads` operating-system threads.
///
/// A job woken by a running job goes to the waker's own next place, so a consumer follows its producer on the same
/// core; what was there goes to the shared queue. An idle thread takes from the shared queue, then from the next
/// places of others. The timer thread ticks each millisecond while jobs run: a thread whose job runs longer than a
/// slice is sent `interruptSignal`, whose handler (installed by whoever runs code that does not return by itself)
/// makes the job return `.again`. Where that cannot be, and others wait, another thread takes its place (as Go's monitor
/// hands on the processor of a thread in a system call), and the thread ends when its job returns: no job keeps others
/// waiting for long.
///
/// Jobs that were woken come before those that used their slice up, so who waits for a timer or a message is not behind
/// all that compute.
public final class ThreadScheduler: Scheduler, @unchecked Sendable {  // `lock` guards the queue, the rest is atomic
    public struct Configuration: Sendable {
        public var threads: Int
        /// Bytes of stack of each thread; reserved, not committed.
        public var stackSize = 64 << 20
        /// Nanoseconds after which a running job is asked to return.
        public var slice: Int64 = 8_000_000
        public var interruptSignal: Int32?
        /// Runs once on each thread before its first job.
        public var onThreadStart: (@Sendable () -> Void)?

        public init(threads: Int = Int(msg_processors())) { self.threads = threads }
    }

    /// One thread, and the place that it serves.
    private final class Runner: @unchecked Sendable {  // atomics; the rest is the timer thread's once jobs run
        let place: Int
        /// Which slice it runs, 0 between jobs. Not when that began: where two jobs alternate, reading the clock for each
        /// slice would be a twentieth of what they do.
        let slice = Atomic<Int>(0)
        /// Another thread serves its place; it ends after its job.
        let isReplaced = Atomic<Bool>(false)
        /// It will be joined at once.
        let hasEnded = Atomic<Bool>(false)
        @exclusivity(unchecked) var thread = pthread_t()
        // The timer thread's: which slice it saw last, and since when.
        @exclusivity(unchecked) var seen = 0
        @exclusivity(unchecked) var seenSince: Int64 = 0

        init(place: Int) { self.place = place }
    }

    /// The next job of each place: in plain memory, since idle threads look at them again and again, and a reference
    /// count at each look would cost the busy ones.
    private let nexts: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer?>>

    private func exchangeNext(_ place: Int, _ job: Job?) -> Job? {
        let old = nexts[place].exchange(
            job.map { Unmanaged.passRetained($0).toOpaque() }, ordering: .acquiringAndReleasing)
        return old.map { Unmanaged<Job>.fromOpaque($0).takeRetainedValue() }
    }

    /// So many timers that count only while someone waits for them are asked before all are.
    private static let firstAsked = 16
    private static let lookAtQueueEach = 32
    /// Threads that are replaced and have not ended, at most.
    private static let mostReplaced = 256
    private static let wakePause: Int64 = 40_000
    private static let tick: Int64 = 1_000_000
    /// How often an idle thread looks for a job before it sleeps: about 10 us at most.
    private static let longestSpin = 200, shortestSpin = 10

    private let configuration: Configuration
    /// By place. The timer thread's, from `start` to `stop`.
    private var runners: [Runner]
    /// The same of those that were replaced, and have not ended.
    private var replaced: [Runner] = []
    private let key: pthread_key_t

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let work = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue = TwoQueues()
    private var sleepers = 0
    private var stopping = false
    private let queued = Atomic<Int>(0)
    private let sleeping = Atomic<Int>(0)
    private let lastWake = Atomic<Int64>(0)

    private let timerMutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let timerWork = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var timers = TimerQueue()
    private var timerWakeAt = Int64.max
    private var timersStopping = false
    private var ticking = false
    private var timerThread = pthread_t()

    private let randomState: Atomic<UInt64>

    public init(_ configuration: Configuration = Configuration()) {
        self.configuration = configuration
        runners = (0..<configuration.threads).map { Runner(place: $0) }
        nexts = .allocate(capacity: configuration.threads)
        for index in 0..<configuration.threads { (nexts + index).initialize(to: Atomic(nil)) }
        var key = pthread_key_t()
        pthread_key_create(&key, nil)
        self.key = key
        pthread_mutex_init(mutex, nil)
        pthread_mutex_init(timerMutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(work, &attributes)
        pthread_cond_init(timerWork, &attributes)
        pthread_condattr_destroy(&attributes)
        var system = SystemRandomNumberGenerator()
        randomState = Atomic(system.next())
        super.init()
    }

    deinit {
        pthread_key_delete(key)  // a process has only 1024
        nexts.deinitialize(count: configuration.threads)
        nexts.deallocate()
        pthread_mutex_destroy(mutex)
        pthread_mutex_destroy(timerMutex)
        pthread_cond_destroy(work)
        pthread_cond_destroy(timerWork)
        mutex.deallocate()
        timerMutex.deallocate()
        work.deallocate()
        timerWork.deallocate()
    }

    /// Starts the threads. They run until `stop`.
    public func start() {
        for runner in runners { runner.thread = spawn(stack: configuration.stackSize) { [self] in serve(runner) } }
        timerThread = spawn(stack: 256 << 10) { [self] in timerLoop() }
    }

    private func serve(_ runner: Runner) {
        pthread_setspecific(key, UnsafeRawPointer(bitPattern: runner.place + 1))
        configuration.onThreadStart?()
        loop(runner)
        runner.hasEnded.store(true, ordering: .releasing)
    }

    /// Stops the threads when their jobs have returned, and waits for them. Jobs still queued and timers are
    /// dropped. Not to be called from one of them.
    public func stop() {
        pthread_mutex_lock(mutex)
        stopping = true
        pthread_cond_broadcast(work)
        pthread_mutex_unlock(mutex)
        pthread_mutex_lock(timerMutex)
        timersStopping = true
        pthread_cond_signal(timerWork)
        pthread_mutex_unlock(timerMutex)
        pthread_join(timerThread, nil)  // the first: it starts threads
        for runner in runners + replaced { pthread_join(runner.thread, nil) }
        queue = TwoQueues()
        for place in runners.indices { _ = exchangeNext(place, nil) }
        pthread_mutex_lock(timerMutex)
        timers = TimerQueue()  // what they call may hold this scheduler
        pthread_mutex_unlock(timerMutex)
    }

    public override var threads: Int { configuration.threads }

    public override var now: Int64 { Self.clock() }

    public override var isSystemTime: Bool { true }

    private static func clock() -> Int64 { limiter_clock() }

    public override func random() -> UInt64 {
        var generator = SplitMix64(
            seed: randomState.wrappingAdd(0x9E37_79B9_7F4A_7C15, ordering: .relaxed).oldValue)
        return generator.next()
    }

    // MARK: Jobs

    public override func enqueue(_ job: Job, back: Bool) {
        let here = Int(bitPattern: pthread_getspecific(key)) - 1
        if here >= 0 && !back {
            if let displaced = exchangeNext(here, job) {
                push(displaced)
            } else if sleeping.load(ordering: .relaxed) > 0 {
                // Someone idle could run it, but a wake-up costs more than many a job: at most one each 40 us.
                let now = Self.clock(), last = lastWake.load(ordering: .relaxed)
                if now - last > Self.wakePause {
                    lastWake.store(now, ordering: .relaxed)
                    wakeOne()
                }
            }
        } else {
            push(job, usedUp: back)
        }
    }

    private func push(_ job: Job, usedUp: Bool = false) {
        pthread_mutex_lock(mutex)
        queue.append(job, usedUp: usedUp)
        queued.wrappingAdd(1, ordering: .relaxed)
        if sleepers > 0 { pthread_cond_signal(work) }
        pthread_mutex_unlock(mutex)
    }

    private func wakeOne() {
        pthread_mutex_lock(mutex)
        if sleepers > 0 { pthread_cond_signal(work) }
        pthread_mutex_unlock(mutex)
    }

    private func popQueue() -> Job? {
        guard queued.load(ordering: .relaxed) > 0 else { return nil }
        pthread_mutex_lock(mutex)
        let job = queue.popFirst()
        if job != nil { queued.wrappingSubtract(1, ordering: .relaxed) }
        pthread_mutex_unlock(mutex)
        return job
    }

    private func steal() -> Job? {
        for place in 0..<configuration.threads where nexts[place].load(ordering: .relaxed) != nil {
            if let job = exchangeNext(place, nil) { return job }
        }
        return nil
    }

    private func loop(_ runner: Runner) {
        let index = runner.place
        var turn = 0
        var patience = Self.longestSpin
        while true {
            turn += 1
            var job: Job?
            if turn % Self.lookAtQueueEach == 0 { job = popQueue() }
            if job == nil { job = exchangeNext(index, nil) }
            if job == nil { job = popQueue() }
            if job == nil {
                job = spin(patience)
                // Looking pays where jobs are shorter than a wake-up; where they are not it only burns what others need.
                patience = job != nil ? min(Self.longestSpin, 2 * patience) : max(Self.shortestSpin, patience / 2)
            }
            if job == nil { job = sleep(runner) }
            guard let job = job.take() else { return }
            runner.slice.store(turn, ordering: .sequentiallyConsistent)
            if !tickingHint.load(ordering: .sequentiallyConsistent) { startTicking() }
            job.runSlice()
            runner.slice.store(0, ordering: .relaxed)
            if runner.isReplaced.load(ordering: .relaxed) { return }
        }
    }

    /// Looks for a job `times` times.
    private func spin(_ times: Int) -> Job? {
        for _ in 0..<times {
            if let job = steal() ?? popQueue() { return job }
        }
        return nil
    }

    /// Waits for a job; nil when the scheduler stops, or another thread serves the place.
    private func sleep(_ runner: Runner) -> Job? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        sleepers += 1
        sleeping.wrappingAdd(1, ordering: .sequentiallyConsistent)
        defer {
            sleepers -= 1
            sleeping.wrappingSubtract(1, ordering: .relaxed)
        }
        while !stopping {
            if let job = queue.popFirst() {
                queued.wrappingSubtract(1, ordering: .relaxed)
                return job
            }
            if let job = steal() { return job }
            if runner.isReplaced.load(ordering: .relaxed) { return nil }
            pthread_cond_wait(work, mutex)
        }
        return nil
    }

    // MARK: Timers and slices

    private let tickingHint = Atomic<Bool>(false)

    public override func arm(_ timer: Timer) {
        pthread_mutex_lock(timerMutex)
        timers.arm(timer)
        if timer.deadline < timerWakeAt { pthread_cond_signal(timerWork) }
        pthread_mutex_unlock(timerMutex)
    }

    public override func disarm(_ timer: Timer) {
        pthread_mutex_lock(timerMutex)
        timers.disarm(timer)
        pthread_mutex_unlock(timerMutex)
    }

    public override var armedTimers: Int {
        pthread_mutex_lock(timerMutex)
        let unconditional = timers.unconditional
        var questions = unconditional == 0 ? timers.questions(Self.firstAsked) : []
        pthread_mutex_unlock(timerMutex)
        if unconditional > 0 { return unconditional }
        // There may be a million that nobody waits for; one that someone does stands in front, mostly.
        var awaited = questions.first { $0.isAwaited!() }
        if awaited == nil, questions.count == Self.firstAsked {
            pthread_mutex_lock(timerMutex)
            questions = timers.questions()
            pthread_mutex_unlock(timerMutex)
            awaited = questions.first { $0.isAwaited!() }
        }
        guard let awaited else { return 0 }
        pthread_mutex_lock(timerMutex)
        timers.moveToFront(awaited)
        pthread_mutex_unlock(timerMutex)
        return 1
    }

    private func startTicking() {
        pthread_mutex_lock(timerMutex)
        tickingHint.store(true, ordering: .relaxed)
        pthread_cond_signal(timerWork)
        pthread_mutex_unlock(timerMutex)
    }

    private func timerLoop() {
        var idleTicks = 0
        // Where timers are always due, as those of a ticker of a microsecond are, the threads are looked at in between.
        var firesSince = Int64.max
        pthread_mutex_lock(timerMutex)
        while true {
            let now = Self.clock()
            if now - firesSince < Self.tick, let timer = timers.takeDue(now) {
                firesSince = min(firesSince, now)
                beginActivity()
                pthread_mutex_unlock(timerMutex)
                timer.fire()
                endActivity()
                pthread_mutex_lock(timerMutex)
                continue
            }
            firesSince = .max
            pthread_mutex_unlock(timerMutex)
            let busy = watchSlices(now)
            pthread_mutex_lock(timerMutex)
            if timersStopping {  // read under the lock that the wait below gives up: no signal is missed
                pthread_mutex_unlock(timerMutex)
                return
            }
            idleTicks = busy ? 0 : idleTicks + 1
            if idleTicks > 20 {
                tickingHint.store(false, ordering: .sequentiallyConsistent)
                // A job that began meanwhile may still have seen true: either it sees false or is seen here.
                if runners.contains(where: { $0.slice.load(ordering: .sequentiallyConsistent) != 0 }) {
                    tickingHint.store(true, ordering: .relaxed)
                }
            }
            var wakeAt = timers.earliest() ?? .max
            if tickingHint.load(ordering: .relaxed) { wakeAt = min(wakeAt, now + Self.tick) }
            timerWakeAt = wakeAt
            if wakeAt == .max {
                pthread_cond_wait(timerWork, timerMutex)
            } else if wakeAt > now {
                var until = timespec(tv_sec: Int(wakeAt / 1_000_000_000), tv_nsec: Int(wakeAt % 1_000_000_000))
                pthread_cond_timedwait(timerWork, timerMutex, &until)
            }
            timerWakeAt = .min
        }
    }

    /// Interrupts threads whose job is too old, and replaces those where that does not help; gets a sleeper up for jobs
    /// that nobody has taken. True: jobs run.
    private func watchSlices(_ now: Int64) -> Bool {
        var busy = false, waiting = false
        for (place, runner) in runners.enumerated() {
            guard let age = ageOfSlice(of: runner, now) else { continue }
            busy = true
            let isNextWaiting = nexts[place].load(ordering: .relaxed) != nil
            waiting = waiting || isNextWaiting
            interrupt(runner, age)
            if age > 2 * configuration.slice, isNextWaiting || queued.load(ordering: .relaxed) > 0 { replace(runner) }
        }
        if !replaced.isEmpty {
            replaced.removeAll { runner in
                if runner.hasEnded.load(ordering: .acquiring) {
                    pthread_join(runner.thread, nil)
                    return true
                }
                if let age = ageOfSlice(of: runner, now) { interrupt(runner, age) }
                return false
            }
            busy = busy || !replaced.isEmpty
        }
        if waiting && sleeping.load(ordering: .relaxed) > 0 { wakeOne() }
        return busy
    }

    /// For how long its job runs, as far as was seen; nil: between jobs.
    private func ageOfSlice(of runner: Runner, _ now: Int64) -> Int64? {
        let slice = runner.slice.load(ordering: .relaxed)
        if slice != runner.seen {
            runner.seen = slice
            runner.seenSince = now
        }
        return slice == 0 ? nil : now - runner.seenSince
    }

    private func interrupt(_ runner: Runner, _ age: Int64) {
        guard age > configuration.slice - Self.tick, let signal = configuration.interruptSignal else { return }
        pthread_kill(runner.thread, signal)
    }

    /// Its job does not return, and others wait: a new thread serves its place.
    private func replace(_ runner: Runner) {
        guard replaced.count < Self.mostReplaced else { return }
        let fresh = Runner(place: runner.place)
        // Where the system gives no thread the old one goes on. For a moment both may serve the place: that is no harm.
        guard let thread = trySpawn(stack: configuration.stackSize, { [self] in serve(fresh) }) else { return }
        fresh.thread = thread
        pthread_mutex_lock(mutex)  // its job may have returned at last: it does not sleep as one too many
        runner.isReplaced.store(true, ordering: .relaxed)
        pthread_cond_broadcast(work)
        pthread_mutex_unlock(mutex)
        runners[runner.place] = fresh
        replaced.append(runner)
    }
}

/// The same for a thread that nobody joins.
public func spawnDetached(stack: Int, _ body: @escaping @Sendable () -> Void) {
    pthread_detach(spawn(stack: stack, body))
}

/// A thread of one's own, to be joined: for the scheduler, and for calls that block.
@discardableResult
public func spawn(stack: Int, _ body: @escaping @Sendable () -> Void) -> pthread_t {
    guard let thread = trySpawn(stack: stack, body) else { preconditionFailure("the system gives no more threads") }
    return thread
}

/// The same; nil: the system gives no more threads.
func trySpawn(stack: Int, _ body: @escaping @Sendable () -> Void) -> pthread_t? {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, stack)
    defer { pthread_attr_destroy(&attributes) }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body))
    let status = pthread_create(
        &thread, &attributes,
        { context in
            Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    guard status == 0 else {
        box.release()
        return nil
    }
    return thread
}

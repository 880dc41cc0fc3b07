// The one writer of a descriptor that several parties share.
import Glibc
import StreamCore

/// Writes to a descriptor, such as standard output: in whole calls, so that lines of different parties do not mix.
///
/// `write` writes in the calling thread and may block. `enqueue` never blocks: a thread, started when it is needed,
/// writes what is pending. Each call writes what was pending before it first. After a failure, which is remembered,
/// everything is dropped. The descriptor stays open.
public final class OutputWriter: @unchecked Sendable {  // `mutex` guards all state but `inFlight`: see there
    /// By which one party of a shared writer gives up its own blocked writes.
    public final class Canceller: Sendable {
        let event = StopEvent()
        public init() {}
        public var isCancelled: Bool { event.isRaised }
    }

    /// What stands in errors: "standard output", or a path in quotes.
    public let name: String
    /// Called once, on the thread that failed, with no lock held. Set before the first write.
    public var onFailure: (@Sendable (ConnectorError) -> Void)?
    /// The line below, where the descriptor is a terminal that has one. Set before the first write.
    public var statusLine: StatusLine?

    private let descriptor: Int32
    private let isRegular: Bool
    private let scheduler: Scheduler?
    private let cancelled = StopEvent()

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var pending = ByteWriter(capacity: 4096)
    /// What was pending and is being written: belongs to who holds the turn, no lock needed.
    private var inFlight = ByteWriter(capacity: 4096)
    /// Enqueued and not yet written, in flight or not.
    private var unwritten = 0
    /// Someone is writing.
    private var isTurnTaken = false
    /// Callers of `write` that wait for the turn: they go before the thread, and write what is pending themselves.
    private var waiting = 0
    private var hasThread = false
    private var failed: ConnectorError?
    private var marks: [(below: Int, body: @Sendable () -> Void)] = []

    private static let pipeBytes = 4096  // PIPE_BUF: a ready pipe takes so much without blocking
    private static let slice = 64 << 10
    private static let keptBytes = 1 << 20
    private static let idleTime: Int64 = 1_000_000_000

    /// - Parameter scheduler: what is pending counts there as something that can still move.
    public init(descriptor: Int32, name: String, scheduler: Scheduler? = nil) {
        self.descriptor = descriptor
        self.name = name
        self.scheduler = scheduler
        var status = stat()
        isRegular = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {  // the thread holds a reference, so there is none any more
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Enqueued bytes that are not written yet.
    public var pendingBytes: Int { withLock { unwritten } }
    /// Nobody reads the other end any more.
    public var isBroken: Bool { withLock { failed?.isBrokenPipe ?? false } }
    /// The first failure, or nil.
    public var failure: ConnectorError? { withLock { failed } }
    public var isCancelled: Bool { cancelled.isRaised }

    /// Writes what is pending and then all of `bytes`. May block. Throws the failure, also one from before; or, after
    /// `cancel`, that it was cancelled.
    /// - Parameter canceller: `cancel(canceller)` ends this call when it blocks. The rest of a line of which a part
    ///   was written is enqueued then, so that what others write begins a line.
    public func write(_ bytes: UnsafeRawBufferPointer, canceller: Canceller? = nil) throws(ConnectorError) {
        var written = 0
        try write(bytes, canceller: canceller, written: &written)
    }

    /// `written` becomes how many of `bytes` were written, also when it throws.
    func write(
        _ bytes: UnsafeRawBufferPointer, canceller: Canceller?, written: inout Int
    ) throws(ConnectorError) {
        written = 0
        pthread_mutex_lock(mutex)
        waiting += 1
        while isTurnTaken, failed == nil, !isGivenUp(canceller) { pthread_cond_wait(changed, mutex) }
        waiting -= 1
        if isTurnTaken || failed != nil || cancelled.isRaised {
            let failure = failed
            pthread_cond_broadcast(changed)  // the thread may have let this call go first
            pthread_mutex_unlock(mutex)
            throw failure ?? canceledError
        }
        isTurnTaken = true
        var outcome = writePending(canceller)
        if outcome == .done {
            pthread_mutex_unlock(mutex)
            outcome = writeAll(bytes, &written, canceller)
            pthread_mutex_lock(mutex)
        }
        if outcome == .givenUp, !cancelled.isRaised { keepRestOfLine(bytes, written) }
        finishTurn(outcome)
        switch outcome {
        case .done: return
        case .failed(let number): throw error(number)
        case .givenUp: throw canceledError
        }
    }

    /// Appends `bytes`, whole lines, to what is pending. Never blocks; after a failure they are dropped.
    public func enqueue(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        withLock {
            guard failed == nil, !cancelled.isRaised else { return }
            pending.append(bytes)
            addUnwritten(bytes.count)
        }
    }

    /// Calls `body` once fewer than `mark` bytes are pending: now, in this thread, if that is so; also after a
    /// failure. With no lock held.
    public func whenDrained(below mark: Int, _ body: @escaping @Sendable () -> Void) {
        let isBelow = withLock {
            if unwritten < max(mark, 1) { return true }
            marks.append((max(mark, 1), body))
            return false
        }
        if isBelow { body() }
    }

    /// Waits until nothing is pending and nobody writes. False: it failed, was cancelled, or took longer, or longer than
    /// `limitDrain` allows.
    @discardableResult
    public func drain(timeout nanoseconds: Int64) -> Bool {
        let own = Self.now + min(max(nanoseconds, 0), 1 << 60)
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while unwritten > 0 || isTurnTaken, failed == nil, !cancelled.isRaised {
            let end = min(own, drainEnd)
            var deadline = timespec(tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
            if pthread_cond_timedwait(changed, mutex, &deadline) == ETIMEDOUT { break }
        }
        return unwritten == 0 && !isTurnTaken && failed == nil && !cancelled.isRaised
    }

    /// Whoever waits in `drain`, now or later, waits until so many nanoseconds from now at most. Any thread.
    public func limitDrain(to nanoseconds: Int64) {
        let end = Self.now + min(max(nanoseconds, 0), 1 << 60)
        withLock {
            drainEnd = min(drainEnd, end)
            pthread_cond_broadcast(changed)
        }
    }
    private var drainEnd = Int64.max

    /// Makes blocked and later writes of all parties give up, and drops what is pending. Any thread.
    public func cancel() {
        cancelled.raise()
        pthread_mutex_lock(mutex)
        guard !isTurnTaken else {  // who has it notices, and drops
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(mutex)
            return
        }
        isTurnTaken = true
        finishTurn(.givenUp)
    }

    /// Makes writes with this canceller give up where they would block. Any thread.
    public func cancel(_ canceller: Canceller) {
        canceller.event.raise()
        withLock { _ = pthread_cond_broadcast(changed) }
    }

    // MARK: The turn: who holds it writes, without the lock

    /// Writes what is pending. Called with the lock and the turn held; unlocks while it writes.
    private func writePending(_ canceller: Canceller?) -> Outcome {
        while inFlight.count > 0 || pending.count > 0 {
            if inFlight.count == 0 {
                swap(&pending, &inFlight)
                inFlightWritten = 0
            }
            while inFlightWritten < inFlight.count {
                pthread_mutex_unlock(mutex)
                let left = inFlight.bytes[inFlightWritten...].prefix(Self.slice)
                var written = 0
                let outcome = writeAll(UnsafeRawBufferPointer(rebasing: left), &written, canceller)
                pthread_mutex_lock(mutex)
                inFlightWritten += written
                unwritten -= written
                guard outcome == .done else { return outcome }
                // Told while it drains: the last bytes are accounted for in `finishTurn`.
                if unwritten > 0 { tellMarks() }
            }
            inFlight.removeAll(keepingCapacity: inFlight.count <= Self.keptBytes)
        }
        return .done
    }
    private var inFlightWritten = 0

    /// Gives the turn back. Called with the lock held; unlocks, and then tells whom it concerns.
    private func finishTurn(_ outcome: Outcome) {
        isTurnTaken = false
        var news: ConnectorError?
        if case .failed(let number) = outcome, failed == nil {
            failed = error(number)
            news = failed
        }
        if failed != nil || cancelled.isRaised {
            pending.removeAll()
            inFlight.removeAll()
            unwritten = 0
        }
        let isDrained = unwritten == 0 && isActive
        if isDrained { isActive = false }
        let told = takeMarks()
        if unwritten > 0 { startThread() }
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
        if let news { onFailure?(news) }
        for mark in told { mark.body() }
        if isDrained { scheduler?.endActivity() }
    }
    /// Counted as an activity of the scheduler.
    private var isActive = false

    private func addUnwritten(_ count: Int) {
        unwritten += count
        if !isActive {
            isActive = true
            scheduler?.beginActivity()
        }
        startThread()
        pthread_cond_broadcast(changed)
    }

    /// What remains of the line that a write has begun goes in front of what is pending. Under the lock.
    private func keepRestOfLine(_ bytes: UnsafeRawBufferPointer, _ written: Int) {
        guard written > 0, written < bytes.count, bytes[written - 1] != 0x0A else { return }
        let rest = bytes[written...]
        let end = rest.firstIndex(of: 0x0A).map { $0 + 1 } ?? bytes.count
        var joined = ByteWriter(capacity: end - written + pending.count)
        joined.append(UnsafeRawBufferPointer(rebasing: rest[..<end]))
        joined.append(pending.bytes)
        swap(&joined, &pending)
        addUnwritten(end - written)
    }

    private func takeMarks() -> [(below: Int, body: @Sendable () -> Void)] {
        guard !marks.isEmpty else { return [] }
        let told = marks.filter { unwritten < $0.below }
        marks.removeAll { unwritten < $0.below }
        return told
    }

    /// Called with the lock held; unlocks for the calls.
    private func tellMarks() {
        let told = takeMarks()
        guard !told.isEmpty else { return }
        pthread_mutex_unlock(mutex)
        for mark in told { mark.body() }
        pthread_mutex_lock(mutex)
    }

    // MARK: The thread

    private func startThread() {
        guard !hasThread else { return }
        hasThread = true
        pthread_detach(spawn(stack: 256 << 10) { [self] in drainLoop() })
    }

    /// Writes what is pending; ends when there was nothing for a while.
    private func drainLoop() {
        pthread_mutex_lock(mutex)
        while true {
            var deadline = Self.time(after: Self.idleTime)
            while unwritten == 0 || isTurnTaken || waiting > 0 {
                let isOver = pthread_cond_timedwait(changed, mutex, &deadline) == ETIMEDOUT
                guard isOver, unwritten == 0 else {
                    if isOver { deadline = Self.time(after: Self.idleTime) }
                    continue
                }
                hasThread = false
                pthread_mutex_unlock(mutex)
                return
            }
            isTurnTaken = true
            finishTurn(writePending(nil))
            pthread_mutex_lock(mutex)
        }
    }

    // MARK: Writing

    private enum Outcome: Equatable { case done, givenUp, failed(Int32) }

    private func isGivenUp(_ canceller: Canceller?) -> Bool { cancelled.isRaised || canceller?.isCancelled ?? false }

    /// Writes all of `bytes`, without the lock; `written` says how many were.
    private func writeAll(_ bytes: UnsafeRawBufferPointer, _ written: inout Int, _ canceller: Canceller?) -> Outcome {
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return .done }
        let guarded = isRegular ? nil : BrokenPipeGuard()
        var mustWait = !isRegular
        while written < bytes.count {
            if mustWait {
                guard waitForRoom(canceller) else {
                    guarded?.end()
                    return .givenUp
                }
            }
            let most = isRegular ? bytes.count - written : min(bytes.count - written, Self.pipeBytes)
            let count =
                statusLine?.write(descriptor, start + written, most) ?? Glibc.write(descriptor, start + written, most)
            if count >= 0 {
                written += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: mustWait = true
            case let number:
                if number == EPIPE { guarded?.discard() }
                guarded?.end()
                return .failed(number)
            }
        }
        guarded?.end()
        return .done
    }

    /// Waits until a write would not block. False: given up.
    private func waitForRoom(_ canceller: Canceller?) -> Bool {
        while !cancelled.isRaised {
            var polled = (
                pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: cancelled.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: canceller?.event.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
            )
            let ready = withUnsafeMutableBytes(of: &polled) {
                poll($0.baseAddress!.assumingMemoryBound(to: pollfd.self), 3, -1)
            }
            if ready < 0 {
                if errno == EINTR || errno == EAGAIN { continue }
                return true  // write() will say what is wrong
            }
            if polled.1.revents != 0 { return false }
            if polled.0.revents != 0 { return true }
            if polled.2.revents != 0 { return false }
        }
        return false
    }

    private func error(_ number: Int32) -> ConnectorError {
        switch number {
        case EPIPE: ConnectorError("\(name): broken pipe", isBrokenPipe: true)
        case EBADF: ConnectorError("cannot write \(name): it is closed")
        default: ConnectorError("cannot write \(name): \(systemError(number))")
        }
    }

    private var canceledError: ConnectorError { ConnectorError("cannot write \(name): canceled", isCancellation: true) }

    private func withLock<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// A moment on the monotonic clock.
    private static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private static func time(after nanoseconds: Int64) -> timespec {
        let end = now + min(max(nanoseconds, 0), 1 << 60)
        return timespec(tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
    }
}

/// Keeps SIGPIPE from this thread while it writes, whatever the process does with that signal.
private struct BrokenPipeGuard {
    private var pipe = sigset_t()
    private var before = sigset_t()

    init() {
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &pipe, &before)
    }

    /// Takes away the signal that a write to a broken pipe left pending.
    func discard() {
        var set = pipe
        var none = timespec()
        while sigtimedwait(&set, nil, &none) < 0 && errno == EINTR {}
    }

    func end() {
        var old = before
        pthread_sigmask(SIG_SETMASK, &old, nil)
    }
}

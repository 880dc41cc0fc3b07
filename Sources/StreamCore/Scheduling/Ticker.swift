// Channels that get the time.
import CMessage

/// Sends the time on a channel: every `interval` on a fixed grid, or once and then closes it.
///
/// The channel holds one value. A tick that comes while the one before is still there is dropped, as in Go. Nothing
/// moves by a tick that nobody waits for, so it keeps no run alive and hides no deadlock.
public final class Ticker: @unchecked Sendable {  // `lock` guards the timer
    public let channel: Channel
    public let repeats: Bool
    private let scheduler: Scheduler
    private let interval: Int64
    private let lock = Lock()
    private var timer: Timer?
    private var isOver = false
    /// Called once when no tick will come any more.
    private let onEnd: @Sendable (Ticker) -> Void

    /// - Parameter interval: nanoseconds, at least 1 where it repeats.
    public init(
        scheduler: Scheduler, interval: Int64, repeats: Bool, name: String, onEnd: @escaping @Sendable (Ticker) -> Void
    ) {
        precondition(interval > 0 || !repeats, "a ticker has an interval")
        self.scheduler = scheduler
        self.interval = interval
        self.repeats = repeats
        self.onEnd = onEnd
        channel = Channel(capacity: 1, name: name)
    }

    /// The first tick comes one interval from now.
    public func start() { arm(scheduler.now &+ interval) }

    private func arm(_ deadline: Int64) {
        let channel = channel
        let timer = Timer(deadline: deadline, isAwaited: { channel.hasWaitingReceiver }) { [self] in fire(deadline) }
        let isLive = lock.withLock {
            guard !isOver else { return false }
            self.timer = timer
            return true
        }
        guard isLive else { return }
        scheduler.arm(timer)
        // Whoever stopped it in between found the timer not armed yet.
        if lock.withLock({ isOver }) { scheduler.disarm(timer) }
    }

    private func fire(_ deadline: Int64) {
        let now = scheduler.now
        let message = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
        defer { message.deallocate() }
        var header = msg_header()
        header.size = 16
        header.kind = UInt8(MSG_FLOAT)
        message.storeBytes(of: header, as: msg_header.self)
        message.storeBytes(of: Double(now) / 1e9, toByteOffset: 8, as: Double.self)
        let result = channel.trySend(MessagePointer(message.assumingMemoryBound(to: msg_header.self)))
        if result == .closed || !repeats { return stop() }
        // The grid stays: ticks that are over already are left out.
        arm(deadline &+ max(1, (now - deadline) / interval + 1) &* interval)
    }

    /// No tick comes any more, and the channel is closed. Any thread.
    public func stop() {
        let armed: Timer?? = lock.withLock {
            guard !isOver else { return nil }
            isOver = true
            defer { timer = nil }
            return .some(timer)
        }
        guard let armed else { return }
        if let armed { scheduler.disarm(armed) }
        channel.close()
        onEnd(self)
    }
}

// What a queue does with a value for which it has no room.
import DequeModule

/// The policies of a full queue. With any but `block` each value is decided on when it comes, so values come one at a
/// time, and what a consumer has taken is no longer the queue's.
public enum Overflow: UInt8, Sendable, CaseIterable {
    /// Who sends waits.
    case block
    /// The value that comes is dropped.
    case dropNewest
    /// What is stored longest is dropped.
    case dropOldest
    /// One value is kept: the newest.
    case latest
    /// The sender fails.
    case fail
    /// Who sends waits for a time; then its value is dropped.
    case timeout

    /// As scripts write it; for drops also the reason.
    public var name: String {
        switch self {
        case .block: "block"
        case .dropNewest: "drop_newest"
        case .dropOldest: "drop_oldest"
        case .latest: "latest"
        case .fail: "fail"
        case .timeout: "timeout"
        }
    }

    public init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// A policy with what belongs to it.
public struct OverflowPolicy: Sendable {
    public var overflow: Overflow
    /// Nanoseconds that a sender waits: of `timeout`.
    public var timeout: Int64
    /// Is offered each value that is dropped, without a wait; the queue never closes it.
    public var onDrop: Channel?

    public init(_ overflow: Overflow = .block, timeout: Int64 = 0, onDrop: Channel? = nil) {
        self.overflow = overflow
        self.timeout = timeout
        self.onDrop = onDrop
    }
}

/// What a channel keeps whose policy is not `block`. Under the channel's lock.
final class Shedding {
    let policy: OverflowPolicy
    let scheduler: Scheduler
    /// Values dropped so far.
    var count = 0
    /// Senders that wait, in the order in which their time is up, and a timer for the first.
    var waits = Deque<(deadline: Int64, party: Channel.Party)>()
    var timer: Timer?

    init(_ policy: OverflowPolicy, _ scheduler: Scheduler) {
        self.policy = policy
        self.scheduler = scheduler
    }

    /// Forgets waits that have ended otherwise, in front; without any the timer goes too.
    func settle() {
        while let first = waits.first, !first.party.waiter.isOpen(first.party.generation) { waits.removeFirst() }
        guard waits.isEmpty, let timer else { return }
        self.timer = nil
        scheduler.disarm(timer)
    }
}

extension Channel {
    /// What happens when it is full.
    public var overflow: Overflow { shedding?.policy.overflow ?? .block }
    /// Values that its policy dropped so far.
    public var shed: Int { shedding == nil ? 0 : lock.withLock { shedding!.count } }
    /// The failure of a sender: of `fail`.
    public var overflowMessage: String { "\(name) is full (capacity \(capacity), overflow = \"\(overflow.name)\")" }

    /// There is no room for `message`, and its sender shall not wait. The lock is held, and given back.
    /// - Parameter refuses: rather than drop `message` itself it is left to the caller: `.full`.
    func shed(_ message: MessagePointer, _ decision: ChannelState<Party>.Send, refuses: Bool) -> SendResult {
        let shedding = shedding!
        var decision = decision
        var evicted: [Batch] = []
        while case .evict = decision {
            let oldest = stored.take(1)
            state.evicted(size: oldest.byteCount)
            evicted.append(oldest)
            decision = state.send(size: message.size, counts: { _ in false }, { _ in false })
        }
        if case .store = decision {
            sent += 1
            shedding.count += evicted.count
            stored.append(message)
            lock.unlock()
            for oldest in evicted where offer(oldest.first!) { oldest.removeFirst() }
            return .sent  // what was not taken is dropped with its batch
        }
        if refuses {
            lock.unlock()
            return .full
        }
        sent += 1
        shedding.count += 1
        lock.unlock()
        if !offer(message) { message.releaseObjects() }
        if case .fail = decision { return .overflow }
        return .sent
    }

    /// True: someone has it, objects and all.
    private func offer(_ message: MessagePointer) -> Bool {
        guard let onDrop = shedding!.policy.onDrop else { return false }
        return onDrop.trySend(message, refuses: true) == .sent
    }

    // MARK: Waits that end by their time

    /// `party` has begun to wait, under the lock. Returns a timer to be armed after it.
    func limitWait(of party: Party) -> Timer? {
        guard let shedding, shedding.policy.overflow == .timeout else { return nil }
        shedding.settle()
        shedding.waits.append((shedding.scheduler.now &+ shedding.policy.timeout, party))
        return nextTimer(shedding)
    }

    private func nextTimer(_ shedding: Shedding) -> Timer? {
        guard shedding.timer == nil, let first = shedding.waits.first else { return nil }
        let timer = Timer(deadline: first.deadline, isAwaited: { [weak self] in self?.hasTimedWait ?? false }) {
            [weak self] in self?.timeIsUp()
        }
        shedding.timer = timer
        return timer
    }

    private var hasTimedWait: Bool {
        lock.withLock { shedding!.waits.contains { $0.party.waiter.isOpen($0.party.generation) } }
    }

    /// Those whose time is up go on without their values.
    private func timeIsUp() {
        let shedding = shedding!
        lock.lock()
        shedding.timer = nil
        let now = shedding.scheduler.now
        var ended: [(waiter: Waiter, value: MessageBuffer)] = []
        while let first = shedding.waits.first {
            let waiter = first.party.waiter
            guard waiter.isOpen(first.party.generation) else {
                shedding.waits.removeFirst()
                continue
            }
            guard first.deadline <= now else { break }
            shedding.waits.removeFirst()
            guard waiter.claim(first.party.generation) else { continue }
            let value = MessageBuffer()
            value.fill(waiter.outbox.message!)
            waiter.outbox.moved()
            waiter.outcome = .sent(index: first.party.index)
            sent += 1
            shedding.count += 1
            state.noteStale { !$0.waiter.isOpen($0.generation) }
            ended.append((waiter, value))
        }
        let timer = nextTimer(shedding)
        lock.unlock()
        if let timer { shedding.scheduler.arm(timer) }
        for (waiter, value) in ended {
            if offer(value.message!) { value.moved() }  // else it is dropped with its buffer
            waiter.owner.ready(waiter)
        }
    }
}

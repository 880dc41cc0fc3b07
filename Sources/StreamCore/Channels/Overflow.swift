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
    var waits = Deque<Wait>()
    var timer: Timer?

    struct Wait {
        let deadline: Int64
        let waiter: Waiter
        let generation: UInt64
        let index: Int
        var isOpen: Bool { waiter.isOpen(generation) }
    }

    init(_ policy: OverflowPolicy, _ scheduler: Scheduler) {
        self.policy = policy
        self.scheduler = scheduler
    }

    /// Forgets waits that have ended otherwise, in front; without any the timer goes too.
    func settle() {
        while let first = waits.first, !first.isOpen { waits.removeFirst() }
        guard waits.isEmpty, let timer else { return }
        self.timer = nil
        scheduler.disarm(timer)
    }
}

/// Messages that a queue has dropped, on their way to whoever is offered them.
final class ShedMessages {
    private let taker: Channel?
    private var messages: [MessageBuffer] = []

    init(_ taker: Channel?) { self.taker = taker }

    var count: Int { messages.count }
    var last: MessageBuffer { messages.last! }

    /// Room for one more.
    func add() -> MessageBuffer {
        messages.append(MessageBuffer())
        return last
    }

    /// With no lock held. What is not taken is dropped with its buffer.
    func offer() {
        guard let taker else { return }
        for message in messages where taker.trySend(message.message!, refuses: true) == .sent { message.moved() }
    }
}

extension Channel {
    /// What happens when it is full.
    public var overflow: Overflow { shedding?.policy.overflow ?? .block }
    /// Values that its policy dropped so far.
    public var shed: Int { shedding == nil ? 0 : lock.withLock { shedding!.count } }
    /// The failure of a sender: of `fail`.
    public var overflowMessage: String { "\(name) is full (capacity \(capacity), overflow = \"\(overflow.name)\")" }

    /// Under the lock: there is no room for `message`, and its sender shall not wait. What is dropped is offered when
    /// those who are served are told.
    /// - Parameter refuses: rather than drop `message` itself it is left to the caller: `.full`.
    func shed(
        _ message: MessagePointer, _ decision: ChannelState<Party>.Send, refuses: Bool
    ) -> (SendResult, Served) {
        let shedding = shedding!, dropped = ShedMessages(shedding.policy.onDrop)
        var decision = decision
        while case .evict = decision {
            stored.removeFirst(into: dropped.add())
            state.evicted(size: dropped.last.message!.size)
            decision = state.send(size: message.size, counts: { _ in false }, { _ in false })
        }
        if case .store = decision {
            stored.append(message)
        } else if refuses {
            return (.full, Served())
        } else {
            dropped.add().fill(message)
        }
        sent += 1
        shedding.count += dropped.count
        let served = Served(shed: dropped)
        if case .fail = decision { return (.overflow, served) }
        return (.sent, served)
    }

    // MARK: Waits that end by their time

    /// `party` has begun to wait, under the lock. Returns a timer to be armed after it.
    func limitWait(of party: Party) -> Timer? {
        guard let shedding, shedding.policy.overflow == .timeout else { return nil }
        shedding.settle()
        shedding.waits.append(
            Shedding.Wait(
                deadline: shedding.scheduler.now &+ shedding.policy.timeout, waiter: party.waiter,
                generation: party.generation, index: party.index))
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
        lock.withLock { shedding!.waits.contains(where: \.isOpen) }
    }

    /// Those whose time is up go on without their values.
    private func timeIsUp() {
        let shedding = shedding!
        lock.lock()
        shedding.timer = nil
        let now = shedding.scheduler.now
        var ended: [Waiter] = []
        let dropped = ShedMessages(shedding.policy.onDrop)
        while let first = shedding.waits.first {
            let waiter = first.waiter
            guard first.isOpen else {
                shedding.waits.removeFirst()
                continue
            }
            guard first.deadline <= now else { break }
            shedding.waits.removeFirst()
            guard waiter.claim(first.generation) else { continue }
            dropped.add().fill(waiter.message(of: first.index))
            waiter.sent(first.index)
            sent += 1
            shedding.count += 1
            state.noteStale(Self.isStale)
            ended.append(waiter)
        }
        let timer = nextTimer(shedding)
        lock.unlock()
        if let timer { shedding.scheduler.arm(timer) }
        dropped.offer()
        for waiter in ended { waiter.owner.ready(waiter) }
    }
}

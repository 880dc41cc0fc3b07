// A wait for the first of several channel operations.
import Glibc

/// Bugs that the tests plant in a select to see that their checks find them.
package enum SelectFault: CaseIterable {
    /// Takes every case that is ready at once.
    case allCases
    /// Waits without a second look at its channels.
    case noSecondLook
    /// Stays in the queues of the channels where it waited.
    case staleStays
}

/// Takes exactly one of its cases, each a send or a receive on a channel.
///
/// The way of a select, and why it takes one case and misses none:
///
///     built -- attempt --> decided                  one channel locked at a time, nothing of it stands in any queue
///     built -- wait -----> decided                  all its channels locked
///     built -- wait -----> waiting -- claimed --> decided
///
/// `attempt` tries the cases one by one in a random order, so the first that is ready is a fair choice among those that
/// are. It has nothing in the queues, so nobody can decide for it meanwhile, and it cannot meet itself.
///
/// `wait` locks all channels in the order of their addresses (two selects never wait for each other's locks, and all other
/// operations hold one lock), looks once more, and only if still nothing is ready opens the wait and queues up in every
/// channel, under one generation of its waiter. Since no channel can change between that look and the queueing, there is
/// no moment in which it could be claimed by one party while it claims another: whoever claims a waiter is never
/// claimable itself. And whoever makes a case ready later finds it in that channel's queue.
///
/// Whoever finds it there claims the generation (one compare-and-swap, which succeeds once) under that channel's lock.
/// All others who find it pass on as if it were not there. So it takes one case; the peer of a case that was lost goes
/// on to the next party in the queue or queues up itself. What is left in the other channels is stale by its generation,
/// and taken out by `finish`.
///
/// Used by one task at a time, again and again; its memory stays.
///
/// - Complexity: O(cases) locks, and O(cases log cases) to sort them before a wait.
public final class Select: @unchecked Sendable {  // its task's; while it waits, whoever claimed the wait reads messages
    private struct Case {
        let channel: Unmanaged<Channel>
        /// The caller's number for it, from 1.
        let index: Int
        /// Where its message begins; -1: it receives.
        let offset: Int
        var sends: Bool { offset >= 0 }
    }

    // One side at a time touches it, by the rule above: no exclusivity checks, and plain memory in place of arrays.
    @exclusivity(unchecked) private var memory: UnsafeMutablePointer<Case>
    @exclusivity(unchecked) private var count = 0
    @exclusivity(unchecked) private var room = 8
    private var cases: UnsafeMutableBufferPointer<Case> { .init(start: memory, count: count) }
    /// Its channels in the order of their addresses, each once.
    @exclusivity(unchecked) private var channels: [Unmanaged<Channel>] = []
    @exclusivity(unchecked) private var generation: UInt64 = 0
    @exclusivity(unchecked) private var isWaiting = false
    /// What the sends send, one after another: the caller's memory until it waits.
    @exclusivity(unchecked) private var messages: UnsafeRawPointer?
    @exclusivity(unchecked) private var used = 0
    @exclusivity(unchecked) private var holdsObjects = false
    @exclusivity(unchecked) private var own: UnsafeMutableRawPointer?
    @exclusivity(unchecked) private var capacity = 0
    /// The caller's number for what follows when it waits too long; kept with the cases.
    public var afterCase: Int {
        get { after }
        set { after = newValue }
    }
    // Apart from its accessors: in other modules the attribute does not reach a stored property.
    @exclusivity(unchecked) private var after = 0
    private let fault: SelectFault?

    public convenience init() { self.init(fault: nil) }

    package init(fault: SelectFault?) {
        self.fault = fault
        memory = .allocate(capacity: room)
    }

    deinit {
        memory.deallocate()
        free(own)
    }

    // MARK: Building

    /// Begins a new one, whose sends' messages stand in the `used` bytes at `messages`, which are the caller's and stay
    /// as they are until the select is decided or waits. Their objects are the select's from now on.
    public func begin(messages: UnsafeRawPointer?, used: Int, holdsObjects: Bool) {
        precondition(!isWaiting, "a select waits for one thing at a time")
        count = 0
        self.messages = messages
        self.used = used
        self.holdsObjects = holdsObjects
    }

    /// Adds a receive. The channel must be kept until the select is decided or waits.
    public func addReceive(_ channel: Channel, index: Int) {
        addReceive(.passUnretained(channel), index: index)
    }
    public func addReceive(_ channel: Unmanaged<Channel>, index: Int) {
        append(Case(channel: channel, index: index, offset: -1))
    }

    /// Adds a send of the message `offset` bytes from the first one.
    public func addSend(_ channel: Channel, index: Int, offset: Int) {
        addSend(.passUnretained(channel), index: index, offset: offset)
    }
    public func addSend(_ channel: Unmanaged<Channel>, index: Int, offset: Int) {
        append(Case(channel: channel, index: index, offset: offset))
    }

    @inline(__always)
    private func append(_ item: Case) {
        if count == room { grow() }
        memory[count] = item
        count += 1
    }

    private func grow() {
        let more = UnsafeMutablePointer<Case>.allocate(capacity: 2 * room)
        more.update(from: memory, count: count)
        memory.deallocate()
        memory = more
        room *= 2
    }

    // MARK: Deciding

    /// Takes one ready case: a received message goes to `buffer`. `.pending`: none is ready. `random` makes the choice.
    public func attempt(random: UInt64, into buffer: MessageBuffer) -> WaitOutcome {
        var generator = SplitMix64(seed: random)
        for position in 0..<count {
            let left = UInt64(count - position)
            // A number below `left`, by multiplication; the bias is below 2^-32 for each case.
            let chosen = position + Int(((generator.next() >> 32) &* left) >> 32)
            let item = memory[chosen]
            memory[chosen] = memory[position]
            memory[position] = item
            let (outcome, served) = item.channel._withUnsafeGuaranteedRef { channel in
                channel.lockForSelect()
                defer { channel.unlockForSelect() }
                return perform(item, on: channel, into: buffer)
            }
            served.notify()
            if case .pending = outcome { continue }
            if fault == .allCases { takeAll(after: position) }
            return outcome
        }
        return .pending
    }

    /// A planted bug, so that the tests can be tested.
    private func takeAll(after position: Int) {
        for item in cases[(position + 1)...] {
            let channel = item.channel.takeUnretainedValue()
            channel.lockForSelect()
            let (_, served) = perform(item, on: channel, into: MessageBuffer())
            channel.unlockForSelect()
            served.notify()
        }
    }

    /// Takes a case that has become ready, or queues up in all channels: `.pending`, and the waiter is told. After
    /// `attempt`, whose order the choice follows.
    public func wait(_ waiter: Waiter, into buffer: MessageBuffer) -> WaitOutcome {
        sortChannels()
        for channel in channels { channel._withUnsafeGuaranteedRef { $0.lockForSelect() } }
        if fault != .noSecondLook {
            for item in cases {
                let (result, served) = item.channel._withUnsafeGuaranteedRef { perform(item, on: $0, into: buffer) }
                if case .pending = result { continue }
                unlock()
                served.notify()
                return result
            }
        }
        keepMessages()
        waiter.select = .passUnretained(self)
        isWaiting = true
        generation = waiter.begin()
        for item in cases {
            _ = item.channel.retain()
            item.channel._withUnsafeGuaranteedRef {
                $0.enqueue(waiter, generation, index: item.index, sends: item.sends)
            }
        }
        unlock()
        return .pending
    }

    private func unlock() {
        for channel in channels.reversed() { channel._withUnsafeGuaranteedRef { $0.unlockForSelect() } }
    }

    private func perform(
        _ item: Case, on channel: Channel, into buffer: MessageBuffer
    ) -> (WaitOutcome, Channel.Served) {
        if item.sends {
            // Where a send would fail, its case is not ready.
            let (result, served) = channel.offer(message(at: item.offset), refuses: channel.overflow == .fail)
            switch result {
            case .sent, .overflow: return (.sent(index: item.index), served)
            case .closed: return (.closed(index: item.index), served)
            case .full, .waiting: return (.pending, served)
            }
        }
        let (result, served) = channel.take(into: buffer)
        switch result {
        case .received: return (.received(index: item.index), served)
        case .closed: return (.closed(index: item.index), served)
        case .empty, .waiting: return (.pending, served)
        }
    }

    private func sortChannels() {
        channels.removeAll(keepingCapacity: true)
        for item in cases { channels.append(item.channel) }
        guard channels.count > 1 else { return }
        channels.sort { $0.toOpaque() < $1.toOpaque() }
        var kept = 1
        for position in 1..<channels.count where channels[position].toOpaque() != channels[kept - 1].toOpaque() {
            channels[kept] = channels[position]
            kept += 1
        }
        channels.removeLast(channels.count - kept)
    }

    // MARK: Messages

    private func message(at offset: Int) -> MessagePointer {
        MessagePointer((messages! + offset).assumingMemoryBound(to: MessagePointer.Pointee.self))
    }

    /// Bytes of what the case with this number sends; before it is finished.
    public func size(of index: Int) -> Int { Int(message(of: index).pointee.size) }

    /// What the case with this number sends.
    func message(of index: Int) -> MessagePointer {
        guard let item = cases.first(where: { $0.index == index }) else {
            preconditionFailure("a select is claimed for one of its cases")
        }
        return message(at: item.offset)
    }

    /// For a planted bug: its wait of this generation is not finished, and the case with this number sends.
    func isWaiting(_ generation: UInt64, toSend index: Int) -> Bool {
        isWaiting && self.generation == generation && cases.contains { $0.index == index && $0.sends }
    }

    /// The messages stay while it waits: from the caller's memory to its own.
    private func keepMessages() {
        guard used > 0 else { return }
        if used > capacity {
            free(own)
            capacity = max(256, used)
            own = malloc(capacity)
            precondition(own != nil, "no memory for messages of \(used) bytes")
        }
        memcpy(own!, messages!, used)
        messages = UnsafeRawPointer(own!)
    }

    // MARK: Its end

    /// The channel of the case with this number.
    public func channel(of index: Int) -> Channel? {
        cases.first { $0.index == index }?.channel.takeUnretainedValue()
    }

    /// The number of a case that receives from `channel`.
    public func receiveCase(of channel: Channel) -> Int? {
        cases.first { !$0.sends && $0.channel.toOpaque() == channel.reference }?.index
    }

    /// What its task does meanwhile, for reports.
    public var description: String {
        if cases.isEmpty { return afterCase > 0 ? "selecting: only after a time" : "selecting on nothing" }
        let what = cases.sorted { $0.index < $1.index }.map { item in
            let name = item.channel._withUnsafeGuaranteedRef(\.name)
            return item.sends ? "\(name) (send)" : name
        }
        return "selecting on " + what.joined(separator: ", ")
    }

    /// It is decided, or given up: takes it out of the channels where it waits, and drops the messages of the sends that
    /// were not taken. `channel(of:)` is asked before.
    public func finish(_ waiter: Waiter?, _ outcome: WaitOutcome) {
        if holdsObjects {
            for item in cases where item.sends && outcome != .sent(index: item.index) {
                message(at: item.offset).releaseObjects()
            }
        }
        if isWaiting, let waiter {
            isWaiting = false
            let taken =
                switch outcome {
                case .received(let index), .sent(let index),
                    .closed(let index) where waiter.outcome == outcome:
                    index
                default: 0
                }
            waiter.select = nil
            for item in cases {
                // The case that was taken is out of its queue already.
                if fault != .staleStays && item.index != taken {
                    item.channel._withUnsafeGuaranteedRef { $0.withdraw(waiter, generation, sends: item.sends) }
                }
                item.channel.release()
            }
        }
        if capacity > 1 << 16 {
            free(own)
            own = nil
            capacity = 0
        }
        count = 0
        messages = nil
        used = 0
        holdsObjects = false
    }
}

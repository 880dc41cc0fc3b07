// Sources and sinks of the host: code that may block, each on a thread of its own.
import CMessage
import Glibc

/// Why a source or a sink failed: one sentence that names what (a path, "standard output") and why.
public struct ConnectorError: Error, CustomStringConvertible, Sendable {
    public let description: String
    /// Nobody reads the other end any more (a closed pipe): the run ends quietly.
    public let isBrokenPipe: Bool
    /// It is about a value rather than the connector: the message shall say which pipeline the value was in.
    public let concernsValue: Bool
    /// It gave up because it was told to: in a pipeline that has ended that is no failure.
    public let isCancellation: Bool

    public init(
        _ description: String, isBrokenPipe: Bool = false, concernsValue: Bool = false, isCancellation: Bool = false
    ) {
        self.isCancellation = isCancellation
        self.description = description
        self.isBrokenPipe = isBrokenPipe
        self.concernsValue = concernsValue
    }
}

/// Produces values. `run` is called once, on a thread of its own.
public protocol HostSource: AnyObject, Sendable {
    /// Called once before `run`, on its thread, by those who want to know whether there is something to read. Without it:
    /// that shows in `run`.
    func open() throws(ConnectorError)
    /// Sends values until there are no more, `stop` is called, or the outlet says that nobody wants more; then returns.
    func run(_ outlet: Outlet) throws(ConnectorError)
    /// Asks `run` to return soon, as at its natural end; also from a signal at a bad moment, also twice, before or
    /// after `run`. Any thread. It must end a `run` that waits for input.
    func stop()
}

extension HostSource {
    public func open() throws(ConnectorError) {}
}

/// Consumes values. All calls come from one thread of its own.
public protocol HostSink: AnyObject, Sendable {
    func open() throws(ConnectorError)
    /// Consumes `message`; the bytes are valid during the call. May gather output until `flush`.
    func write(_ message: MessagePointer) throws(ConnectorError)
    /// Called when no more values are at hand now: what was gathered goes out.
    func flush() throws(ConnectorError)
    /// Called once, however the run ends, after the last `write`; also after a failure.
    func close() throws(ConnectorError)
    /// The run was cancelled: a `write` that blocks shall give up. Any thread.
    func cancel()
    /// Values that `write` took and that will not arrive any more; asked after `close`. Without it: none.
    var lost: Int { get }
}

extension HostSink {
    public var lost: Int { 0 }
}

/// A thread that waits: the waiter's owner for code that may block.
final class ThreadParker: WaiterOwner, ContextListener, @unchecked Sendable {  // set once in `init`
    let seat: ThreadSeat
    private let context: Context
    private(set) var waiter: Waiter!

    init(scheduler: Scheduler, context: Context) {
        seat = scheduler.makeSeat()
        self.context = context
        waiter = Waiter(owner: self)
    }

    func ready(_ waiter: Waiter) { seat.unpark() }

    func contextEnded(_ reason: Reason) {
        if waiter.claimCurrent() {
            waiter.outcome = .ended(reason)
            ready(waiter)
        }
    }

    /// Waits for the end of the wait that `waiter` is registered for.
    func park() -> WaitOutcome {
        if let reason = context.reason, waiter.claimCurrent() { return .ended(reason) }
        seat.park()
        return waiter.outcome
    }
}

/// Where a source puts its values: gathers batches for a channel and blocks while there is no room.
public final class Outlet: @unchecked Sendable {  // used by its source's thread alone; counters are read after it ended
    private let channel: Channel
    fileprivate let parker: ThreadParker
    fileprivate let scheduler: Scheduler
    private let context: Context
    /// The batch that is being filled, in plain memory: a reference count a message would cost more than the message.
    private var bytes: UnsafeMutableRawPointer?
    private var used = 0, capacity = 0, count = 0
    private var lastUsed = 0
    private var mayHoldObjects = false
    private var granted = 0
    /// Nobody wants more values, or the run was cancelled: return from `run`.
    public private(set) var isClosed = false
    /// Its queue was full, and that is a failure.
    public private(set) var isFull = false
    /// Values that the source has made.
    public private(set) var created = 0
    /// Values handed over.
    public private(set) var sent = 0
    /// Values that were gathered and found nobody.
    public private(set) var dropped = 0
    /// The same, for others to read meanwhile.
    public let meter = Meter()
    /// Gets input that is not a value whole, in place of `reject`; false: `reject` decides. Set before the source starts.
    public var onReject: ((_ outlet: Outlet, _ problem: String, _ text: UnsafeRawBufferPointer) -> Bool)?
    /// What to do with input that is not a value; set by the host.
    private let reject: @Sendable (_ problem: String, _ text: String) -> Bool

    private static let batchLimit = 256
    /// So many values are handed over at once. Where others can work on the first part of a queue while the rest is
    /// filled that is a quarter of it; on one processor each hand-over only costs.
    private let share: Int
    private static let batchBytes = 128 << 10

    /// - Parameter reject: gets a problem and the offending text, shortened; false: the source fails with it.
    public init(
        channel: Channel, scheduler: Scheduler, context: Context,
        reject: @escaping @Sendable (_ problem: String, _ text: String) -> Bool
    ) {
        self.channel = channel
        self.scheduler = scheduler
        self.context = context
        self.reject = reject
        share = scheduler.threads > 1 ? max(1, channel.capacity / 4) : .max
        parker = ThreadParker(scheduler: scheduler, context: context)
    }

    deinit { free(bytes) }

    func begin() { if !context.add(parker) { isClosed = true } }

    func end() {
        flush()
        context.remove(parker)
    }

    /// Room for one message of `size` bytes (a multiple of 8, header included) that holds no objects, to be filled by the caller before any
    /// other call; nil: closed. May block.
    public func reserve(size: Int) -> UnsafeMutableRawPointer? {
        guard !isClosed, makeRoom(for: size) else { return nil }
        let place = bytes! + used
        used += size
        count += 1
        return place
    }

    /// Sends a text as one message of `kind`, `MSG_STRING` or `MSG_JSON`. False: closed.
    public func send(text: UnsafeRawBufferPointer, kind: UInt8) -> Bool {
        let size = Int(msg_padded(UInt32(MSG_TEXT_OFFSET) + UInt32(text.count)))
        guard let place = reserve(size: size) else { return false }
        (place + size - 8).storeBytes(of: 0, as: UInt64.self)  // the padding, before header and text
        place.storeBytes(of: msg_header(size: UInt32(size), kind: kind, flags: 0, shape: 0), as: msg_header.self)
        place.storeBytes(of: UInt32(text.count), toByteOffset: 8, as: UInt32.self)
        if text.count > 0 { memcpy(place + Int(MSG_TEXT_OFFSET), text.baseAddress!, text.count) }
        return true
    }

    /// Sends a copy of `message`. False: closed.
    public func send(_ message: MessagePointer) -> Bool {
        guard let place = reserve(size: message.size) else { return false }
        memcpy(place, message, message.size)
        if message.holdsObjects {
            message.retainObjects()
            mayHoldObjects = true
        }
        return true
    }

    /// Input that is not a value: counted and skipped (true), or the source's end, by the declared policy (false:
    /// throw `ConnectorError(problem)`).
    ///
    /// - Parameter whole: the text, unless it was too long to be read.
    public func reject(_ problem: String, text: String, whole: UnsafeRawBufferPointer? = nil) -> Bool {
        if let onReject {
            var text = text
            if text.withUTF8({ onReject(self, problem, whole ?? UnsafeRawBufferPointer($0)) }) { return true }
        }
        return reject(problem, text)
    }

    /// Nothing more is to come.
    public func close() { isClosed = true }

    /// Sends the message of `buffer` elsewhere, after what is gathered; blocks while there is no room. False: nobody takes
    /// it, or the context has ended.
    public func send(_ buffer: MessageBuffer, to other: Channel) -> Bool {
        flush()
        switch other.send(buffer.message!, parker.waiter) {
        case .sent:
            buffer.moved()
            return true
        case .waiting:
            buffer.moved()
            if case .sent = parker.park() { return true }
            parker.waiter.outbox.drop()
            other.forget()
            if context.reason != nil { isClosed = true }
            return false
        case .closed, .full, .overflow:
            buffer.drop()
            return false
        }
    }

    /// Sends what is gathered, and gives unused room back. To be called before a read that may block.
    public func flush() {
        guard count > 0 || granted > 0 else { return }
        defer { meter.set(Meter.Counts(emitted: sent, dropped: dropped)) }
        let full = takeBatch()
        if channel.isOneByOne {
            while let message = full.first {
                switch channel.send(message, parker.waiter) {
                case .sent: sent += 1
                case .overflow:
                    sent += 1
                    isFull = true
                    isClosed = true
                case .waiting:
                    if case .sent = parker.park() {
                        sent += 1
                    } else {
                        parker.waiter.outbox.drop()
                        channel.forget()
                        dropped += 1
                        isClosed = true
                    }
                case .closed, .full:
                    message.releaseObjects()
                    dropped += 1
                    isClosed = true
                }
                full.removeFirst()
            }
            return
        }
        let count = full.count
        if channel.commit(full, unused: granted - count) {
            sent += count
        } else {
            dropped += full.drop()
            isClosed = true
        }
        granted = 0
    }

    private func takeBatch() -> Batch {
        created += count
        defer {
            lastUsed = used
            bytes = nil
            used = 0
            capacity = 0
            count = 0
            mayHoldObjects = false
        }
        return Batch(adopting: bytes, used: used, capacity: capacity, count: count, mayHoldObjects: mayHoldObjects)
    }

    /// Room in the channel for one more message, and in the batch for its bytes. False: closed.
    @inline(__always)
    private func makeRoom(for size: Int) -> Bool {
        if count >= granted || used >= Self.batchBytes {
            guard makeRoom() else { return false }
        } else if count >= share {
            handOver()
            if isClosed { return false }
        }
        if capacity - used < size { grow(size) }
        return true
    }

    /// Sends what is gathered, and keeps the room that is left.
    private func handOver() {
        let part = takeBatch(), count = part.count
        if channel.commit(part, unused: 0) {
            sent += count
            granted -= count
        } else {
            dropped += part.drop()
            granted = 0
            isClosed = true
        }
    }

    private func grow(_ size: Int) {
        // A new batch gets the room that the one before needed, so that it is not moved as it grows.
        capacity = max(4096, 2 * capacity, used + size, bytes == nil ? lastUsed + lastUsed / 8 : 0)
        bytes = realloc(bytes, capacity)
        precondition(bytes != nil, "no memory for a batch of \(capacity) bytes")
    }

    private func makeRoom() -> Bool {
        if channel.isOneByOne {
            if count > 0 { flush() }
            return !isClosed
        }
        flush()
        while granted == 0 && !isClosed {
            switch channel.reserve(scheduler.batchLimit(Self.batchLimit), parker.waiter) {
            case .granted(let n): granted = n
            case .closed: isClosed = true
            case .waiting:
                switch parker.park() {
                case .granted(let n): granted = n
                default:
                    channel.forget()
                    isClosed = true
                }
            }
        }
        return !isClosed
    }
}

/// Runs `source` on a thread of its own. `opened` is called when it could be opened; without it that is not asked. `done`
/// gets its error, or nil, and the outlet with its counts.
public func start(
    _ source: any HostSource, _ outlet: Outlet, scheduler: Scheduler, opened: (@Sendable () -> Void)? = nil,
    done: @escaping @Sendable (ConnectorError?) -> Void
) {
    precondition(outlet.scheduler === scheduler, "a source and its outlet belong to one scheduler")
    outlet.parker.seat.start(stack: 512 << 10) {
        var failure: ConnectorError?
        outlet.begin()
        do throws(ConnectorError) {
            if let opened {
                try source.open()
                opened()
            }
            try source.run(outlet)
        } catch { failure = error }
        outlet.end()
        done(failure)
    }
}

/// What became of the values that a sink was fed.
public struct SinkCounts: Sendable {
    /// Taken from the channel; and those that were still there when the sink ended, which were dropped.
    public var taken = 0, left = 0
    /// Taken by the sink, and it has not lost them; and those that it lost, or was not given any more.
    public var delivered = 0, lost = 0
}

/// Feeds `sink` from `channel` on a thread of its own, until the channel is closed and empty, the context ends, or the
/// sink fails. `done` gets the error, or nil, and what became of the values; the channel's reading side is closed before.
public func start(
    _ sink: any HostSink, from channel: Channel, scheduler: Scheduler, context: Context,
    done: @escaping @Sendable (_ failure: ConnectorError?, _ counts: SinkCounts) -> Void
) {
    let parker = ThreadParker(scheduler: scheduler, context: context)
    parker.seat.start(stack: 512 << 10) {
        let canceller = SinkCanceller(sink)
        var failure: ConnectorError?
        var counts = SinkCounts()
        do throws(ConnectorError) {
            let isLive = context.add(parker) && context.add(canceller)
            try sink.open()
            if isLive {
                feeding: while true {
                    var taken: Batch?
                    switch channel.takeBatch(256, nil) {
                    case .batch(let batch): taken = batch
                    case .closed: break feeding
                    case .waiting, .empty:
                        try sink.flush()
                        switch channel.takeBatch(256, parker.waiter) {
                        case .batch(let batch): taken = batch
                        case .closed: break feeding
                        case .empty: break
                        case .waiting:
                            if case .batch = parker.park() {
                                taken = parker.waiter.batch
                                parker.waiter.batch = nil
                            } else if case .closed = parker.waiter.outcome {
                                break feeding
                            } else {
                                channel.forget()
                                break feeding
                            }
                        }
                    }
                    guard let batch = taken else { continue }
                    let count = batch.count, bytes = batch.byteCount
                    counts.taken += count
                    do throws(ConnectorError) {
                        while let message = batch.first {
                            try sink.write(message)
                            message.releaseObjects()
                            batch.removeFirst()
                            counts.delivered += 1
                        }
                    } catch {
                        counts.lost += batch.drop()
                        throw error
                    }
                    channel.credit(count, bytes: bytes, all: false)
                }
                try sink.flush()
            }
        } catch { failure = error }
        context.remove(parker)
        context.remove(canceller)
        do throws(ConnectorError) { try sink.close() } catch { failure = failure ?? error }
        // What it had taken and lost afterwards was not delivered.
        let lost = min(sink.lost, counts.delivered)
        counts.delivered -= lost
        counts.lost += lost
        counts.left = channel.closeReading().drop()
        done(failure, counts)
    }
}

private final class SinkCanceller: ContextListener {
    private let sink: any HostSink
    init(_ sink: any HostSink) { self.sink = sink }
    func contextEnded(_ reason: Reason) { sink.cancel() }
}

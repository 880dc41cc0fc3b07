// The loop of a stage, which runs in C inside a task: see driver.c.
import CLuaShim

/// What a stage's function is called with and what becomes of its results.
public enum StageForm: Sendable, Equatable {
    case map, filter, each, flatMap, scan, reduce, sink, collect, route
    /// The function of a key: its messages go on with the lane, one of so many, that its result means; of none: with its
    /// hash.
    case key(lanes: Int)

    fileprivate var code: Int32 {
        switch self {
        case .map: Int32(SHIM_STAGE_MAP.rawValue)
        case .filter: Int32(SHIM_STAGE_FILTER.rawValue)
        case .each: Int32(SHIM_STAGE_EACH.rawValue)
        case .flatMap: Int32(SHIM_STAGE_FLAT_MAP.rawValue)
        case .scan: Int32(SHIM_STAGE_SCAN.rawValue)
        case .reduce: Int32(SHIM_STAGE_REDUCE.rawValue)
        case .sink: Int32(SHIM_STAGE_SINK.rawValue)
        case .collect: Int32(SHIM_STAGE_COLLECT.rawValue)
        case .route: Int32(SHIM_STAGE_ROUTE.rawValue)
        case .key: Int32(SHIM_STAGE_KEY.rawValue)
        }
    }
}

/// What a driver that came back asks for.
public enum StageRequest { case nothing, input, output, judgement }

/// The state that a driver and the host share, in C memory: no exclusivity checks and no reference counts a message.
/// It must outlive the tasks that use it.
public final class StageDriver {
    let driver: UnsafeMutablePointer<shim_driver>
    /// Of a chain: the value that the function which failed had, for people.
    public internal(set) var faultyValue: String?

    public init(_ form: StageForm) {
        driver = .allocate(capacity: 1)
        driver.initialize(to: shim_driver())
        driver.pointee.stage = form.code
        if case .key(let lanes) = form { driver.pointee.lanes = UInt32(lanes) }
    }

    /// Several stages in one worker, value by value: see `StageDriver-chain.swift`.
    convenience init(links: [StageForm]) {
        self.init(links[0])
        let memory = UnsafeMutablePointer<shim_link>.allocate(capacity: links.count)
        for (index, form) in links.enumerated() {
            memory.advanced(by: index).initialize(to: shim_link(stage: form.code, received: 0, filtered: 0, failed: 0))
        }
        driver.pointee.links = memory
        driver.pointee.length = Int32(links.count)
    }

    deinit {
        driver.pointee.links?.deallocate()
        driver.pointee.limits?.deallocate()
        driver.pointee.keeps?.deallocate()
        shim_drop_held(driver)
        shim_buffer_free(&driver.pointee.retained)
        shim_buffer_free(&driver.pointee.out)
        driver.deallocate()
    }

    public func pushFunction(_ stack: LuaStack) -> Bool { shim_push_driver(stack.state, driver) }
    public func pushEmit(_ stack: LuaStack) -> Bool { shim_push_emit(stack.state, driver) }

    /// The task that drives it, or whose function has its `emit`: the one that is served for it.
    public func setOwner(_ task: LuaStack?) { driver.pointee.owner = task?.state }

    /// Takes what the driver asked for, once.
    public func takeRequest() -> StageRequest {
        defer { driver.pointee.want = Int32(SHIM_WANT_NOTHING) }
        switch driver.pointee.want {
        case Int32(SHIM_WANT_INPUT): return .input
        case Int32(SHIM_WANT_OUTPUT): return .output
        case Int32(SHIM_WANT_JUDGEMENT): return .judgement
        default: return .nothing
        }
    }

    // MARK: Input

    public func setInput(_ start: UnsafeRawPointer?, count: Int) {
        driver.pointee.cursor = start?.assumingMemoryBound(to: UInt8.self)
        driver.pointee.end = driver.pointee.cursor.map { $0 + count }
    }
    /// Where the first message stands that was neither read nor is in hand.
    public var unread: UnsafeRawPointer? {
        guard let cursor = driver.pointee.cursor else { return nil }
        let inHand = driver.pointee.message.map { Int($0.pointee.size) } ?? 0
        return UnsafeRawPointer(cursor + inHand)
    }
    /// The value in hand.
    public var message: UnsafePointer<msg_header>? { driver.pointee.message }
    /// No input follows what is there.
    public var isEnded: Bool {
        get { driver.pointee.ended }
        set { driver.pointee.ended = newValue }
    }

    // MARK: Output

    /// Messages written and not taken.
    public var pending: Int { Int(driver.pointee.count) }
    public var grant: Int {
        get { Int(driver.pointee.grant) }
        set { driver.pointee.grant = UInt32(newValue) }
    }
    /// The script's function has no input: once nobody wants its output and it has been told so, the next `emit` raises
    /// `nobodyListens`.
    public var isGenerator: Bool {
        get { driver.pointee.generates }
        set { driver.pointee.generates = newValue }
    }
    public static let nobodyListens = SHIM_NOBODY_LISTENS
    /// It is a generator's, which is to end: its `emit` returns `nil, "closed"`, and what it has made goes on.
    public var isDrained: Bool {
        get { driver.pointee.drained }
        set { driver.pointee.drained = newValue }
    }
    /// Nobody wants the output: the driver returns, and `emit` returns `nil, "closed"`.
    public var isClosed: Bool {
        get { driver.pointee.closed }
        set { driver.pointee.closed = newValue }
    }
    public var isRendezvous: Bool {
        get { driver.pointee.rendezvous }
        set { driver.pointee.rendezvous = newValue }
    }
    /// The memory with the written messages, which the taker frees.
    public struct Output {
        public let bytes: UnsafeMutableRawPointer?
        public let used: Int, capacity: Int, count: Int
        public let mayHoldObjects: Bool
    }

    public func takeOutput() -> Output {
        let out = driver.pointee.out
        defer {
            driver.pointee.out = shim_buffer()
            driver.pointee.count = 0
            driver.pointee.objects = false
        }
        return Output(
            bytes: UnsafeMutableRawPointer(out.bytes), used: out.used, capacity: out.capacity,
            count: Int(driver.pointee.count), mayHoldObjects: driver.pointee.objects)
    }
    /// Gives the driver memory to write to.
    public func lend(_ bytes: UnsafeMutableRawPointer?, capacity: Int) {
        shim_buffer_free(&driver.pointee.out)
        driver.pointee.out = shim_buffer(
            bytes: bytes?.assumingMemoryBound(to: UInt8.self), used: 0, capacity: capacity)
    }

    // MARK: Counts

    public var received: UInt64 { driver.pointee.received }
    public var emitted: UInt64 { driver.pointee.emitted }
    /// Values that the function dropped by its result.
    public var filtered: UInt64 { links.reduce(driver.pointee.filtered) { $0 + $1.filtered } }
    public var failed: UInt64 { links.reduce(driver.pointee.failed) { $0 + $1.failed } }
    /// Values that `emit` made.
    public var created: UInt64 { driver.pointee.created }
    /// Values that a flat map, a reduce or a sink has taken and done with.
    public var consumed: UInt64 { driver.pointee.consumed }
    /// Values for whose results nobody was there any more.
    public var dropped: UInt64 { driver.pointee.dropped }
    /// Values that were taken and of which nothing is known yet: lost where no task drives it any more.
    public var inHand: UInt64 { shim_values_in_hand(driver) }
    /// Marks read, which are neither received nor emitted.
    public var marks: UInt64 { driver.pointee.marks }

    private var links: UnsafeBufferPointer<shim_link> {
        UnsafeBufferPointer(start: driver.pointee.links, count: Int(driver.pointee.length))
    }
    /// Values that one stage of a chain was given.
    public func received(inLink index: Int) -> UInt64 { links.isEmpty ? received : links[index].received }
    /// Values for which one stage of a chain failed.
    public func failed(inLink index: Int) -> UInt64 { links.isEmpty ? failed : links[index].failed }
}

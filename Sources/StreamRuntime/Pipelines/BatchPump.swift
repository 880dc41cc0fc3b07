// Values gathered to arrays.
import CMessage
import Glibc
import StreamCore

/// Makes arrays of up to `size` values, or of what came within a time of the first one. At the end of its input the rest
/// goes out. An array also goes out when it has grown to the bytes that a link holds.
final class BatchPump: Pump, @unchecked Sendable {  // as Pump
    private var input: PumpInput
    private let size: Int
    private let within: Int64?
    private var builder = ArrayBuilder()
    /// The array is whole and waits to be passed on.
    private var isWhole = false
    /// When the array that is being gathered goes out.
    private var deadline = Int64.max
    private var timer: Timer?
    private let onInputEnd: (Channel) -> Int
    /// Arrays passed on, and the values in them.
    private(set) var arrays = 0
    private var values = 0
    override var made: Int { arrays }
    override var combined: Int { values }

    init(
        from input: Channel, to output: Channel, size: Int, within: Int64?, givesBack: Bool, scheduler: Scheduler,
        context: Context, onInputEnd: @escaping (Channel) -> Int, done: @escaping (BatchPump) -> Void
    ) {
        self.input = PumpInput(input, givesBack: givesBack)
        self.size = size
        self.within = within
        self.onInputEnd = onInputEnd
        super.init(scheduler: scheduler, output: output, context: context) {
            done(unsafeDowncast($0, to: BatchPump.self))
        }
    }

    override var received: Int { input.total }
    override var taken: Int { input.taken }
    override var returned: Int { input.returned }
    override var waitsFor: String { waitsForRoom ? super.waitsFor : "receiving from \(input.channel.name)" }

    override func step() -> Step {
        disarm()
        if isWhole { return passOn() }
        if scheduler.now >= deadline {
            isWhole = true
            return .more
        }
        switch input.fill(scheduler, waiter, beforeWait: flush) {
        case .ready: break
        case .ended:
            isWhole = builder.count > 0
            return isWhole ? .more : .over
        case .waits:
            arm()
            return .waits
        }
        while let message = input.first {
            if builder.count == 0, let within { deadline = scheduler.now &+ within }
            builder.append(message)
            input.advance()
            if builder.count >= size || builder.byteCount >= Channel.linkBytes {
                isWhole = true
                break
            }
        }
        return .more
    }

    private func passOn() -> Step {
        switch emit(builder.message()) {
        case .sent: passedOn()
        case .waits:
            if output!.isOneByOne { passedOn() }  // it waits in the waiter
            input.credit(all: true)
            return .waits
        case .closed: return .over
        }
        return .more
    }

    private func passedOn() {
        arrays += 1
        values += builder.count
        builder.clear()
        isWhole = false
        deadline = .max
    }

    // MARK: Time

    /// The wait for input that has begun ends at the deadline.
    private func arm() {
        guard deadline != .max else { return }
        let waiter = waiter!, generation = waiter.generation
        let timer = Timer(deadline: deadline) { waiter.end(generation, .ended(.timeout)) }
        self.timer = timer
        scheduler.arm(timer)
    }

    private func disarm() {
        guard let timer else { return }
        self.timer = nil
        scheduler.disarm(timer)
        input.channel.forget()
    }

    override func resumed(_ outcome: WaitOutcome) { input.resumed(waiter) }

    override func release() -> Int {
        disarm()
        let gathered = builder.count
        builder.drop()
        return gathered + input.release(waiter) + onInputEnd(input.channel)
    }
}

/// A message that grows: an array of the values of other messages.
struct ArrayBuilder: ~Copyable {
    private var bytes: UnsafeMutableRawPointer
    private var capacity = 256
    private var used = Self.start
    private var holdsObjects = false
    private(set) var count = 0

    /// Behind the header: the table's flags and its two counts.
    private static let start = Int(MSG_HEADER_SIZE) + 9

    init() { bytes = malloc(256)! }

    deinit { free(bytes) }

    var byteCount: Int { used }

    /// Appends the value of `message` and takes over its objects.
    mutating func append(_ message: MessagePointer) {
        let value = message.nestedValue
        reserve(1 + value.count + 8)
        bytes.storeBytes(of: value.tag, toByteOffset: used, as: UInt8.self)
        if value.count > 0 { memcpy(bytes + used + 1, value.start, value.count) }
        used += 1 + value.count
        count += 1
        if message.holdsObjects { holdsObjects = true }
    }

    private mutating func reserve(_ more: Int) {
        guard used + more > capacity else { return }
        let room = max(2 * capacity, used + more)
        let larger = realloc(bytes, room)
        precondition(larger != nil, "no memory for an array of \(room) bytes")
        bytes = larger!
        capacity = room
    }

    /// The array so far; valid until the next change.
    mutating func message() -> MessagePointer {
        let size = Int(msg_padded(UInt32(used)))
        reserve(size - used)
        memset(bytes + used, 0, size - used)
        var header = msg_header()
        header.size = UInt32(size)
        header.kind = UInt8(MSG_TABLE)
        header.flags = holdsObjects ? UInt8(MSG_HAS_OBJECTS) : 0
        bytes.storeBytes(of: header, as: msg_header.self)
        let table = bytes + Int(MSG_HEADER_SIZE)
        table.storeBytes(of: UInt8(MSG_TABLE_IS_ARRAY), as: UInt8.self)
        table.storeBytes(of: UInt32(count), toByteOffset: 1, as: UInt32.self)
        table.storeBytes(of: 0, toByteOffset: 5, as: UInt32.self)
        return MessagePointer(bytes.assumingMemoryBound(to: msg_header.self))
    }

    /// Begins a new array: the one before has moved elsewhere.
    mutating func clear() {
        used = Self.start
        count = 0
        holdsObjects = false
        if capacity > 1 << 20 {
            free(bytes)
            capacity = 256
            bytes = malloc(capacity)!
        }
    }

    /// Drops the values.
    mutating func drop() {
        message().releaseObjects()
        clear()
    }
}

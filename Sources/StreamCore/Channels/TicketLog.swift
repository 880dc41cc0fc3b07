// In which order the readers of one input got its values.
import CMessage
import DequeModule

/// The order of an input that several readers share: one ticket for each share of it, with the reader who has it. What
/// the readers make of their shares is put back in order by it.
///
/// A reader ends each share with a mark (`Batch.appendMark`) behind what it made of it.
public final class TicketLog: @unchecked Sendable {  // `lock`; it is taken last and nothing is called under it
    private let lock = Lock()
    private var readers = Deque<Int>()
    private var isFinished = false

    public init() {}

    /// The next share is `reader`'s. Called where shares are handed out, in their order.
    public func append(_ reader: Int) { lock.withLock { readers.append(reader) } }

    /// The next shares are those readers'; empties the list.
    public func append(all more: inout [Int]) {
        lock.withLock { readers.append(contentsOf: more) }
        more.removeAll(keepingCapacity: true)
    }

    /// No share follows.
    public func finish() { lock.withLock { isFinished = true } }

    /// Moves the tickets that are there to `taken`, which is empty. False: no more will follow them.
    public func take(into taken: inout Deque<Int>) -> Bool {
        lock.withLock {
            swap(&readers, &taken)
            return !isFinished
        }
    }
}

/// What stands for one of several readers of a channel that keep their order.
public struct ReaderSeat {
    public let log: TicketLog
    public let reader: Int

    public init(log: TicketLog, reader: Int) {
        self.log = log
        self.reader = reader
    }

    @inline(__always) func took() { log.append(reader) }
}

extension UnsafePointer<msg_header> {
    /// It is no value: see `TicketLog`.
    @inline(__always) public var isMark: Bool { pointee.kind == UInt8(MSG_MARK) }
}

extension Batch {
    /// Ends a share of the input.
    public func appendMark() {
        let header = msg_header(size: UInt32(MSG_HEADER_SIZE), kind: UInt8(MSG_MARK), flags: 0, shape: 0)
        appendUninitialized(size: Int(MSG_HEADER_SIZE)).storeBytes(of: header, as: msg_header.self)
    }

    /// Drops the unread messages and returns how many values were among them.
    @discardableResult
    public func dropValues() -> Int {
        var values = 0
        while let message = first {
            if !message.isMark { values += 1 }
            message.releaseObjects()
            removeFirst()
        }
        return values
    }
}

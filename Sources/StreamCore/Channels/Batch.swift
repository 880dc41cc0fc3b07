// Messages that change hands together.
import CMessage
import Glibc

/// Messages one after another in malloc'd memory, read from the front and appended at the end.
///
/// Owned by one side at a time: a producer's port, a channel's queue, or a consumer's port. That rule is why its fields
/// go without exclusivity checks, which would cost a sixth of an integer's way through a pipeline.
public final class Batch {
    @exclusivity(unchecked) public private(set) var bytes: UnsafeMutableRawPointer?
    @exclusivity(unchecked) public private(set) var capacity: Int
    /// Where the unread messages begin and end, in bytes.
    @exclusivity(unchecked) public private(set) var begin = 0
    @exclusivity(unchecked) public private(set) var end: Int
    /// Unread messages.
    @exclusivity(unchecked) public private(set) var count: Int
    /// False: none of its messages holds objects, and it can be dropped without a look at them.
    @exclusivity(unchecked) private var mayHoldObjects = false

    public init() {
        bytes = nil
        capacity = 0
        end = 0
        count = 0
    }

    /// Takes over malloc'd `bytes` that hold `count` messages in their first `used` bytes.
    public init(
        adopting bytes: UnsafeMutableRawPointer?, used: Int, capacity: Int, count: Int, mayHoldObjects: Bool
    ) {
        self.mayHoldObjects = mayHoldObjects
        self.bytes = bytes
        self.capacity = capacity
        self.end = used
        self.count = count
    }

    deinit {
        drop()
        free(bytes)
    }

    public var isEmpty: Bool { count == 0 }
    /// Bytes of the unread messages.
    public var byteCount: Int { end - begin }
    public var start: UnsafeRawPointer? { bytes.map { UnsafeRawPointer($0) + begin } }
    /// The first unread message.
    public var first: MessagePointer? {
        count == 0 ? nil : MessagePointer((bytes! + begin).assumingMemoryBound(to: msg_header.self))
    }

    /// Copies `message` to the end; its objects, if any, become this batch's.
    public func append(_ message: MessagePointer) {
        let size = message.size
        reserve(size)
        memcpy(bytes! + end, message, size)
        end += size
        count += 1
        if message.holdsObjects { mayHoldObjects = true }
    }

    /// Bytes of the number that a route's predicates, or a key's function, write behind a message.
    public static let trailerSize = 8

    /// Copies `message` without its last `trailer` bytes, which somebody wrote behind it.
    public func append(_ message: MessagePointer, trimming trailer: Int) {
        let before = end - begin
        append(message)
        guard trailer > 0 else { return }
        end -= trailer
        (bytes! + begin + before).assumingMemoryBound(to: msg_header.self).pointee.size -= UInt32(trailer)
    }

    /// Writes a number behind the only message, which belongs to it until whoever moves it on takes it off again.
    public func putBehindLast(_ number: Int64) {
        precondition(count == 1, "a number is put behind one message")
        reserve(Self.trailerSize)
        (bytes! + end).storeBytes(of: number, as: Int64.self)
        end += Self.trailerSize
        (bytes! + begin).assumingMemoryBound(to: msg_header.self).pointee.size += UInt32(Self.trailerSize)
    }

    /// Room for one message of `size` bytes at the end, for the caller to fill; one that holds no objects.
    public func appendUninitialized(size: Int) -> UnsafeMutableRawPointer {
        reserve(size)
        let place = bytes! + end
        end += size
        count += 1
        return place
    }

    private func reserve(_ size: Int) {
        guard end + size > capacity else { return }
        if begin > 0 && byteCount + size <= capacity {
            memmove(bytes!, bytes! + begin, byteCount)
        } else {
            let room = max(256, 2 * capacity, byteCount + size)
            let larger = malloc(room)!
            if let bytes {
                memcpy(larger, bytes + begin, byteCount)
                free(bytes)
            }
            bytes = larger
            capacity = room
        }
        end -= begin
        begin = 0
    }

    /// The first message has moved elsewhere.
    public func removeFirst() {
        begin += first!.size
        count -= 1
        if count == 0 {
            begin = 0
            end = 0
        }
    }

    /// Moves the first `n` messages to a batch of their own.
    public func split(first n: Int) -> Batch {
        let part = Batch()
        for _ in 0..<min(n, count) {
            part.append(first!)
            removeFirst()
        }
        return part
    }

    /// Drops the unread messages and returns how many they were.
    @discardableResult
    public func drop() -> Int {
        let dropped = count
        if mayHoldObjects {
            while let message = first {
                message.releaseObjects()
                removeFirst()
            }
        }
        begin = 0
        end = 0
        count = 0
        return dropped
    }

    /// Hands the memory out, with the unread messages in it: the caller frees it.
    public func surrender() -> (bytes: UnsafeMutableRawPointer?, capacity: Int) {
        defer {
            bytes = nil
            capacity = 0
            begin = 0
            end = 0
            count = 0
        }
        return (bytes, capacity)
    }
}

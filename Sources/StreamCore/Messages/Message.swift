// Messages as the channels see them: bytes in the layout of CMessage.h, owned by exactly one buffer or batch.
import CMessage
import Glibc

public typealias MessagePointer = UnsafePointer<msg_header>

extension UnsafePointer<msg_header> {
    /// Bytes of the whole message.
    @inline(__always) public var size: Int { Int(pointee.size) }
    @inline(__always) public var holdsObjects: Bool { pointee.flags & UInt8(MSG_HAS_OBJECTS) != 0 }

    /// Releases the host objects in this message: whoever drops a message calls it once.
    public func releaseObjects() { if holdsObjects { visitObjects(SharedObject.release) } }
    /// Retains them once more: whoever copies a message calls it once.
    public func retainObjects() { if holdsObjects { visitObjects(SharedObject.retain) } }

    private func visitObjects(_ visit: (UnsafeMutableRawPointer?) -> Void) {
        let payload = UnsafeRawPointer(self) + Int(MSG_HEADER_SIZE)
        if pointee.kind == UInt8(MSG_OBJECT) {
            visit(payload.load(as: UnsafeMutableRawPointer?.self))
        } else {
            Self.walk(payload, object: visit)
        }
    }
}

/// Room for one message, used again for the next: what a waiting task sends or receives.
public final class MessageBuffer {
    // Owned by one side at a time, as its waiter is: exclusivity checks would cost more than the accesses.
    @exclusivity(unchecked) private var bytes: UnsafeMutableRawPointer?
    @exclusivity(unchecked) private var capacity = 0
    @exclusivity(unchecked) private var filled = false

    /// Memory above this is not kept for the next message: there may be a million of these.
    private static let kept = 1 << 10

    public init() {}

    deinit {
        drop()
        free(bytes)
    }

    /// The message held, or nil.
    public var message: MessagePointer? {
        filled ? MessagePointer(bytes!.assumingMemoryBound(to: msg_header.self)) : nil
    }

    /// Moves `message` here: its bytes are copied, its objects change owner. There must be none yet.
    public func fill(_ message: MessagePointer) {
        precondition(!filled, "a message buffer holds one message at a time")
        let size = message.size
        if size > capacity {
            free(bytes)
            capacity = max(64, size)
            bytes = malloc(capacity)
            precondition(bytes != nil, "no memory for a message of \(size) bytes")
        }
        memcpy(bytes!, message, size)
        filled = true
    }

    /// Forgets the message, which has moved elsewhere. Large buffers are not kept.
    public func moved() {
        filled = false
        if capacity > Self.kept {
            free(bytes)
            bytes = nil
            capacity = 0
        }
    }

    /// Drops what is here and takes over what `other` holds, without a copy.
    public func take(from other: MessageBuffer) {
        drop()
        swap(&bytes, &other.bytes)
        swap(&capacity, &other.capacity)
        swap(&filled, &other.filled)
    }

    /// Drops the message, if any.
    public func drop() {
        guard let message else { return }
        message.releaseObjects()
        moved()
    }
}

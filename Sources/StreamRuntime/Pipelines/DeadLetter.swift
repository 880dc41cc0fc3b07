// What becomes of a value that a stage could not work on: a record for people and for programs that try it again.
import CMessage
import Glibc
import StreamCore

/// Builds `{ value =, error =, stage =, time = }` without a Lua state: the one that failed may be gone.
struct DeadLetter {
    enum Value {
        case message(MessagePointer)
        case text(String)
    }

    /// The letter as a message, whose objects are those of `value`, retained once more; in memory of `buffer`'s.
    static func fill(_ buffer: MessageBuffer, value: Value, error: String, stage: String, time: Int64) {
        var bytes: [UInt8] = []
        func append<T>(_ value: T) { withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) } }
        func append(text: String) {
            bytes.append(UInt8(MSG_VALUE_STRING))
            var text = text
            text.withUTF8 {
                append(UInt32($0.count))
                bytes.append(contentsOf: $0)
            }
        }
        var flags: UInt8 = 0
        append(msg_header(size: 0, kind: UInt8(MSG_TABLE), flags: 0, shape: 0))
        bytes.append(0)
        append(UInt32(0))  // no array part
        append(UInt32(4))
        append(text: "value")
        switch value {
        case .text(let text): append(text: text)
        case .message(let message):
            let nested = message.nestedValue
            bytes.append(nested.tag)
            bytes.append(contentsOf: UnsafeRawBufferPointer(start: nested.start, count: nested.count))
            message.retainObjects()
            flags = message.pointee.flags & UInt8(MSG_HAS_OBJECTS)
        }
        append(text: "error")
        append(text: error)
        append(text: "stage")
        append(text: stage)
        append(text: "time")
        bytes.append(UInt8(MSG_VALUE_INTEGER))
        append(time)
        while bytes.count % 8 != 0 { bytes.append(0) }
        let header = msg_header(size: UInt32(bytes.count), kind: UInt8(MSG_TABLE), flags: flags, shape: 0)
        withUnsafeBytes(of: header) { bytes.replaceSubrange(0..<8, with: $0) }
        // aligned to 8, as messages are
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 8)
        bytes.withUnsafeBytes { memory.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        buffer.fill(MessagePointer(memory.assumingMemoryBound(to: msg_header.self)))
        memory.deallocate()
    }
}

// Messages inside others.
import CMessage

extension UnsafePointer<msg_header> {
    /// How this message's value is written inside of a table: a tag, and bytes that follow it.
    public var nestedValue: (tag: UInt8, start: UnsafeRawPointer, count: Int) {
        let payload = UnsafeRawPointer(self) + Int(MSG_HEADER_SIZE)
        func text(_ tag: UInt8) -> (tag: UInt8, start: UnsafeRawPointer, count: Int) {
            (tag, payload, 4 + Int(payload.load(as: UInt32.self)))
        }
        switch Int32(pointee.kind) {
        case Int32(MSG_FALSE): return (UInt8(MSG_VALUE_FALSE), payload, 0)
        case Int32(MSG_TRUE): return (UInt8(MSG_VALUE_TRUE), payload, 0)
        case Int32(MSG_INTEGER): return (UInt8(MSG_VALUE_INTEGER), payload, 8)
        case Int32(MSG_FLOAT): return (UInt8(MSG_VALUE_FLOAT), payload, 8)
        case Int32(MSG_NULL): return (UInt8(MSG_VALUE_NULL), payload, 0)
        case Int32(MSG_STRING): return text(UInt8(MSG_VALUE_STRING))
        case Int32(MSG_JSON): return text(UInt8(MSG_VALUE_JSON))
        case Int32(MSG_TABLE): return (UInt8(MSG_VALUE_TABLE), payload, Self.tableLength(payload))
        case Int32(MSG_OBJECT): return (UInt8(MSG_VALUE_OBJECT), payload, 8)
        default: preconditionFailure("a message has one of the kinds of CMessage.h")
        }
    }

    /// Walks over the values of the table at `payload`, from its flags on; returns where it ends.
    @discardableResult
    static func walk(
        _ payload: UnsafeRawPointer, object: (UnsafeMutableRawPointer?) -> Void
    ) -> UnsafeRawPointer {
        var values = valueCount(payload)
        var cursor = payload + 9
        while values > 0 {  // a flat walk: a nested table only adds to what is left to visit
            values -= 1
            let tag = cursor.load(as: UInt8.self)
            cursor += 1
            switch tag {
            case UInt8(MSG_VALUE_INTEGER), UInt8(MSG_VALUE_FLOAT): cursor += 8
            case UInt8(MSG_VALUE_STRING), UInt8(MSG_VALUE_JSON):
                cursor += 4 + Int(cursor.loadUnaligned(as: UInt32.self))
            case UInt8(MSG_VALUE_KEY): cursor += 4
            case UInt8(MSG_VALUE_TABLE):
                values += valueCount(cursor)
                cursor += 9
            case UInt8(MSG_VALUE_OBJECT):
                object(cursor.loadUnaligned(as: UnsafeMutableRawPointer?.self))
                cursor += 8
            default: break
            }
        }
        return cursor
    }

    private static func tableLength(_ payload: UnsafeRawPointer) -> Int { walk(payload) { _ in } - payload }

    private static func valueCount(_ table: UnsafeRawPointer) -> Int {
        Int((table + 1).loadUnaligned(as: UInt32.self)) + 2 * Int((table + 5).loadUnaligned(as: UInt32.self))
    }
}

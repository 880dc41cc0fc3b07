// The fields of a record, in whichever form the message has it.
import CMessage
import StreamCore

/// Walks over the fields of a record message: a JSON object or a table, one level deep. Reads nothing but the message.
///
///     guard var fields = RecordFields(message) else { ... }    // not a record
///     while fields.next() { use(fields.key, fields.value) }
struct RecordFields {
    struct Value {
        enum Kind {
            case missing, null, no, yes, integer, float
            /// A number as JSON spells it.
            case number
            case string
            /// The inside of a JSON string with escapes.
            case escaped
            case nested, object
        }
        var kind = Kind.missing
        /// The text, or the eight bytes of an integer or a float, unaligned.
        var start = RecordFields.nowhere
        var length = 0
    }

    /// A field's name: `.string` or `.escaped`; anything else is a key that is no name.
    private(set) var key = Value()
    private(set) var value = Value()
    /// The fields stand in an order of their own; else their order is by chance.
    let isOrdered: Bool

    private static var nowhere: UnsafeRawPointer { UnsafeRawPointer(UnsafeMutableRawPointer(bitPattern: 8)!) }
    private let isJSON: Bool
    private var cursor: UnsafeRawPointer
    private let end: UnsafeRawPointer
    private var pairsLeft = 0

    /// Nil: the message is not a record.
    init?(_ message: MessagePointer) {
        let payload = UnsafeRawPointer(message) + Int(MSG_HEADER_SIZE)
        switch Int(message.pointee.kind) {
        case MSG_JSON:
            let length = Int(payload.loadUnaligned(as: UInt32.self))
            let textEnd = payload + 4 + length
            cursor = JSONText.skipSpace(payload + 4, textEnd)
            guard cursor < textEnd, cursor.load(as: UInt8.self) == UInt8(ascii: "{") else { return nil }
            cursor += 1
            end = textEnd
            isJSON = true
            isOrdered = true
        case MSG_TABLE:
            let flags = Int(payload.load(as: UInt8.self))
            let arrayCount = (payload + 1).loadUnaligned(as: UInt32.self)
            guard arrayCount == 0, flags & Int(MSG_TABLE_IS_ARRAY) == 0 else { return nil }
            pairsLeft = Int((payload + 5).loadUnaligned(as: UInt32.self))
            cursor = payload + 9
            end = UnsafeRawPointer(message) + message.size
            isJSON = false
            isOrdered = flags & Int(MSG_TABLE_IS_ORDERED) != 0
        default: return nil
        }
    }

    /// Goes on to the next field. False: there are no more.
    mutating func next() -> Bool {
        if isJSON { return nextInJSON() }
        guard pairsLeft > 0 else { return false }
        pairsLeft -= 1
        key = takeValue()
        value = takeValue()
        return true
    }

    private mutating func nextInJSON() -> Bool {
        cursor = JSONText.skipSpace(cursor, end)
        if cursor < end, cursor.load(as: UInt8.self) == UInt8(ascii: ",") {
            cursor = JSONText.skipSpace(cursor + 1, end)
        }
        guard cursor < end, cursor.load(as: UInt8.self) == UInt8(ascii: "\"") else { return false }
        key = Self.value(inJSON: cursor, end, after: &cursor)
        cursor = JSONText.skipSpace(cursor, end)  // at the colon
        cursor = JSONText.skipSpace(cursor + 1, end)
        value = Self.value(inJSON: cursor, end, after: &cursor)
        return true
    }

    /// The JSON value that begins at `start`; `cursor` becomes what follows it.
    @inline(__always)
    private static func value(
        inJSON start: UnsafeRawPointer, _ end: UnsafeRawPointer, after cursor: inout UnsafeRawPointer
    ) -> Value {
        let first = start.load(as: UInt8.self)
        let kind: Value.Kind
        switch first {
        case UInt8(ascii: "\""):
            let found = JSONText.stringEnd(start + 1, end)
            cursor = found.end + 1
            return Value(
                kind: found.isEscaped ? .escaped : .string, start: start + 1, length: found.end - (start + 1))
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            cursor = JSONText.containerEnd(start, end)
            return Value(kind: .nested, start: start, length: cursor - start)
        case UInt8(ascii: "t"): kind = .yes
        case UInt8(ascii: "f"): kind = .no
        case UInt8(ascii: "n"): kind = .null
        default: kind = .number
        }
        cursor = JSONText.wordEnd(start, end)
        return Value(kind: kind, start: start, length: cursor - start)
    }

    /// The nested value at the cursor of a table message, which moves behind it.
    private mutating func takeValue() -> Value {
        let tag = Int(cursor.load(as: UInt8.self))
        cursor += 1
        let start = cursor
        switch tag {
        case MSG_VALUE_FALSE: return Value(kind: .no)
        case MSG_VALUE_TRUE: return Value(kind: .yes)
        case MSG_VALUE_INTEGER, MSG_VALUE_FLOAT:
            cursor += 8
            return Value(kind: tag == MSG_VALUE_INTEGER ? .integer : .float, start: start, length: 8)
        case MSG_VALUE_STRING:
            let length = Int(start.loadUnaligned(as: UInt32.self))
            cursor += 4 + length
            return Value(kind: .string, start: start + 4, length: length)
        case MSG_VALUE_KEY:
            cursor += 4
            var length = 0
            guard let name = msg_symbol_name(start.loadUnaligned(as: UInt32.self), &length) else { return Value() }
            return Value(kind: .string, start: UnsafeRawPointer(name), length: length)
        case MSG_VALUE_JSON:
            let text = start + 4
            cursor = text + Int(start.loadUnaligned(as: UInt32.self))
            var textEnd = cursor
            return Self.value(inJSON: JSONText.skipSpace(text, cursor), cursor, after: &textEnd)
        case MSG_VALUE_TABLE:
            cursor -= 1
            skipValue()
            return Value(kind: .nested, start: start, length: cursor - start)
        case MSG_VALUE_OBJECT:
            cursor += 8
            return Value(kind: .object, start: start, length: 8)
        default: return Value(kind: .null)
        }
    }

    /// Moves the cursor behind the value at it, without recursion.
    private mutating func skipValue() {
        var left = 1
        while left > 0 {
            left -= 1
            let tag = Int(cursor.load(as: UInt8.self))
            cursor += 1
            switch tag {
            case MSG_VALUE_INTEGER, MSG_VALUE_FLOAT, MSG_VALUE_OBJECT: cursor += 8
            case MSG_VALUE_KEY: cursor += 4
            case MSG_VALUE_STRING, MSG_VALUE_JSON: cursor += 4 + Int(cursor.loadUnaligned(as: UInt32.self))
            case MSG_VALUE_TABLE:
                left += Int((cursor + 1).loadUnaligned(as: UInt32.self))
                left += 2 * Int((cursor + 5).loadUnaligned(as: UInt32.self))
                cursor += 9
            default: break
            }
        }
    }
}

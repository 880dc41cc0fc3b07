import CMessage
import Testing

@testable import StreamIO

/// A value, to build messages from.
indirect enum Value: Sendable, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral {
    case bool(Bool), null, integer(Int64), float(Double), bytes([UInt8]), object
    case table(isArray: Bool, [Value], [(Value, Value)])

    init(integerLiteral value: Int64) { self = .integer(value) }
    init(floatLiteral value: Double) { self = .float(value) }
    init(stringLiteral value: String) { self = .bytes(Array(value.utf8)) }

    static func array(_ values: Value...) -> Value { .table(isArray: false, values, []) }
    static func fields(_ pairs: (Value, Value)...) -> Value { .table(isArray: false, [], pairs) }

    var payload: [UInt8] {
        func raw<T>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value, Array.init) }
        switch self {
        case .bool, .null: return []
        case .integer(let value): return raw(value)
        case .float(let value): return raw(value)
        case .bytes(let bytes): return raw(UInt32(bytes.count)) + bytes
        case .object: return raw(UInt64(0))
        case .table(let isArray, let values, let pairs):
            return [isArray ? UInt8(MSG_TABLE_IS_ARRAY) : 0] + raw(UInt32(values.count)) + raw(UInt32(pairs.count))
                + values.flatMap { [$0.tag] + $0.payload }
                + pairs.flatMap { [$0.tag] + $0.payload + [$1.tag] + $1.payload }
        }
    }

    var tag: UInt8 {
        switch self {
        case .bool(let yes): UInt8(yes ? MSG_VALUE_TRUE : MSG_VALUE_FALSE)
        case .null: UInt8(MSG_VALUE_NULL)
        case .integer: UInt8(MSG_VALUE_INTEGER)
        case .float: UInt8(MSG_VALUE_FLOAT)
        case .bytes: UInt8(MSG_VALUE_STRING)
        case .table: UInt8(MSG_VALUE_TABLE)
        case .object: UInt8(MSG_VALUE_OBJECT)
        }
    }

    /// Calls `body` with the message of this value (`kind` for another kind: the tags of values are those of messages).
    func withMessage<R>(kind: UInt8? = nil, _ body: (UnsafePointer<msg_header>) -> R) -> R {
        let payload = payload
        let size = Int(msg_padded(UInt32(MSG_HEADER_SIZE + payload.count)))
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
        defer { memory.deallocate() }
        let header = memory.bindMemory(to: msg_header.self, capacity: 1)
        header.pointee = msg_header(size: UInt32(size), kind: kind ?? tag, flags: 0, shape: 0)
        (memory + MSG_HEADER_SIZE).copyMemory(from: payload, byteCount: payload.count)
        return body(header)
    }

    func text(line: Bool = false, kind: UInt8? = nil) -> String {
        withMessage(kind: kind) { message in
            var out = ByteWriter()
            out.append("kept ")
            do throws(MessageTextProblem) {
                if line {
                    try MessageText.appendLine(message, to: &out)
                } else {
                    try MessageText.appendJSON(message, to: &out)
                }
                return String(decoding: out.bytes.dropFirst(5), as: UTF8.self)
            } catch {
                #expect(out.count == 5, "a problem leaves the writer as it was")
                return error.description
            }
        }
    }

    func described(limit: Int, kind: UInt8? = nil) -> String {
        withMessage(kind: kind) { MessageText.describe($0, limit: limit) }
    }
}

@Suite struct MessageTextTests {
    @Test(
        arguments: [
            (.null, "null"), (.bool(true), "true"), (.bool(false), "false"), (0, "0"),
            (.integer(.min), "-9223372036854775808"),
            ("", "\"\""),
            ("é\u{0}\u{1F}\n\t\r\u{8}\u{C}\"\\/\u{7F}", "\"é\\u0000\\u001f\\n\\t\\r\\b\\f\\\"\\\\/\u{7F}\""),
            (.fields(), "{}"), (.table(isArray: true, [], []), "[]"),
            (.array(1, .array(2.5), .fields()), "[1,[2.5],{}]"),
            (
                .fields(("b", 1), ("a", .fields(("c", .null))), ("B", 2), ("", 3), ("ab", 4)),
                "{\"\":3,\"B\":2,\"a\":{\"c\":null},\"ab\":4,\"b\":1}"
            ),
            (.table(isArray: false, [7, 8], [("x", 9)]), "{\"1\":7,\"2\":8,\"x\":9}"),
            (.fields((10, 1), (1.5, 2), ("1", 3), (1, 4), (-1, 5)), "{\"-1\":5,\"1\":4,\"1\":3,\"1.5\":2,\"10\":1}"),
        ] as [(Value, String)])
    func appendJSON_writesSortedTextOfTheValue(value: Value, text: String) {
        #expect(value.text() == text)
    }

    @Test(
        arguments: [
            (3, "3.0"), (0, "0.0"), (-0.0, "-0.0"), (0.1, "0.1"), (-0.25, "-0.25"), (123456.789, "123456.789"),
            (1e14, "100000000000000.0"),
            (1e15, "1e+15"), (1e100, "1e+100"), (5e-324, "5e-324"), (0.1 + 0.2, "0.30000000000000004"), (1e-5, "1e-05"),
            (0.0001, "0.0001"), (1.0 / 3, "0.3333333333333333"), (999999999999999, "999999999999999.0"),
            (0.0015, "0.0015"),
            (1.7976931348623157e308, "1.7976931348623157e+308"), (9007199254740992, "9007199254740992.0"),
        ] as [(Double, String)])
    func appendJSON_writesFloatsAsShortestTextThatStaysAFloat(number: Double, text: String) {
        #expect(Value.float(number).text() == text)
        #expect(Double(text) == number)
    }

    @Test(
        arguments: [
            (.float(.nan), "cannot write value as JSON: nan"),
            (.fields(("a", .fields(("b", .float(.infinity))))), "cannot write value.a.b as JSON: inf"),
            (.array(1, .array(.float(-.infinity))), "cannot write value[2][1] as JSON: -inf"),
            (.fields(("odd key", .object)), "cannot write value[\"odd key\"] as JSON: a host object"),
            (.fields(("a", .fields((.bool(true), 1)))), "cannot write value.a as JSON: a boolean key"),
            (.fields(("a", .bytes([0x61, 0x62, 0xFF]))), "cannot write value.a as JSON: invalid UTF-8 at byte 3"),
            (
                .fields((.bytes([0x61, 0xFF]), 1)),
                "cannot write value[\"a\\xff\"] as JSON: its key has invalid UTF-8 at byte 2"
            ),
            (.table(isArray: true, [1], [("x", 1)]), "cannot write value as JSON: an array with holes or other keys"),
        ] as [(Value, String)])
    func appendJSON_whenValueHasNoJSON_namesItsPath(value: Value, problem: String) {
        #expect(value.text() == problem)
    }

    @Test func appendJSON_whenNestedDeeperThan200_shortensThePath() {
        var value = Value.fields()
        for _ in 0..<200 { value = .fields(("a", value)) }
        #expect(value.text() == "cannot write value.a.a.a.a.a.a.a.a....a.a.a as JSON: nested deeper than 200")
    }

    @Test func appendJSON_whenMessageIsJSON_forwardsItsBytes() {
        let text = "{\"b\": 1.50, \"a\":[ ]}"
        #expect(Value(stringLiteral: text).text(kind: UInt8(MSG_JSON)) == text)
        #expect(Value(stringLiteral: text).text(line: true, kind: UInt8(MSG_JSON)) == text)
    }

    @Test(
        arguments: [
            ("a \"b\"", "a \"b\""), (1, "1"), (1.0, "1.0"), (0.1, "0.1"), (1e14, "1e+14"),
            (.float(1.0 / 3), "0.33333333333333"),
            (1e100, "1e+100"), (-0.0, "-0.0"), (.float(.infinity), "inf"), (.float(-.infinity), "-inf"),
            (.float(.nan), "nan"),
            (.float(-.nan), "-nan"), (.float(99999999999999.9), "1e+14"), (.null, "null"), (.bool(true), "true"),
            (.fields(("a", 1)), "{\"a\":1}"), (.object, "cannot write value as a line: a host object"),
        ] as [(Value, String)])
    func appendLine_writesStringsAsTheyAreAndNumbersAsLua(value: Value, text: String) {
        #expect(value.text(line: true) == text)
    }

    @Test func describe_writesWhatJSONCannot() {
        let value = Value.fields(("a", .bytes([0x41, 0xFF])), (.bool(true), .array(.float(.nan), .object)))
        #expect(value.described(limit: 100) == "{\"a\":\"A\\xff\",\"true\":[nan,<host object>]}")
    }

    @Test func describe_cutsAtTheLimitAndNotInsideACharacter() {
        #expect(Value("abcdefghij").described(limit: 12) == "\"abcdefghij\"")
        #expect(Value("abcdefghij").described(limit: 8) == "\"abcd...")
        #expect(Value("aééééééé").described(limit: 8) == "\"aé...")
        #expect(
            Value.table(isArray: true, Array(repeating: 1, count: 100_000), []).described(limit: 10) == "[1,1,1,...")
        #expect(Value("[1, 2, 3, 4]").described(limit: 6, kind: UInt8(MSG_JSON)) == "[1,...")
    }
}

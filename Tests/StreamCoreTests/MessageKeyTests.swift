// Fields of messages found without Lua, and the equality of keys.
import CMessage
import Testing

private func field(_ name: String, in text: String) -> (status: Int32, value: String?) {
    var text = text, name = name
    return text.withUTF8 { text in
        name.withUTF8 { name in
            var span = msg_span()
            let status = text.withMemoryRebound(to: CChar.self) { text in
                name.withMemoryRebound(to: CChar.self) { name in
                    msg_json_field(text.baseAddress, text.count, name.baseAddress, name.count, &span)
                }
            }
            guard status == Int32(MSG_FIELD_FOUND) else { return (status, nil) }
            let bytes = UnsafeRawBufferPointer(start: span.start, count: span.length)
            return (status, String(decoding: bytes, as: UTF8.self))
        }
    }
}

private func key(_ text: String) -> msg_key {
    var text = text
    return text.withUTF8 { $0.withMemoryRebound(to: CChar.self) { msg_key_of_json($0.baseAddress, $0.count) } }
}

private func hash(_ text: String) -> UInt64? {
    let found = key(text)
    return found.kind == Int32(MSG_KEY_HASHED.rawValue) ? found.hash : nil
}

private func stringHash(_ bytes: [UInt8]) -> UInt64 {
    bytes.withUnsafeBytes { msg_hash_string($0.baseAddress, $0.count) }
}

@Suite struct JSONFieldTests {
    /// Text, name, the value's text; nil: there is no such field.
    static let cases: [(String, String, String?)] = [
        (#"{"a":1}"#, "a", "1"),
        (#"{"a":1}"#, "b", nil),
        (#"{}"#, "a", nil),
        (#" { "a" : 1 , "b" : "x" } "#, "b", #""x""#),
        ("\t{\r\n\"a\"\t:\n-1.5e3\r}\n", "a", "-1.5e3"),
        (#"{"a":1,"a":2}"#, "a", "2"),
        (#"{"a":1,"b":0,"a":null}"#, "a", "null"),
        (#"{"b":{"a":1},"c":[{"a":2}]}"#, "a", nil),
        (#"{"a":3,"b":{"a":1}}"#, "a", "3"),
        (#"{"a":{"x":[1,{"y":"}]"}]},"b":2}"#, "a", #"{"x":[1,{"y":"}]"}]}"#),
        (#"{"a":{"x":[1,{"y":"}]"}]},"b":2}"#, "b", "2"),
        (#"{"a":"\\","b":"\"","c":true}"#, "b", #""\"""#),
        (#"{"a":"\\\\\"","b":"\\","c":true}"#, "c", "true"),
        (#"{"":5}"#, "", "5"),
        (#"{"a":5}"#, "", nil),
        (#"{"a":1}"#, "aa", nil),
        (#"{"aa":1}"#, "a", nil),
        (#"{"\u0061":1}"#, "a", "1"),
        (#"{"\u00e4\u20AC\ud83d\ude00":1}"#, "ä€😀", "1"),
        (#"{"\"\\\/\b\f\n\r\t":1}"#, "\"\\/\u{8}\u{C}\n\r\t", "1"),
        (#"{"a\n":1}"#, "an", nil),
        (#"{"a":1,"\u0061":2}"#, "a", "2"),
        (#"{"u":1}"#, "u", "1"),
        (#"{"a":"b","b":"a"}"#, "b", #""a""#),
    ]

    @Test(arguments: cases.indices) func findsTheLastTopLevelField(_ index: Int) {
        let (text, name, value) = Self.cases[index]
        let found = field(name, in: text)
        #expect(found.value == value, "\(text) \(name)")
        #expect(found.status == Int32(value == nil ? MSG_FIELD_MISSING : MSG_FIELD_FOUND), "\(text) \(name)")
    }

    @Test(arguments: ["1", #""a""#, "[{\"a\":1}]", "null", " true", ""]) func whatIsNoObjectHasNoFields(_ text: String)
    {
        #expect(field("a", in: text).status == Int32(MSG_FIELD_NO_OBJECT))
    }

    @Test func manyFieldsAndDeepValues_areSkipped() {
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        let text = "{" + (0..<10_000).map { #""f\#($0)":\#(deep)"# }.joined(separator: ",") + #","user":"last"}"#
        #expect(field("user", in: text).value == #""last""#)
        #expect(field("f9999", in: text).value == deep)
        #expect(field("f10000", in: text).value == nil)
    }
}

@Suite struct KeyHashTests {
    /// Each row: spellings of one key.
    static let equal: [[String]] = [
        ["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000"],
        ["0", "-0", "0.0", "-0.0", "0e9"],
        ["-17", "-17.0", "-1.7e1"],
        ["9007199254740993", "9007199254740993"],
        ["9223372036854775808", "9223372036854775808.0", "9.223372036854775808e18"],
        ["-9223372036854775808", "-9223372036854775808.0"],
        ["1.5", "15e-1", "1.50"],
        ["1e400", "1e500"],
        [#""a""#, #""\u0061""#],
        [#""ä/""#, #""\u00e4\/""#, #""\u00E4/""#],
        [#""😀""#, #""\ud83d\ude00""#],
        [#""1""#], [#""true""#], ["true"], ["false"], [#""""#], ["2"], ["9007199254740992"], ["-1e400"],
    ]

    @Test func equalKeysHaveOneHash_othersDiffer() {
        var seen: [UInt64: String] = [:]
        for row in Self.equal {
            let hashes = Set(row.map { hash($0) })
            #expect(hashes.count == 1, "\(row)")
            guard let one = row.first.flatMap(hash) else {
                Issue.record("\(row) is a key")
                continue
            }
            #expect(seen.updateValue(row[0], forKey: one) == nil, "\(row)")
        }
    }

    @Test func jsonAndLuaAgree() {
        #expect(hash("1") == msg_hash_integer(1))
        #expect(msg_hash_float(1) == msg_hash_integer(1))
        #expect(msg_hash_float(-0.0) == msg_hash_integer(0))
        #expect(msg_hash_float(-0x1p63) == msg_hash_integer(.min))
        #expect(msg_hash_float(0x1p63) != msg_hash_integer(.max))
        #expect(hash("2.5e-1") == msg_hash_float(0.25))
        #expect(hash("1e400") == msg_hash_float(.infinity))
        #expect(hash("true") == msg_hash_boolean(true))
        #expect(hash(#""a\u0000b""#) == stringHash([0x61, 0, 0x62]))
        #expect(hash("1" + String(repeating: "0", count: 300)) == msg_hash_float(1e300))
    }

    @Test func whatIsNoKey_saysWhy() {
        #expect(key("null").kind == Int32(MSG_KEY_NULL.rawValue))
        #expect(key("[1]").kind == Int32(MSG_KEY_TABLE.rawValue))
        #expect(key("{}").kind == Int32(MSG_KEY_TABLE.rawValue))
    }

    @Test func hashesSpreadOverFewLanes() {
        for lanes: UInt64 in [2, 3, 5, 8] {
            var counts = [Int](repeating: 0, count: Int(lanes))
            for value: Int64 in 0..<8_000 { counts[Int(msg_hash_integer(value) % lanes)] += 1 }
            // 8000 draws: six standard deviations around the mean
            let mean = 8_000.0 / Double(lanes)
            let spread = 6 * (mean * (1 - 1 / Double(lanes))).squareRoot()
            for count in counts { #expect(abs(Double(count) - mean) < spread, "\(counts)") }
        }
    }
}

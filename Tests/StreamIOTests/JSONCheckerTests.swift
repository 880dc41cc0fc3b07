import Testing

@testable import StreamIO

private func check(_ bytes: [UInt8]) -> String? {
    bytes.withUnsafeBytes { JSONChecker().check($0)?.description }
}

private func check(_ text: String) -> String? { check(Array(text.utf8)) }

@Suite struct JSONCheckerTests {
    @Test(arguments: [
        "null", " true ", "false\r\n\t", "\"\"", "0", "-0", "-0.0", "1E+2", "1e-999", "5e-324",
        "123456789012345678901234",
        "1.7976931348623157e308", "1.7976931348623158e308", "0e99999999999999999999", "0.000001e313", "[]", "{}",
        "[[],{}]",
        "[ 1 , 2 ]", "{\"a\":1,\"a\":{\"b\":[null]}}", "{\"\":0}", "[{},[{}]]", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "\"\\ud83d\\uDE00\"", "\"\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}\"",
        "\"abcdefghijklmnopqrstuvw\"",
    ])
    func check_whenTextIsJSON_returnsNil(text: String) {
        #expect(check(text) == nil)
    }

    @Test(arguments: [
        ("", "byte 1: expected a value"), ("  ", "byte 3: expected a value"), ("nul", "byte 1: expected a value"),
        ("True", "byte 1: expected a value"), ("\u{FEFF}{}", "byte 1: expected a value"),
        ("NaN", "byte 1: expected a value"),
        ("[", "byte 2: expected a value or ']'"), ("[,", "byte 2: expected a value or ']'"),
        ("[1,]", "byte 4: expected a value"), ("[1", "byte 3: expected ',' or ']'"),
        ("[1}", "byte 3: expected ',' or ']'"),
        ("{", "byte 2: expected a key or '}'"), ("{a:1}", "byte 2: expected a key or '}'"),
        ("{\"a\" 1}", "byte 6: expected ':'"), ("{\"a\":}", "byte 6: expected a value"),
        ("{\"a\":1,}", "byte 8: expected a key"), ("{\"a\":1]", "byte 7: expected ',' or '}'"),
        ("[{}", "byte 4: expected ',' or ']'"), ("1 1", "byte 3: expected the end of the text"),
        ("{}}", "byte 3: expected the end of the text"), ("1\0", "byte 2: expected the end of the text"),
        ("01", "byte 2: expected the end of the text"), ("-", "byte 2: expected a digit"),
        ("1.", "byte 3: expected a digit"), ("1.e1", "byte 3: expected a digit"), ("1e+", "byte 4: expected a digit"),
        (".5", "byte 1: expected a value"), ("+1", "byte 1: expected a value"),
        ("-Infinity", "byte 2: expected a digit"),
        ("[1e999]", "byte 2: number out of range"), ("-1e309", "byte 1: number out of range"),
        ("1.7976931348623159e308", "byte 1: number out of range"),
        ("\"a\0b\"", "byte 3: expected an escape in place of a control character"),
        ("\"a\nb\"", "byte 3: expected an escape in place of a control character"),
        ("\"abc", "byte 5: expected '\"' at the end of the string"),
        ("\"a\\", "byte 4: expected one of \"\\/bfnrtu after \\"),
        ("\"\\x41\"", "byte 3: expected one of \"\\/bfnrtu after \\"),
        ("\"\\u12", "byte 6: expected a hex digit"), ("\"\\u12g4\"", "byte 6: expected a hex digit"),
        ("\"\\ud800\"", "byte 2: expected a surrogate pair"), ("\"\\udc00\"", "byte 2: expected a surrogate pair"),
        ("\"x\\ud800\\u0041\"", "byte 3: expected a surrogate pair"),
        ("\"\\ud800\\udc0", "byte 13: expected a hex digit"),
    ])
    func check_whenTextIsNotJSON_namesWhereAndWhatWasExpected(text: String, problem: String) {
        #expect(check(text) == problem)
    }

    @Test(
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x9F, 0xBF], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF],
            [0xE2, 0x82],
            [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xC3, 0x28],
            [0xF0, 0x9F, 0x98, 0x28],
        ] as [[UInt8]])
    func check_whenUTF8IsInvalid_namesItsFirstByte(bytes: [UInt8]) {
        let text = Array("\"abcdefghijk".utf8) + bytes + Array("\"".utf8)
        #expect(check(text) == "byte 13: expected valid UTF-8")
        #expect(check(Array(text.dropLast())) == "byte 13: expected valid UTF-8")
    }

    @Test func check_whenNestedDeeperThan200_refuses() {
        func nested(_ open: String, _ close: String, _ depth: Int) -> String {
            String(repeating: open, count: depth) + "0" + String(repeating: close, count: depth)
        }
        #expect(check(nested("[", "]", 200)) == nil)
        #expect(check(nested("{\"a\":", "}", 200)) == nil)
        #expect(check(nested("[{\"a\":", "}]", 100)) == nil)
        #expect(check(nested("[", "]", 201)) == "byte 201: nested deeper than 200")
        #expect(check(String(repeating: "{\"a\":", count: 100_000)) == "byte 1001: nested deeper than 200")
        #expect(check(nested("[{\"a\":", "]}", 2)) == "byte 14: expected ',' or '}'")
    }

    @Test func check_whenDocumentIsTruncated_refusesEveryPrefix() {
        let text = Array("{\"a\\u00e9\\ud83d\\ude00\":[1,-2.5e+3,true,null,\"é😀\"],\"b\":{\"c\":[],\"d\":{}}}".utf8)
        #expect(check(text) == nil)
        for length in 0..<text.count { #expect(check(Array(text[..<length])) != nil) }
    }

    @Test func check_whenNumberIsLong_decidesRangeExactly() {
        // The first decimal integer that rounds to infinity, and the one before.
        let limit = """
            179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330\
            286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069\
            85557136695962284291481986083493647529271907416844436551070434271155969950809304288017790417449779
            """
        #expect(check(limit + "2") == "byte 1: number out of range")
        #expect(check("-" + limit + "1") == nil)
        #expect(check(limit + "1.999") == nil)
        #expect(check(limit + "20000e-4") == "byte 1: number out of range")
        #expect(check("0." + limit + "2e309") == "byte 1: number out of range")
        #expect(check("0." + limit + "1e309") == nil)
        #expect(check(limit + "e1") == nil)
    }
}

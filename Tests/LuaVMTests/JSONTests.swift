// JSON to Lua values and back, as the shim does it.
import Testing

@testable import LuaVM

@Suite struct JSONTests {
    private func quoted(_ text: String) -> String {
        "\"" + text.utf8.map { "\\" + String(repeating: "0", count: 3 - String($0).count) + String($0) }.joined() + "\""
    }

    @Test(arguments: [
        ("null", "null"), (" true ", "true"), ("false\r\n\t", "false"), ("\"\"", "\"\""), ("[]", "[]"), ("{}", "{}"),
        (" [ 1 , 2 ] ", "[1,2]"), ("[{}]", "[{}]"), ("[null,null]", "[null,null]"), ("{\"a\":1,\"a\":2}", "{\"a\":2}"),
        ("{\"b\":1,\"a\":{\"c\":[]}}", "{\"a\":{\"c\":[]},\"b\":1}"), ("{\"a\":1,\"a\":null}", "{\"a\":null}"),
        ("0", "0"), ("-0", "-0.0"), ("-0.0", "-0.0"), ("0e5", "0.0"), ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"), ("9223372036854775808", "9.223372036854776e+18"),
        ("1e2", "100.0"), ("1.5e-3", "0.0015"), ("5e-324", "5e-324"), ("1e-999", "0.0"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"), ("0.30000000000000004", "0.30000000000000004"),
        ("1e15", "1e+15"), ("0.00001", "1e-05"), ("9007199254740993.0", "9007199254740992.0"),
        ("\"\\u0041\\n\\/\\\\\\\"\\b\\f\\r\\t\"", "\"A\\n/\\\\\\\"\\b\\f\\r\\t\""),
        ("\"\\u0000\\u001f\"", "\"\\u0000\\u001f\""),
        ("\"\\ud83d\\uDE00\\u00e9\\u20ac\"", "\"\u{1F600}\u{e9}\u{20ac}\""),
    ]) func roundTrip(_ text: String, _ written: String) {
        let state = TestState()
        #expect(state.run("print((to_json((json(\(quoted(text))))))) ") == .returned)
        #expect(state.lines == [written])
    }

    @Test(arguments: [
        ("", "byte 1: expected a value"), ("nul", "byte 1: expected a value"), ("[", "byte 2: expected a value or ']'"),
        ("[1,]", "byte 4: expected a value"), ("[1 2]", "byte 4: expected ',' or ']'"),
        ("{a:1}", "byte 2: expected a key or '}'"), ("{\"a\" 1}", "byte 6: expected ':'"),
        ("{\"a\":1,}", "byte 8: expected a key"), ("{\"a\":1]", "byte 7: expected ',' or '}'"),
        ("01", "byte 2: expected the end of the text"), ("-", "byte 2: expected a digit"),
        ("1.", "byte 3: expected a digit"),
        ("1e+", "byte 4: expected a digit"), ("NaN", "byte 1: expected a value"),
        ("[1e999]", "byte 2: number out of range"),
        ("1 1", "byte 3: expected the end of the text"), ("1\0", "byte 2: expected the end of the text"),
        ("\"a\nb\"", "byte 3: expected an escape in place of a control character"),
        ("\"abc", "byte 5: expected '\"' at the end of the string"),
        ("\"\\x41\"", "byte 3: expected one of \"\\/bfnrtu after \\"), ("\"\\u12g4\"", "byte 6: expected a hex digit"),
        ("\"\\ud800\"", "byte 2: expected a surrogate pair"), ("\"\\udc00\"", "byte 2: expected a surrogate pair"),
        (String(repeating: "[", count: 201), "byte 201: nested deeper than 200"),
    ]) func refused(_ text: String, _ problem: String) {
        let state = TestState()
        #expect(state.run("print(select(2, json(\(quoted(text)))))") == .returned)
        #expect(state.lines == [problem])
    }

    @Test(arguments: [
        "\\128", "\\192\\128", "\\195", "\\237\\160\\128", "\\244\\144\\128\\128", "\\255", "\\226\\130(",
    ])
    func badUTF8(_ bytes: String) {
        let state = TestState()
        #expect(state.run("print(select(2, json('\"abcdefghijk\(bytes)\"')))") == .returned)
        #expect(state.lines == ["byte 13: expected valid UTF-8"])
    }

    @Test(arguments: [
        ("{}", "{}"), ("array({})", "[]"), ("{ 1, 2, x = 3 }", "{\"1\":1,\"2\":2,\"x\":3}"),
        ("{ [2] = 1 }", "{\"2\":1}"),
        ("{ null, true, -0.0, 1e300, math.mininteger, 100.0 }", "[null,true,-0.0,1e+300,-9223372036854775808,100.0]"),
        ("{ b = 1, a = 2, B = 3, [''] = 5, ab = 4 }", "{\"\":5,\"B\":3,\"a\":2,\"ab\":4,\"b\":1}"),
        ("setmetatable({ a = 1 }, { __index = error, __pairs = error, __len = error })", "{\"a\":1}"),
        ("array({ 1, nil, 3 })", "!cannot write value as JSON: an array with holes or other keys"),
        ("0/0", "!cannot write value as JSON: nan"), ("{ a = { b = 1/0 } }", "!cannot write value.a.b as JSON: inf"),
        ("{ a = { ['odd key'] = print } }", "!cannot write value.a[\"odd key\"] as JSON: a function"),
        ("{ [true] = 1 }", "!cannot write value as JSON: a boolean key"),
        ("{ [print] = 1 }", "!cannot write value as JSON: a key that is no string or number"),
        ("(function() local t = {} t.a = { b = t } return t end)()", "!cannot write value.a.b as JSON: a cycle"),
        ("{ a = 'ab\\255' }", "!cannot write value.a as JSON: invalid UTF-8 at byte 3"),
    ]) func encoding(_ value: String, _ written: String) {
        let state = TestState()
        #expect(state.run("local text, problem = to_json(\(value)) print(text or '!' .. problem)") == .returned)
        #expect(state.lines == [written])
    }
}

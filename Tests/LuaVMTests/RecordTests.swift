// Records: to a script they are tables, whatever it does to them; what it leaves alone stays as it was written.
import CLuaShim
import CMessage
import Glibc
import Testing

@testable import LuaVM

/// Calls `body` with the text as a message; `indexed`: with the places of its fields.
private func withMessage<R>(_ text: UnsafeRawBufferPointer, indexed: Bool, _ body: (UnsafePointer<msg_header>) -> R)
    -> R
{
    var checker = msg_json_checker(), problem = msg_json_problem()
    let start = text.baseAddress!.assumingMemoryBound(to: CChar.self)
    precondition(msg_json_check(&checker, start, text.count, &problem), "\(problem.position)")
    let fields = indexed ? checker.shape.map { Int($0.pointee.count) } : nil
    let index = (Int(MSG_TEXT_OFFSET) + text.count + 3) & ~3
    let size = Int(msg_padded(UInt32(fields.map { index + 4 * $0 } ?? Int(MSG_TEXT_OFFSET) + text.count)))
    let place = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
    defer { place.deallocate() }
    memset(place, 0, size)
    place.storeBytes(
        of: msg_header(
            size: UInt32(size), kind: UInt8(MSG_JSON), flags: fields == nil ? 0 : UInt8(MSG_INDEXED),
            shape: fields == nil ? 0 : checker.shape.pointee.number), as: msg_header.self)
    place.storeBytes(of: UInt32(text.count), toByteOffset: 8, as: UInt32.self)
    memcpy(place + Int(MSG_TEXT_OFFSET), start, text.count)
    if let fields { withUnsafeBytes(of: &checker.offsets) { _ = memcpy(place + index, $0.baseAddress!, 4 * fields) } }
    return body(UnsafePointer(place.assumingMemoryBound(to: msg_header.self)))
}

private let recordFunctions: [(String, LuaFunction)] = [
    (
        "record",  // record(text, indexed)
        { state, _ in
            let stack = LuaStack(state)
            return withMessage(stack.bytes(1)!, indexed: stack.boolean(2)) { stack.decode($0) ? 1 : LuaResult.raise }
        }
    ),
    (
        "sent",  // sent(value): the text of its message, or the message's kind
        { state, vm in
            let stack = LuaStack(state)
            switch stack.encode(1, in: vm!) {
            case .failure(let problem): stack.push(problem.description)
            case .success(let message):
                if Int(message.pointee.kind) == MSG_JSON {
                    stack.push(UnsafeRawBufferPointer(start: msg_text(message), count: Int(msg_text_length(message))))
                } else {
                    stack.push(Int64(message.pointee.kind))
                }
            }
            return 1
        }
    ),
    (
        "decoded",  // decoded(): fields decoded since the beginning
        { state, vm in
            LuaStack(state).push(Int64(shim_vm_decoded_fields(vm)))
            return 1
        }
    ),
]

extension TestState {
    fileprivate func addRecords() {
        for (name, function) in recordFunctions {
            vm.pushGlobals()
            vm.main.push(function)
            vm.main.setField(-2, name)
            vm.main.pop()
        }
    }

    /// Runs `program` with `text` as the global of that name.
    func run(_ program: String, text: String) -> End {
        addRecords()
        vm.pushGlobals()
        vm.main.push(text)
        vm.main.setField(-2, "text")
        vm.main.pop()
        return run(program)
    }
}

/// same(a, b): equal in every part, to the type.
let sameRecords = """
    local function same(a, b)
      if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
      for k, v in pairs(a) do if not same(v, b[k]) then return false end end
      for k in pairs(b) do if a[k] == nil then return false end end
      return true
    end

    """

private let event = #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#

/// What a script does to `e`, and the text that leaves.
private let changes: [(String, String)] = [
    (
        #""#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"assert(e.a == 1 and e.b == 2.5 and e.c == 'xAy' and e.i == true and e.z == nil)"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"assert(#e.d == 3 and e.d[3].e == 100 and e.f.h == 0)"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"for k, v in pairs(e) do assert(v ~= nil) end"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.a = e.a"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.c = 'xAy'"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"local n = e.a; e.a = 7; e.a = n"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.z = 1; e.z = nil"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.f.g = nil; e.f.g = null"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"rawset(e, 'b', 2.5)"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.a = e.a + 1"#,
        #"{"a": 2, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.a = 1.0"#,
        #"{"a": 1.0, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.f.h = 0.0"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":0.0},"i":true}"#
    ),
    (
        #"e.a = nil"#,
        #"{"b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.i = nil"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0}}"#
    ),
    (
        #"e.b = nil"#,
        #"{"a": 1,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.z, e.y = {}, 'q'; e.k = { 1, 2 }"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true,"k":[1,2],"y":"q","z":{}}"#
    ),
    (
        #"e.b, e.new = 3, 4"#,
        #"{"a": 1, "b":3,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true,"new":4}"#
    ),
    (
        #"e.f.h = 5; e.f.a = 6"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":5,"a":6},"i":true}"#
    ),
    (
        #"e.d[3].e = 101; e.d[4] = 'n'"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":101},"n"],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.d[3] = nil"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.d = array({})"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"e.d[1] = nil; e.d[2] = nil; e.d[3] = nil"#,
        #"{"a": 1, "b":2.50,"c":"x\u0041y" , "d":[],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"next(e); e.a = false"#,
        #"{"a": false, "b":2.50,"c":"x\u0041y" , "d":[1, 2.0, {"e":1e2}],"f":{"g":null, "h":-0},"i":true}"#
    ),
    (
        #"for k in pairs(e) do e[k] = nil end"#,
        #"{}"#
    ),
    (
        #"for k in pairs(e) do e[k] = nil end e.q = 1"#,
        #"{"q":1}"#
    ),
]

@Suite struct RecordTests {
    @Test(arguments: changes)
    func whatIsLeftAlone_staysAsItWasWritten(_ change: String, _ expected: String) {
        for indexed in ["true", "false"] {
            let state = TestState()
            let end = state.run(
                "local e = record(text, \(indexed)) \(change) print(sent(e)) print(to_json(e))", text: event)
            #expect(end == .returned)
            #expect(state.lines == [expected, expected], "indexed: \(indexed)")
        }
    }

    @Test(arguments: [
        // (text, what is done, what leaves)
        (#"{"a":1,"b":2,"a":3}"#, "assert(e.a == 3)", #"{"a":1,"b":2,"a":3}"#),
        (#"{"a":1,"b":2,"a":3}"#, "e.b = 4", #"{"b":4,"a":3}"#), (#"{"a":1,"a":3}"#, "e.z = 1", #"{"a":3,"z":1}"#),
        (#"{"a":{"x":1,"x":2}}"#, "e.a.y = 3", #"{"a":{"x":2,"y":3}}"#), ("{ }", "e.a = 1", #"{"a":1}"#),
        ("[1,2.0]", "assert(e[2] == 2 and #e == 2)", "[1,2.0]"),
        ("[1,2.0]", "e[3] = 3", "[1,2.0,3]"), ("[1,2.0]", "table.remove(e)", "[1]"), ("[]", "e[1] = 1", "[1]"),
        ("[1]", "e[1] = nil", "[]"),
        (#"{"n":12345678901234567890,"m":1E-400}"#, "e.n = e.n", #"{"n":12345678901234567890,"m":1E-400}"#),
        (#"{"":1,"\u0061\n":2}"#, "assert(e[''] == 1 and e['a\\n'] == 2); e['a\\n'] = 3", #"{"":1,"\u0061\n":3}"#),
        (#"{"a":"\ud83d\ude00é"}"#, "assert(#e.a == 6); e.b = e.a", #"{"a":"\ud83d\ude00é","b":"😀é"}"#),
    ])
    func oddTexts_areTablesToo(_ text: String, _ change: String, _ expected: String) {
        for indexed in ["true", "false"] {
            let state = TestState()
            #expect(state.run("local e = record(text, \(indexed)) \(change) print(sent(e))", text: text) == .returned)
            #expect(state.lines == [expected], "indexed: \(indexed)")
        }
    }

    /// A value that JSON has not travels as a table does; one that is no value is refused with its path.
    @Test func valuesWithoutAText_travelAsATable() {
        let state = TestState()
        let program =
            sameRecords + """
                local e = record(text, true)
                e.a = 1/0
                local f = copy(e)
                assert(same(e, f) and f.a == 1/0 and f.f.h == 0)
                e.a = nil
                e[1] = 'one'
                assert(same(e, copy(e)) and to_json(e):sub(-10) == '"1":"one"}')
                e.a = print
                print(sent(e))
                e.a = e
                print(sent(e))
                print((select(2, to_json(e))))
                """
        #expect(state.run(program, text: event) == .returned)
        #expect(
            state.lines == [
                "cannot send value.a: a function stays in the worker that made it", "cannot send value.a: a cycle",
                "cannot write value as JSON: a cycle",
            ])
    }

    /// What a record's text has inside counts for the limit of depth, as a table's fields do.
    @Test func recordsInsideEachOther_areNoDeeperThan200() {
        let program = #"""
            local function nested(levels)
              local r = record('{"a":1,"b":2}', levels % 2 == 0)
              for _ = 2, levels do
                local outer = record('{"a":1,"b":2}', levels % 2 == 0)
                outer.prev, r = r, outer
              end
              return r
            end
            local function depth(r) return r.prev and 1 + depth(r.prev) or 1 end
            assert(depth(copy(nested(150))) == 150 and depth(copy(nested(200))) == 200)
            assert(to_json(nested(150)) and sent(nested(150)):sub(1, 1) == '{')
            for _, levels in ipairs { 201, 300 } do
              assert(sent(nested(levels)):find('nested deeper than 200', 1, true), levels)
              assert(to_json(nested(levels)) == nil, levels)
            end
            local deep = '{"[":"[{","a":' .. ('['):rep(199) .. (']'):rep(199) .. '}'
            local r, outer = record(deep, true), record('{"a":1}', true)
            assert(sent(r) == deep and to_json(r) == deep)
            outer.a = r
            for _, v in ipairs { outer, { r }, { a = r } } do
              assert(sent(v):find('nested deeper than 200', 1, true) and sent(v):find('^cannot send value[.%[]'), sent(v))
              assert(select(2, to_json(v)):find('nested deeper than 200', 1, true))
            end
            r.a = nil
            assert(to_json(outer) == '{"a":{"[":"[{"}}')
            """#
        #expect(TestState().run(program, text: "") == .returned)
    }

    @Test func oneRead_decodesOneField() {
        let state = TestState()
        let program = """
            for _, indexed in ipairs { true, false } do
              local before = decoded()
              local e = record(text, indexed)
              assert(decoded() - before == 0)
              local _ = e.i
              assert(decoded() - before == 1)
              _ = e.i, e.none
              assert(decoded() - before == 2)
              local copy = copy(e)
              assert(decoded() - before == 2 and sent(e) == text)
              e.new = 1
              assert(decoded() - before == 2)
              for _ in pairs(copy) do end
              assert(decoded() - before == 8)
            end
            """
        #expect(state.run(program, text: event) == .returned)
    }

    @Test func aNestedTable_isTheSameEachTime() {
        let program = "local e = record(text, true) assert(e.d == e.d and rawequal(e.d, rawget(e, 'd')))"
        #expect(TestState().run(program, text: event) == .returned)
    }

    @Test func aRecord_lastsAsLongAsItIsHeld() {
        let program = """
            local kept = {}
            for i = 1, 2000 do
              local e = record('{"id":' .. i .. ',"a":"' .. ('x'):rep(i % 50) .. '","b":[' .. i .. '],"c":4}', i % 2 == 0)
              if i % 7 == 0 then kept[#kept + 1] = e end
              if i % 100 == 0 then collectgarbage() end
            end
            for i, e in ipairs(kept) do assert(e.id == 7 * i and e.b[1] == 7 * i and #e.a == 7 * i % 50 and e.c == 4) end
            """
        #expect(TestState().run(program, text: "") == .returned)
    }

    /// Tables that a script made and sent come back as records too.
    @Test func tablesThatWereSent_areTables() {
        let program =
            sameRecords + """
                local t = { a = 1, b = 'x', c = { d = 1.5 }, e = false, [2.5] = 'half', f = null, [true] = 'yes' }
                local r = copy(t)
                assert(r.a == 1 and r.b == 'x' and r.e == false and r.zz == nil and r[true] == 'yes' and r[2.5] == 'half')
                assert(same(t, r) and same(t, copy(r)))
                r.a, t.a = nil, nil
                r.b, t.b = 'y', 'y'
                r.new, t.new = 1, 1
                r.c.d, t.c.d = 2, 2
                assert(same(t, r) and same(t, copy(r)) and to_json(copy { a = 1, b = 2, c = 3, d = 4 }) == '{"a":1,"b":2,"c":3,"d":4}')
                """
        #expect(TestState().run(program, text: "") == .returned)
    }

    @Test func manyFields_areRead() {
        let text = "{" + (1...10_000).map { "\"k\($0)\":\($0)" }.joined(separator: ",") + "}"
        let program = """
            local e = record(text, true)
            assert(e.k1 == 1 and e.k10000 == 10000 and e.k10001 == nil)
            local n = 0
            for _ in pairs(e) do n = n + 1 end
            assert(n == 10000 and sent(e) == text)
            e.k5 = 6
            assert(sent(e) == text:gsub('"k5":5,', '"k5":6,'))
            """
        #expect(TestState().run(program, text: text) == .returned)
    }
}

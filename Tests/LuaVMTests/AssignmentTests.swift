// Which captured variables a function is found to assign.
import Testing

@testable import LuaVM

@Suite struct AssignmentTests {
    /// "line name" of each assignment of what `program` returns first, but for those of what it returns second.
    private func found(_ program: String) -> [String] {
        let state = TestState()
        let end = state.run("RESULT = table.pack((function()\n" + program + "\nend)())")
        guard end == .returned else { return ["\(end)"] }
        let stack = state.vm.main, top = stack.top
        state.vm.pushGlobals()
        stack.getField(top + 1, "RESULT")
        stack.getIndex(top + 2, 1)
        stack.getIndex(top + 2, 2)
        let before = stack.top
        let found = stack.assignments(by: [top + 3], except: [top + 4])
        #expect(stack.top == before)
        #expect(found.allSatisfy { $0.file == "t" })
        // The program's own lines begin at 1.
        return found.map { "\($0.line - 1) \($0.name)" }
    }

    @Test(arguments: [
        // itself, at the first line that assigns
        ("local n = 0\nreturn function(v)\n  v = v\n  n = n + v\n  n = 0\nend", ["4 n"]),
        ("local a, b = 1, 2\nreturn function() b = a end", ["2 b"]),
        ("local a, b\nreturn function() a, b = 1, 2 end", ["2 a", "2 b"]),
        ("local n\nreturn function(v) if v then n = v end return n end", ["2 n"]),
        ("local f\nreturn function()\n  function f() end\nend", ["3 f"]),
        ("for i = 1, 1 do\n  return function() i = i + 1 end\nend", ["2 i"]),
        // a parameter of the function around it is captured as well
        ("local function make(n)\n  return function() n = n + 1 return n end\nend\nreturn make(1)", ["2 n"]),
        // in nested functions, however deep
        (
            "local n, m = 0\nreturn function()\n  local own = 0\n  return function()\n    own = own + 1\n"
                + "    return function() n = own m = 1 end\n  end\nend", ["6 n", "6 m"]
        ),
        // in functions that captured variables hold, and in those that they hold; cycles end
        (
            "local total = 0\nlocal function bump() total = total + 1 end\nlocal function twice() bump() bump() end\n"
                + "return function() twice() end", ["2 total"]
        ),
        (
            "local odd, n\nlocal function even(v) n = v return v == 0 or odd(v - 1) end\n"
                + "function odd(v) return v ~= 0 and even(v - 1) end\nreturn even", ["2 n"]
        ),
        ("local me, n\nme = function() n = me end\nreturn me", ["2 n"]),
        // one variable by several functions: once
        (
            "local n = 0\nlocal function up() n = n + 1 end\nlocal function down() n = n - 1 end\n"
                + "return function() up() down() n = 0 end", ["4 n"]
        ),
        // lines far apart, where Lua keeps them in a table
        (
            "local n\nreturn function()\n" + String(repeating: "\n", count: 400) + "n = 1\n end", ["403 n"]
        ),
        (
            "local n\nreturn function(v)\n" + String(repeating: "v = v * 2 + 1\n", count: 500) + "n = v\n end",
            ["503 n"]
        ),
        // constants of all kinds in front of it
        (
            "local n\nlocal x = { 1.5, 7000000000, 'a', ('b'):rep(3), nil, true, false }\nreturn function()\n"
                + "  local t = { 1.5, 7000000000, 'short', '" + String(repeating: "long", count: 50)
                + "', [true] = false, [1e300] = nil }\n  n = t[1] == 2.5 and t or x\nend", ["5 n"]
        ),
    ]) func assignmentsToCapturedVariables(_ program: String, _ expected: [String]) {
        #expect(found(program) == expected)
    }

    @Test(arguments: [
        "return function(v)\n  local n = 0\n  n = n + v\n  return function() n = n + 1 v = n end\nend",
        "local t = { n = 0 }\nreturn function() t.n = t.n + 1 t[1] = t end",
        "local n = 1\nreturn function() return n end",
        "return function() global = 1 end",
        "return function() _ENV = {} x = 1 end",
        "local n\nlocal function unused() n = 1 end\nreturn function() end",
        // a function in a table may be anyone's
        "local n\nlocal m = { set = function() n = 1 end }\nreturn function() m.set() end",
        "local function fact(n) return n < 2 and 1 or n * fact(n - 1) end\nreturn fact",
        "return print",
        "return 1",
    ]) func whatIsNoSuchAssignment(_ program: String) { #expect(found(program) == []) }

    @Test func whatTheOwnerAssignsToo_isNotFound() {
        let program = """
            local state, other
            local function open() state = 1 end
            return function() state = state + 1 other = state end, function() open() end
            """
        #expect(found(program) == ["3 other"])
    }

    /// As a stage of the library is that calls one of several functions: `library(list)` returns such a function.
    @Test func functionsInTheLibrarysLists_areFollowed() {
        let state = TestState()
        let library = Array(
            """
            local calls = 0
            return function(list)
              return function(v) calls = calls + 1 for i = 1, #list do if list[i](v) then return i end end end
            end
            """.utf8)
        #expect(library.withUnsafeBytes { state.vm.load($0, name: "=[stream]") } == nil)
        let stack = state.vm.main
        #expect(stack.call(arguments: 0, results: 1) == nil)
        state.vm.pushGlobals()
        stack.pushCopy(-2)
        stack.setField(-2, "library")
        stack.setTop(0)
        let program = """
            local n, m = 0, 0
            local function bump() m = m + 1 end
            RESULT = library { print, function() n = n + 1 end, function() bump() end, 7, bump }
            """
        #expect(state.run(program) == .returned)
        state.vm.pushGlobals()
        stack.getField(-1, "RESULT")
        let found = stack.assignments(by: [stack.top], except: [])
        #expect(found.map { "\($0.line) \($0.name)" }.sorted() == ["2 m", "3 n"])
    }

    @Test func veryManyVariables_areCutOff() {
        let names = (1...150).map { "v\($0)" }.joined(separator: ", ")
        let found = found("local \(names)\nreturn function() \(names) = 1 end")
        #expect(found.count == 64)
        #expect(found.first == "2 v1")
    }

    @Test func functionsInAChain_areFollowedToALimit() {
        // Each captures the one before; the last is met first.
        let program = """
            local n
            local f = function() n = 1 end
            for i = 1, DEPTH do local g = f f = function() g() end end
            return f
            """
        #expect(found(program.replacingOccurrences("DEPTH", "100")) == ["2 n"])
        #expect(found(program.replacingOccurrences("DEPTH", "1000")) == [])
    }
}

extension String {
    fileprivate func replacingOccurrences(_ part: String, _ other: String) -> String {
        split(separator: part, omittingEmptySubsequences: false).joined(separator: other)
    }
}

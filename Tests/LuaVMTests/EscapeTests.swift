// Which functions let a record go, so that one table serves for all of a stage's.
import CLuaShim
import Testing

@testable import LuaVM

@Suite struct EscapeTests {
    private func letsGo(_ function: String, parameter: UInt32 = 0, returns: Bool = true) -> Bool? {
        let state = TestState()
        let source = Array("local u, t, f = 1, {}, print\nreturn \(function)".utf8)
        guard source.withUnsafeBytes({ state.vm.load($0, name: "=t") }) == nil else { return nil }
        guard state.vm.main.call(arguments: 0, results: 1) == nil else { return nil }
        return shim_lets_go(state.vm.main.state, -1, parameter, returns)
    }

    @Test(arguments: [
        "function(e) return e.status >= 400 end", "function(e) return e end", "function(e) e.class = 'x' return e end",
        "function(e) e.n = e.n + 1 return e end", "function(e) if e.a and #e.b > 2 then return e.c .. 'x' end end",
        "function(e) t[e.path] = (t[e.path] or 0) + 1 end", "function(e) u = e.a end", "function(e) f(e.a, e.b) end",
        "function(e) for i = 1, #e do u = u + e[i] end end", "function(e) for k, v in pairs(e.list) do u = v end end",
        "function(e) local a = e.a e[a] = { e.b } return e end", "function(e) return not e or e == nil end",
        "function(e) return (e.line:match('%d+')) end", "function(e) e.a.b.c = 1 return e end", "function(e) end",
        "function(e) while e.a do e.a = nil end goto l ::l:: return e end",
    ])
    func aFunctionThatOnlyUsesFields_letsGo(function: String) { #expect(letsGo(function) == true) }

    @Test(arguments: [
        "function(e) u = e end", "function(e) t.last = e end", "function(e) t[1] = e end", "function(e) t[e] = 1 end",
        "function(e) e.self = e end", "function(e) f(e) end", "function(e) return f(e) end", "function(e) e:go() end",
        "function(e) t.go(t, e) end", "function(e) return { e } end", "function(e) return { a = e } end",
        "function(e) local x = e u = x end", "function(e) return function() return e end end", "function(...) end",
        "function(e, ...) return e end", "function(e) e = t return e end", "function(e) e = e.a return e end",
        "function(e) for k in pairs(e) do u = k end end", "function(e) return e == t end",
        "function(e) return e + 1 end",
        "function(e) return e .. 'x' end", "function(e) x = e end", "function(e) return u and e or t end",
        "function(e) local x <close> = e end", "function(e) return -e end", "function(e) return e < t end",
        "function() return 1 end", "print", "function(e) return t[e] end",
    ])
    func aFunctionThatMayKeepIt_doesNot(function: String) { #expect(letsGo(function) == false) }

    @Test func aFold_keepsWhatItReturns() {
        #expect(letsGo("function(s, e) return s + e.n end", parameter: 1, returns: false) == true)
        #expect(letsGo("function(s, e) return e end", parameter: 1, returns: false) == false)
        #expect(
            letsGo("function(s, e) if e.n > s.n then return e end return s end", parameter: 1, returns: false) == false)
        #expect(letsGo("function(s, e) s.last = e return s end", parameter: 1, returns: false) == false)
    }
}

// The memory limit, and what a dropped state gives back.
import Testing

@testable import LuaVM

@Suite struct MemoryTests {
    @Test(arguments: [
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1000) .. #t end) end",
        "local s = 'x' while true do s = s .. s end",
        "local s = 'x' while true do pcall(function() s = s .. s end) end",
        "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
        "local function f(...) return f(1, ...) end while true do pcall(f) end",
        "local t = {} while true do local co = coroutine.wrap(function() t[#t + 1] = { {} } end) co() end",
    ]) func growthIsStopped(_ program: String) {
        let state = TestState(memoryLimit: 2 << 20)
        let end = state.run(program)
        #expect(end == .stopped || state.vm.over == .memory, "\(end)")
        #expect(state.vm.over == .memory)
        #expect(state.vm.memory.peak <= 8 << 20)
    }

    @Test func whatCannotFitIsRefused_andStopsNothing() {
        let state = TestState(memoryLimit: 2 << 20)
        let end = state.run("for i = 1, 100 do print(pcall(string.rep, 'x', 1 << 30)) end")
        #expect(end == .returned)
        #expect(state.vm.over == nil)
        #expect(state.lines == Array(repeating: "false\tresulting string too large", count: 100))
        #expect(state.vm.memory.peak < 1 << 20)
    }

    @Test func garbageIsNoGrowth() {
        let state = TestState(memoryLimit: 2 << 20)
        let end = state.run("for i = 1, 100000 do local t = { ('x'):rep(200), { i } } end return 1")
        #expect(end == .returned)
        #expect(state.vm.over == nil)
        #expect(state.vm.memory.limit == 2 << 20)
        #expect(state.vm.memory.used < 2 << 20)
    }

    @Test func hostObjectsAreReleased() {
        let state = TestState()
        #expect(state.run("keep = { shared(), own(), shared() } assert(keep[1] == keep[3])") == .returned)
        #expect(state.shared.pointee.balance == 1)
        #expect(state.own.pointee.balance == 1)
        #expect(state.run("keep = nil collectgarbage() collectgarbage()") == .returned)
        #expect(state.shared.pointee.balance == 0)
        #expect(state.run("for i = 1, 100 do shared() collectgarbage() end kept = shared()") == .returned)
        #expect(state.shared.pointee.balance == 1)
        #expect(state.run("local c = shared() own() kill() while true do end") == .stopped)
        state.drop()
        #expect(state.shared.pointee.balance == 0)
        #expect(state.own.pointee.balance == 0)
        #expect(state.shared.pointee.retains > 1)
    }

    @Test func aMethodThatIsNone() {
        let end = TestState().run("shared():pong()")
        #expect(end == .raised("t:1: a channel has no method 'pong' (it has: ping)"))
    }
}

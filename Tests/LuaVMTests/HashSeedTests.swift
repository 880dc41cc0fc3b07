// The seed of the string hash: the order of `pairs` is the caller's choice.
import StreamCore
import Testing

@testable import LuaVM

@Suite struct HashSeedTests {
    /// The keys of a table in the order of `pairs`.
    private func order(_ seed: UInt32?) -> String {
        _ = TestState()  // a process's first state is opened in another way, and its libraries have another order
        let state = TestState(hashSeed: seed)
        #expect(state.vm.isHashFixed == (seed != nil))
        let end = state.run(
            """
            local set, names = {}, {}
            for i = 1, 64 do set["key" .. i] = i end
            for name in pairs(set) do names[#names + 1] = name end
            for name in pairs(string) do names[#names + 1] = name end
            print(table.concat(names, " "))
            """)
        #expect(end == .returned)
        return state.lines.joined()
    }

    @Test func oneSeed_isOneOrder() {
        let first = order(1)
        #expect(first.split(separator: " ").count > 64)
        for _ in 1...10 { #expect(order(1) == first) }
    }

    @Test func seeds_areOrders() {
        #expect(Set((0...19 as ClosedRange<UInt32>).map(order)).count == 20)
    }

    @Test func withoutOne_theStateIsUnfixed() { #expect(!order(nil).isEmpty) }
}

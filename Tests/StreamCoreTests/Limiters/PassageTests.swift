// The judge of the limiters' tests is tested itself.
import StreamCore
import Testing

struct PassageTests {
    private func passages(_ list: [(Int64, Int64)]) -> [Passage] {
        list.map { Passage(before: $0.0 * 1_000_000, after: $0.1 * 1_000_000) }
    }

    /// Milliseconds; at 10 a second each token takes 100 of them.
    @Test(
        arguments: [
            ("nothing", [], 0.0),
            ("one, in no time", [(5, 5)], 1),
            ("one, in 50 ms", [(0, 50)], 0.5),
            ("two at once", [(0, 0), (0, 0)], 2),
            ("two, the second 100 ms later", [(0, 0), (100, 100)], 1),
            ("two, the second 70 ms later", [(0, 0), (70, 70)], 1.3),
            ("both in the 20 ms from the begin of one to the end of the other", [(0, 10), (10, 20)], 1.8),
            ("a thread sleeps after it passed: the other did not surely pass after it", [(0, 100), (50, 60)], 1),
            ("two sleep around a third", [(0, 200), (10, 190), (100, 100)], 1),
            ("the best window is in the middle", [(0, 0), (500, 500), (500, 510), (1000, 1000)], 1.9),
        ] as [(String, [(Int64, Int64)], Double)])
    func most_isThatOfWhatSurelyPassed(_ what: String, _ list: [(Int64, Int64)], _ expected: Double) {
        #expect(abs(Passage.most(passages(list), rate: 10) - expected) < 1e-9, "\(what)")
    }

    @Test func most_isThatOfAllWindowsLookedAtOneByOne() {
        var generator = SplitMix64(seed: 7)
        for _ in 0..<500 {
            let all = (0..<Int.random(in: 1...9, using: &generator)).map { _ in
                let before = Int64.random(in: 0...400, using: &generator) * 1_000_000
                return Passage(
                    before: before, after: before + Int64.random(in: 0...200, using: &generator) * 1_000_000)
            }
            var most = 0.0
            for begin in all.map(\.before) {
                for end in all.map(\.after) where end >= begin {
                    let count = all.filter { $0.before >= begin && $0.after <= end }.count
                    most = max(most, Double(count) - 10 * Double(end - begin) / 1e9)
                }
            }
            #expect(abs(Passage.most(all, rate: 10) - most) < 1e-9)
        }
    }
}

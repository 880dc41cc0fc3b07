// What passes a limiter, as a clock outside shows it.

/// One token passed between two looks at the clock: when exactly, nobody outside knows.
struct Passage {
    let before: Int64, after: Int64

    /// The most that surely passed in any window, less rate x its length: for a bucket at most its burst. 0: nothing.
    ///
    /// In a window surely passed what began and ended in it. One that began before it does not count, however late its
    /// thread came to look at the clock again: it may have passed at once.
    static func most(_ all: [Passage], rate: Double) -> Double {
        // Windows begin at a `before` and end at an `after`. From the last begin to the first the passages come in, each at
        // its place in the order of ends, and the best end for all of these is the best prefix of a sum, kept in a tree.
        let ends = all.indices.sorted { all[$0].after < all[$1].after }
        guard let first = ends.first else { return 0 }
        var tree = PrefixTree(count: all.count)
        var place = Array(repeating: 0, count: all.count)
        for (position, index) in ends.enumerated() {
            place[index] = position
            let gap = position == 0 ? 0 : all[index].after - all[ends[position - 1]].after
            tree.set(position, -rate * Double(gap) / 1e9, isEnd: false)
        }
        var most = 0.0
        for index in all.indices.sorted(by: { all[$0].before > all[$1].before }) {
            tree.set(place[index], tree[place[index]] + 1, isEnd: true)
            most = max(most, tree.best - rate * Double(all[first].after - all[index].before) / 1e9)
        }
        return most
    }

    /// Sums of numbers, and the greatest sum of a prefix that may end where it does.
    private struct PrefixTree {
        private var sums: [Double], bests: [Double]
        private let width: Int

        init(count: Int) {
            var width = 1
            while width < count { width *= 2 }
            self.width = width
            sums = Array(repeating: 0, count: 2 * width)
            bests = Array(repeating: -.infinity, count: 2 * width)
        }

        subscript(position: Int) -> Double { sums[width + position] }
        var best: Double { bests[1] }

        mutating func set(_ position: Int, _ value: Double, isEnd: Bool) {
            var node = width + position
            sums[node] = value
            bests[node] = isEnd ? value : -.infinity
            while node > 1 {
                node /= 2
                sums[node] = sums[2 * node] + sums[2 * node + 1]
                bests[node] = max(bests[2 * node], sums[2 * node] + bests[2 * node + 1])
            }
        }
    }
}

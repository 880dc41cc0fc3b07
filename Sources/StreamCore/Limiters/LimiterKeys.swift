// The limiters of keys: as many as the bound says, least recently used first out.

/// A table in the order of use. Under its limiter's lock.
///
/// - Complexity: O(1) for each operation but `all`.
struct LimiterKeys {
    private struct Node {
        var key: UInt64
        var limiter: Limiter
        /// Used just before, and just after.
        var older: Int, newer: Int
    }

    private let bound: Int
    private var places: [UInt64: Int] = [:]
    private var nodes: [Node] = []
    /// -1: none.
    private var oldest = -1, newest = -1

    init(bound: Int) {
        precondition(bound >= 1, "a bound lets one key in")
        self.bound = bound
    }

    var count: Int { nodes.count }

    /// The most recently used last.
    var all: [Limiter] {
        var found: [Limiter] = []
        var place = oldest
        while place >= 0 {
            found.append(nodes[place].limiter)
            place = nodes[place].newer
        }
        return found
    }

    /// Uses it.
    mutating func find(_ key: UInt64) -> Limiter? {
        guard let place = places[key] else { return nil }
        if place != newest {
            unlink(place)
            link(place)
        }
        return nodes[place].limiter
    }

    /// A key that is not there.
    mutating func insert(_ key: UInt64, _ limiter: Limiter) {
        let place: Int
        if nodes.count < bound {
            place = nodes.count
            nodes.append(Node(key: key, limiter: limiter, older: -1, newer: -1))
        } else {
            place = oldest
            unlink(place)
            places[nodes[place].key] = nil
            nodes[place] = Node(key: key, limiter: limiter, older: -1, newer: -1)
        }
        places[key] = place
        link(place)
    }

    private mutating func link(_ place: Int) {
        nodes[place].older = newest
        nodes[place].newer = -1
        if newest >= 0 { nodes[newest].newer = place } else { oldest = place }
        newest = place
    }

    private mutating func unlink(_ place: Int) {
        let node = nodes[place]
        if node.older >= 0 { nodes[node.older].newer = node.newer } else { oldest = node.newer }
        if node.newer >= 0 { nodes[node.newer].older = node.older } else { newest = node.older }
    }
}

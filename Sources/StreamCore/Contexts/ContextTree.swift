// The shape of the trees of contexts: who is told when one ends. Lists of nodes that point at each other, so that coming
// and going cost the same however many there are. Decides only: the caller holds the lock, and tells after it.
import Synchronization

/// How a context ended: shared by all that ended with it.
final class ContextEnd: Sendable {
    let reason: Reason
    let cause: String

    init(reason: Reason, cause: String) {
        self.reason = reason
        self.cause = cause
    }
}

/// A planted bug: it exists so that the tests can be tested.
package enum ContextFault: CaseIterable {
    /// What ends a context that has ended ends it once more.
    case endsTwice
}

/// A place in the list of a context: a child's, a listener's, or one more parent's of `any_context`.
///
/// Plain memory and no object: a context that is just being dropped still stands in its parent's list until it has
/// taken itself out, and nothing may retain it then.
struct ContextNode: ~Copyable {
    typealias Pointer = UnsafeMutablePointer<ContextNode>
    enum Kind { case context, listener, feeder }

    let kind: Kind
    /// Counts the lists that it has stood in, so that who is told late sees that it is no longer the same.
    var epoch: UInt32 = 0
    var previous: Pointer?
    var next: Pointer?
    /// The context in whose list it stands.
    var home: Pointer?
    /// A context's list. A feeder's target is its `first`.
    var first: Pointer?
    var last: Pointer?
    /// Of a context: 0, or the reason it ended for, plus one; read without the lock.
    let ended = Atomic<UInt8>(0)
    /// Of a context.
    var end: ContextEnd?
    var timer: Timer?
    /// Of `any_context`: its places in the lists of its other parents.
    var feeders: [Pointer] = []
    /// Of a listener, while it stands in a list.
    var listener: (any ContextListener)?
    var fault: ContextFault?

    init(_ kind: Kind) { self.kind = kind }

    static func make(_ kind: Kind) -> Pointer {
        let node = Pointer.allocate(capacity: 1)
        node.initialize(to: ContextNode(kind))
        return node
    }

    static func destroy(_ node: Pointer) {
        node.deinitialize(count: 1)
        node.deallocate()
    }
}

/// What follows an end, once the lock is given up: whom to tell, in order, and which timers to disarm.
struct ContextConsequences {
    var told: [(listener: any ContextListener, epoch: UInt32, reason: Reason)] = []
    var timers: [Timer] = []
}

enum ContextTree {
    typealias Pointer = ContextNode.Pointer

    static func reason(_ node: Pointer) -> Reason? {
        let raw = node.pointee.ended.load(ordering: .sequentiallyConsistent)
        return raw == 0 ? nil : Reason(rawValue: raw - 1)
    }

    /// Puts `node` at the end of the list of `home`, or at its front. False: `home` has ended.
    static func link(_ node: Pointer, to home: Pointer, first: Bool = false) -> Bool {
        node.pointee.epoch &+= 1
        guard home.pointee.end == nil else { return false }
        node.pointee.home = home
        if first, let old = home.pointee.first {
            node.pointee.next = old
            old.pointee.previous = node
            home.pointee.first = node
        } else {
            node.pointee.previous = home.pointee.last
            if let last = home.pointee.last { last.pointee.next = node } else { home.pointee.first = node }
            home.pointee.last = node
        }
        return true
    }

    /// Takes `node` out of the list it stands in, if any.
    static func unlink(_ node: Pointer) {
        guard let home = node.pointee.home else { return }
        if let previous = node.pointee.previous {
            previous.pointee.next = node.pointee.next
        } else {
            home.pointee.first = node.pointee.next
        }
        if let next = node.pointee.next {
            next.pointee.previous = node.pointee.previous
        } else {
            home.pointee.last = node.pointee.previous
        }
        isolate(node)
    }

    private static func isolate(_ node: Pointer) {
        node.pointee.home = nil
        node.pointee.previous = nil
        node.pointee.next = nil
    }

    /// Ends `root` and all below, depth first, in order of arrival. Nil: it had ended.
    ///
    /// - Complexity: O(contexts and listeners below), in one loop: however deep, no recursion.
    static func end(_ root: Pointer, _ end: ContextEnd) -> ContextConsequences? {
        guard root.pointee.end == nil || root.pointee.fault == .endsTwice else { return nil }
        unlink(root)
        var consequences = ContextConsequences()
        // The chain of what is still to be looked at, linked by `next` alone. Nodes in it keep the home that has ended.
        var chain = begin(root, end, &consequences, before: nil)
        unlinkFeeders(of: root)
        while let node = chain {
            chain = node.pointee.next
            let kind = node.pointee.kind
            if kind == .listener {
                if let listener = node.pointee.listener {
                    consequences.told.append((listener, node.pointee.epoch, end.reason))
                    node.pointee.listener = nil
                }
            }
            isolate(node)
            guard kind != .listener, let target = kind == .feeder ? node.pointee.first : node,
                target.pointee.end == nil
            else { continue }
            if kind == .feeder, let home = target.pointee.home, home.pointee.end == nil { unlink(target) }
            chain = begin(target, end, &consequences, before: chain)
            unlinkFeeders(of: target)
        }
        return consequences
    }

    /// Marks one context ended, and puts what stands in its list in front of `chain`.
    private static func begin(
        _ node: Pointer, _ end: ContextEnd, _ consequences: inout ContextConsequences, before chain: Pointer?
    ) -> Pointer? {
        node.pointee.end = end
        node.pointee.ended.store(end.reason.rawValue + 1, ordering: .sequentiallyConsistent)
        if let timer = node.pointee.timer {
            consequences.timers.append(timer)
            node.pointee.timer = nil
        }
        let first = node.pointee.first, last = node.pointee.last
        node.pointee.first = nil
        node.pointee.last = nil
        last?.pointee.next = chain
        return first ?? chain
    }

    /// Those in the lists of contexts that end now are in the chain, and are passed over there.
    private static func unlinkFeeders(of node: Pointer) {
        for feeder in node.pointee.feeders {
            if let home = feeder.pointee.home, home.pointee.end == nil { unlink(feeder) }
        }
    }
}

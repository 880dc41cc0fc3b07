// Contexts under virtual time.
import Testing

@testable import StreamCore

private final class Listener: ContextListener {
    var told: [Reason] = []
    func contextEnded(_ reason: Reason) { told.append(reason) }
}

/// Something happens between the moment a timer is made and the moment it is armed.
private final class SlowScheduler: Scheduler, @unchecked Sendable {  // one thread
    var beforeArming: () -> Void = {}
    private var timers = TimerQueue()
    override func arm(_ timer: Timer) {
        beforeArming()
        timers.arm(timer)
    }
    override func disarm(_ timer: Timer) { timers.disarm(timer) }
    override var now: Int64 { 0 }
    override var armedTimers: Int { timers.armed }
}

struct ContextTests {
    private let scheduler = SeededScheduler(seed: 1)

    @Test func cancel_endsOnce_withItsFirstReasonAndCause() {
        let context = Context(scheduler: scheduler)
        #expect(context.reason == nil && context.cause == nil)
        #expect(context.cancel(.canceled, cause: "enough"))
        #expect(!context.cancel(.timeout, cause: "late"))
        #expect(context.reason == .canceled && context.cause == "enough")
    }

    @Test func cancel_withoutCause_namesTheReason() {
        let context = Context(scheduler: scheduler)
        context.cancel(.deadlineExceeded)
        #expect(context.cause == "deadline exceeded")
    }

    @Test func parentsEnd_endsAllBelow_andNotAbove() {
        let root = Context(scheduler: scheduler)
        let parent = Context(scheduler: scheduler, parent: root)
        let children = (0..<3).map { _ in Context(scheduler: scheduler, parent: parent) }
        let grandchild = Context(scheduler: scheduler, parent: children[1])
        parent.cancel(.limited, cause: "too much")
        for below in children + [grandchild] { #expect(below.reason == .limited && below.cause == "too much") }
        #expect(root.reason == nil)
    }

    @Test func childsEnd_leavesParentAndSiblings() {
        let parent = Context(scheduler: scheduler)
        let a = Context(scheduler: scheduler, parent: parent), b = Context(scheduler: scheduler, parent: parent)
        a.cancel()
        #expect(parent.reason == nil && b.reason == nil)
    }

    @Test func childOfAnEndedParent_endsAtOnce() {
        let parent = Context(scheduler: scheduler)
        parent.cancel(.timeout, cause: "slow")
        let child = Context(scheduler: scheduler, parent: parent)
        #expect(child.reason == .timeout && child.cause == "slow")
    }

    @Test func grandparentsEnd_findsItsWayThroughAParentNobodyHolds() {
        let root = Context(scheduler: scheduler)
        weak var parent: Context?
        let child: Context
        do {
            let middle = Context(scheduler: scheduler, parent: root)
            parent = middle
            child = Context(scheduler: scheduler, parent: middle)
        }
        #expect(parent != nil)
        root.cancel()
        #expect(child.reason == .canceled)
    }

    @Test func droppedContext_isFreed_withItsTimer() {
        let root = Context(scheduler: scheduler)
        weak var dropped: Context?
        do {
            let child = Context(scheduler: scheduler, parent: root)
            child.end(at: 100)
            dropped = child
        }
        #expect(dropped == nil && scheduler.armedTimers == 0)
        root.cancel()
    }

    @Test func deadline_endsInVirtualTime_andBelow() {
        let parent = Context(scheduler: scheduler), child = Context(scheduler: scheduler, parent: parent)
        let late = Context(scheduler: scheduler)
        parent.end(at: 1_000)
        late.end(at: 2_000)
        scheduler.run { parent.reason != nil }
        #expect(scheduler.now == 1_000 && child.reason == .deadlineExceeded && late.reason == nil)
        scheduler.run()
        #expect(scheduler.now == 2_000 && late.reason == .deadlineExceeded)
    }

    @Test func cancel_disarmsTheDeadline() {
        let context = Context(scheduler: scheduler)
        context.end(at: 1_000)
        context.cancel()
        #expect(scheduler.armedTimers == 0)
        context.end(at: 2_000)
        scheduler.run()
        #expect(scheduler.now == 0 && context.reason == .canceled)
    }

    /// Guards against a deadline left armed by a cancel that came just before it was armed.
    @Test func cancel_whileTheDeadlineIsArmed_leavesNoTimer() {
        let scheduler = SlowScheduler(), context = Context(scheduler: scheduler)
        scheduler.beforeArming = { [unowned context] in context.cancel() }
        context.end(at: 1_000)
        #expect(scheduler.armedTimers == 0)
    }

    @Test func listeners_areToldOnce() {
        let context = Context(scheduler: scheduler), listeners = (0..<3).map { _ in Listener() }
        for listener in listeners { #expect(context.add(listener)) }
        #expect(context.add(listeners[0]))
        context.cancel(.timeout)
        context.cancel()
        for listener in listeners { #expect(listener.told == [.timeout]) }
    }

    @Test func removedListener_isNotTold() {
        let context = Context(scheduler: scheduler), kept = Listener(), removed = Listener()
        #expect(context.add(kept) && context.add(removed))
        context.remove(removed)
        context.cancel()
        #expect(kept.told == [.canceled] && removed.told.isEmpty)
    }

    @Test func listener_addedAfterTheEnd_isRefused() {
        let context = Context(scheduler: scheduler), listener = Listener()
        context.cancel()
        #expect(!context.add(listener))
        #expect(listener.told.isEmpty)
    }
}

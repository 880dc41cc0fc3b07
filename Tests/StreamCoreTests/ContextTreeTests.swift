// The shapes of trees of contexts: several parents, values, deep chains, many listeners.
import CMessage
import Glibc
import Testing

@testable import StreamCore

private final class Listener: ContextListener {
    let name: String
    let log: Log
    init(_ name: String, _ log: Log) {
        self.name = name
        self.log = log
    }
    func contextEnded(_ reason: Reason) { log.lines.append("\(name) \(reason)") }
}

private final class Log { var lines: [String] = [] }

/// A listener that moves between contexts.
private final class Mover: ContextListener {
    let seat = ContextSeat()
    var told: [(reason: Reason, epoch: UInt32)] = []
    deinit { seat.destroy() }
    func contextEnded(_ reason: Reason) { told.append((reason, 0)) }
    func contextEnded(_ reason: Reason, epoch: UInt32) { told.append((reason, epoch)) }
}

private func integer(_ value: Int64) -> MessageBuffer {
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
    defer { bytes.deallocate() }
    var header = msg_header()
    header.size = 16
    header.kind = UInt8(MSG_INTEGER)
    bytes.storeBytes(of: header, as: msg_header.self)
    bytes.storeBytes(of: value, toByteOffset: 8, as: Int64.self)
    let buffer = MessageBuffer()
    buffer.fill(MessagePointer(bytes.assumingMemoryBound(to: msg_header.self)))
    return buffer
}

private func integer(_ message: MessagePointer?) -> Int64? {
    message.map { UnsafeRawPointer($0).load(fromByteOffset: 8, as: Int64.self) }
}

struct ContextTreeTests {
    private let scheduler = SeededScheduler(seed: 1)

    private func child(of parents: Context..., deadline: Int64? = nil) -> Context {
        Context(scheduler: scheduler, parents: parents, deadline: deadline)
    }

    // MARK: Who is told

    @Test func listeners_areToldInOrderOfArrival_depthFirst() {
        let log = Log(), root = Context(scheduler: scheduler)
        let first = Listener("first", log), inner = Listener("inner", log), last = Listener("last", log)
        #expect(root.add(first))
        let below = child(of: root)
        #expect(below.add(inner) && root.add(last))
        root.cancel()
        #expect(log.lines == ["first canceled", "inner canceled", "last canceled"])
    }

    @Test func seat_leavesItsContextForTheNext_andIsToldByThatAlone() {
        let a = Context(scheduler: scheduler), b = Context(scheduler: scheduler), mover = Mover()
        let first = a.add(mover, mover.seat), second = b.add(mover, mover.seat)
        #expect(first.isLive && second.isLive && first.epoch != second.epoch)
        a.cancel()
        #expect(mover.told.isEmpty)
        b.cancel(.timeout)
        #expect(mover.told.map(\.reason) == [.timeout] && mover.told.map(\.epoch) == [second.epoch])
    }

    @Test func seat_inAContextThatHasEnded_isInNone() {
        let a = Context(scheduler: scheduler), b = Context(scheduler: scheduler), mover = Mover()
        _ = a.add(mover, mover.seat)
        b.cancel()
        #expect(!b.add(mover, mover.seat).isLive)
        a.cancel()
        #expect(mover.told.isEmpty)
    }

    /// Guards against a list whose ends are lost: taken from the front, the middle and the end, in any order.
    @Test func seats_takenOutInAnyOrder_leaveTheOthers() {
        for seed in UInt64(1)...50 {
            var random = SplitMix64(seed: seed)
            let context = Context(scheduler: scheduler)
            var movers = (0..<20).map { _ in Mover() }
            for mover in movers { _ = context.add(mover, mover.seat) }
            movers.shuffle(using: &random)
            let gone = movers[..<12], kept = movers[12...]
            for mover in gone { context.remove(mover.seat) }
            context.cancel()
            #expect(gone.allSatisfy { $0.told.isEmpty } && kept.allSatisfy { $0.told.count == 1 })
        }
    }

    // MARK: Several parents

    @Test func anyContext_endsWithTheFirst_whicheverItIs() {
        for index in 0..<3 {
            let parents = (0..<3).map { _ in Context(scheduler: scheduler) }
            let any = Context(scheduler: scheduler, parents: parents), below = child(of: any)
            parents[index].cancel(.limited, cause: "number \(index)")
            #expect(any.reason == .limited && any.cause == "number \(index)" && below.cause == "number \(index)")
            for (other, parent) in parents.enumerated() where other != index { #expect(parent.reason == nil) }
            for parent in parents { parent.cancel(cause: "late") }
            #expect(any.cause == "number \(index)")
        }
    }

    @Test func anyContext_ofAParentThatHasEnded_endsAtOnce() {
        let live = Context(scheduler: scheduler), ended = Context(scheduler: scheduler)
        ended.cancel(.timeout, cause: "slow")
        #expect(child(of: live, ended).cause == "slow")
    }

    @Test func anyContext_hasTheEarliestDeadline() {
        let a = child(deadline: 3_000), b = child(deadline: 2_000), c = child()
        #expect(Context(scheduler: scheduler, parents: [a, b, c]).deadline == 2_000)
        #expect(child(of: c).deadline == nil)
    }

    @Test func anyContext_ofContextsThatEndTogether_endsOnce() {
        let log = Log(), root = Context(scheduler: scheduler), middle = child(of: root), deep = child(of: middle)
        let orders: [[Context]] = [
            [root, deep], [deep, root], [middle, deep, root], [deep, deep, middle], [root, root],
        ]
        let anys = orders.map { Context(scheduler: scheduler, parents: $0) }
        let below = anys.map { child(of: $0, deep) }
        let listeners = (anys + below).map { context in
            let listener = Listener("told", log)
            #expect(context.add(listener))
            return listener
        }
        root.cancel(cause: "all")
        #expect(log.lines == listeners.map { _ in "told canceled" })
        #expect((anys + below).allSatisfy { $0.cause == "all" })
    }

    @Test func droppedAnyContext_leavesItsParents() {
        let a = Context(scheduler: scheduler), b = Context(scheduler: scheduler)
        weak var dropped: Context?
        do {
            let any = child(of: a, b)
            dropped = any
        }
        #expect(dropped == nil)
        a.cancel()
        b.cancel()
    }

    // MARK: Deadlines

    @Test func deadline_laterThanTheParents_isTheParents() {
        let parent = child(deadline: 1_000), late = child(of: parent, deadline: 5_000)
        let early = child(of: parent, deadline: 500)
        #expect(late.deadline == 1_000 && early.deadline == 500)
        #expect(scheduler.armedTimers == 2, "what the parent's timer ends needs none")
        scheduler.run { late.reason != nil }
        #expect(scheduler.now == 1_000 && late.reason == .deadlineExceeded)
    }

    @Test func deadline_thatHasPassed_endsAtOnce() {
        #expect(child(deadline: 0).reason == .deadlineExceeded)
        #expect(child(deadline: -5).reason == .deadlineExceeded)
    }

    // MARK: Values

    @Test func values_areTheNearest_andAnyContextHasEachFromTheFirstThatHasIt() {
        let root = Context(scheduler: scheduler, parents: [], entry: (.integer(1), integer(10)))
        let a = Context(scheduler: scheduler, parents: [root], entry: (.string([65]), integer(20)))
        let b = Context(scheduler: scheduler, parents: [root], entry: (.integer(1), integer(30)))
        #expect(integer(a.value(.integer(1))) == 10 && integer(b.value(.integer(1))) == 30)
        #expect(integer(a.value(.string([65]))) == 20 && b.value(.string([65])) == nil)
        let any = child(of: a, b), other = child(of: b, a)
        #expect(integer(any.value(.integer(1))) == 10 && integer(other.value(.integer(1))) == 30)
        #expect(integer(other.value(.string([65]))) == 20)
        let detached = Context(scheduler: scheduler, parents: [], origin: any)
        #expect(integer(detached.value(.string([65]))) == 20)
        root.cancel()
        #expect(detached.reason == nil && any.reason == .canceled)
    }

    // MARK: Done

    @Test func doneChannel_closesBeforeListenersAreTold_andIsOneWhileHeld() {
        let context = Context(scheduler: scheduler)
        final class Asker: ContextListener {
            let channel: Channel
            var wasClosed = false
            init(_ channel: Channel) { self.channel = channel }
            func contextEnded(_ reason: Reason) { wasClosed = channel.isClosed }
        }
        let early = Asker(Channel(capacity: 0))
        #expect(context.add(early))
        let channel = context.doneChannel, asker = Asker(channel)
        #expect(channel === context.doneChannel && !channel.isClosed && context.add(asker))
        context.cancel()
        #expect(asker.wasClosed && channel.isClosed && context.doneChannel.isClosed)
    }

    @Test func doneChannel_keepsItsContext_andNotTheOtherWayRound() {
        let root = Context(scheduler: scheduler)
        weak var dropped: Context?
        var channel: Channel?
        do {
            let context = child(of: root, deadline: 1_000)
            channel = context.doneChannel
            dropped = context
        }
        #expect(dropped != nil)
        root.cancel()
        #expect(channel?.isClosed == true)
        channel = nil
        #expect(dropped == nil)
        let context = Context(scheduler: scheduler)
        weak var first: Channel?
        do { first = context.doneChannel }
        #expect(first == nil)
        let second = context.doneChannel
        context.cancel()
        #expect(second.isClosed)
    }

    // MARK: Size

    /// Guards against recursion: each of these would need a hundred thousand frames.
    @Test func chainOfAHundredThousand_endsAndIsFreed() {
        let scheduler = scheduler
        spawnAndWait(stack: 256 << 10) {
            for shape in 0..<4 {
                let root = Context(scheduler: scheduler), side = Context(scheduler: scheduler)
                var last = root
                weak var middle: Context?
                for depth in 0..<100_000 {
                    switch shape {
                    case 0: last = Context(scheduler: scheduler, parent: last)
                    case 1: last = Context(scheduler: scheduler, parents: [last, side])
                    case 2: last = Context(scheduler: scheduler, parents: [side, last])
                    default: last = Context(scheduler: scheduler, parents: [], origin: last)
                    }
                    if depth == 50_000 { middle = last }
                }
                #expect(last.value(.integer(1)) == nil)
                root.cancel(cause: "deep")
                #expect(last.cause == (shape == 3 ? nil : "deep"))
                last = root
                #expect(middle == nil)
            }
        }
    }

    @Test func aHundredThousandChildren_comeAndGoInAnyOrder() {
        let root = Context(scheduler: scheduler)
        var random = SplitMix64(seed: 3)
        var children = (0..<100_000).map { _ in Context(scheduler: scheduler, parent: root) }
        children.shuffle(using: &random)
        children.removeLast(50_000)
        root.cancel()
        #expect(children.allSatisfy { $0.reason == .canceled })
    }
}

private func spawnAndWait(stack: Int, _ body: @escaping @Sendable () -> Void) {
    pthread_join(spawn(stack: stack, body), nil)
}

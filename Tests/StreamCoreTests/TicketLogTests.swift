// Tickets: who got which share of a channel, in the order of the shares.
import CMessage
import DequeModule
import Schedules
import Testing

@testable import StreamCore

/// A reader that waits.
private final class Reader: WaiterOwner {
    private(set) var waiter: Waiter!
    init() { waiter = Waiter(owner: self) }
    func ready(_ waiter: Waiter) {}
}

private func send(_ value: Int64, on channel: Channel) -> Channel.SendResult {
    withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) {
        channel.trySend(integerMessage(value, at: $0.baseAddress!))
    }
}

private func tickets(_ log: TicketLog) -> (readers: [Int], follow: Bool) {
    var taken = Deque<Int>()
    let follow = log.take(into: &taken)
    return (Array(taken), follow)
}

struct TicketLogTests {
    @Test func everyWayToGetABatch_leavesATicketInItsOrder() {
        let channel = Channel(capacity: 8), log = TicketLog(), waiting = Reader(), late = Reader()
        let seats = (0..<3).map { ReaderSeat(log: log, reader: $0) }
        // handed to one who waits, from one message and from a batch
        guard case .waiting = channel.takeBatch(2, waiting.waiter, seat: seats[2]) else {
            Issue.record("an empty channel has a batch")
            return
        }
        #expect(tickets(log).readers == [])
        #expect(send(1, on: channel) == .sent)
        guard case .waiting = channel.takeBatch(2, late.waiter, seat: seats[1]) else {
            Issue.record("it has been taken")
            return
        }
        let batch = Batch()
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { room in
            for value: Int64 in 2...6 { batch.append(integerMessage(value, at: room.baseAddress!)) }
        }
        #expect(channel.reserve(5, nil) == .granted(5))
        #expect(channel.commit(batch, unused: 0))
        // taken at once
        for reader in [0, 2] {
            guard case .batch = channel.takeBatch(2, nil, seat: seats[reader]) else {
                Issue.record("there are some left")
                return
            }
        }
        #expect(tickets(log).readers == [2, 1, 0, 2])
        // who gets nothing gets no ticket
        guard case .empty = channel.takeBatch(2, nil, seat: seats[0]) else {
            Issue.record("all has been taken")
            return
        }
        #expect(tickets(log) == ([], true))
    }

    @Test func aRendezvousLeavesATicketToo() {
        let channel = Channel(capacity: 0), log = TicketLog(), sender = Reader()
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { room in
            #expect(channel.send(integerMessage(1, at: room.baseAddress!), sender.waiter) == .waiting)
        }
        guard case .batch = channel.takeBatch(4, nil, seat: ReaderSeat(log: log, reader: 1)) else {
            Issue.record("a sender waits")
            return
        }
        #expect(tickets(log).readers == [1])
    }

    @Test func theEndFollowsTheLastTicket() {
        let log = TicketLog()
        var more = [3, 1]
        log.append(all: &more)
        log.finish()
        #expect(more == [])
        #expect(tickets(log) == ([3, 1], false))
        #expect(tickets(log) == ([], false))
    }

    @Test func marksAreNoValues() {
        let batch = Batch()
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { room in
            batch.appendMark()
            batch.append(integerMessage(1, at: room.baseAddress!))
            batch.appendMark()
        }
        #expect(batch.count == 3)
        #expect(batch.first!.isMark)
        #expect(batch.dropValues() == 1)
        #expect(batch.isEmpty)
    }
}

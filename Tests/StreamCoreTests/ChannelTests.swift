// Channels one call after another: what the schedules found, told singly.
import CMessage
import Schedules
import Testing

@testable import StreamCore

/// Whoever waits, and how its waits ended.
private final class Party: WaiterOwner {
    private(set) var waiter: Waiter!
    private(set) var ends: [WaitOutcome] = []
    init() { waiter = Waiter(owner: self) }
    func ready(_ waiter: Waiter) { ends.append(waiter.outcome) }
}

private func withMessage<R>(_ value: Int64, _ body: (MessagePointer) -> R) -> R {
    withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { body(integerMessage(value, at: $0.baseAddress!)) }
}

private func batch(_ values: Int64...) -> Batch {
    let batch = Batch()
    for value in values { withMessage(value) { batch.append($0) } }
    return batch
}

private func receiveAll(_ channel: Channel) -> [Int64] {
    var values: [Int64] = []
    let buffer = MessageBuffer()
    while channel.tryReceive(into: buffer) == .received {
        values.append(integerValue(buffer.message!))
        buffer.drop()
    }
    return values
}

struct ChannelTests {
    /// Guards against an emptied batch left in front of a committed one: the next single receive crashed on it.
    @Test func commit_afterSingleMessagesWereReceived_isReceivedSingly() {
        let channel = Channel(capacity: 4)
        #expect(withMessage(1) { channel.trySend($0) } == .sent)
        #expect(receiveAll(channel) == [1])
        #expect(channel.reserve(2, nil) == .granted(2))
        #expect(channel.commit(batch(2, 3), unused: 0))
        #expect(withMessage(4) { channel.trySend($0) } == .sent)
        #expect(receiveAll(channel) == [2, 3, 4])
    }

    /// Guards against a message handed to a waiting batch reader without being counted.
    @Test func send_toWaitingBatchReader_takesItsPlaceUntilCredited() {
        let channel = Channel(capacity: 1), reader = Party()
        guard case .waiting = channel.takeBatch(4, reader.waiter) else {
            Issue.record("an empty channel has a batch")
            return
        }
        #expect(withMessage(1) { channel.trySend($0) } == .sent)
        #expect(reader.ends == [.batch] && reader.waiter.batch?.count == 1)
        #expect(withMessage(2) { channel.trySend($0) } == .full)
        channel.credit(1, bytes: 0, all: true)
        #expect(withMessage(2) { channel.trySend($0) } == .sent)
    }

    /// Guards against a later sender who finds a receiver waiting and overtakes one who waits because of reserved room.
    @Test func receive_whileAllRoomIsReserved_servesTheSenderWhoCameFirst() {
        let channel = Channel(capacity: 2), first = Party(), receiver = Party()
        #expect(channel.reserve(2, nil) == .granted(2))
        #expect(withMessage(1) { channel.send($0, first.waiter) } == .waiting)
        #expect(channel.receive(receiver.waiter) == .received)
        #expect(receiver.waiter.inbox.message.map(integerValue) == 1)
        #expect(first.ends == [.sent(index: 0)])
        #expect(withMessage(2) { channel.trySend($0) } == .full)
        #expect(channel.account == (sent: 1, received: 1, dropped: 0))
    }

    @Test func waitingSenders_areLetInInOrder() {
        let channel = Channel(capacity: 1), senders = (0..<3).map { _ in Party() }
        #expect(withMessage(0) { channel.trySend($0) } == .sent)
        for (index, sender) in senders.enumerated() {
            #expect(withMessage(Int64(index + 1)) { channel.send($0, sender.waiter) } == .waiting)
        }
        #expect(receiveAll(channel) == [0, 1, 2, 3])
    }

    @Test func close_endsWaits_andLeavesTheMessageWithItsSender() {
        let channel = Channel(capacity: 1), sender = Party(), writer = Party()
        #expect(withMessage(1) { channel.trySend($0) } == .sent)
        #expect(withMessage(2) { channel.send($0, sender.waiter, index: 3) } == .waiting)
        #expect(channel.reserve(1, writer.waiter) == .waiting)
        #expect(channel.close())
        #expect(sender.ends == [.closed(index: 3)] && writer.ends == [.closed(index: 0)])
        #expect(sender.waiter.outbox.message.map(integerValue) == 2)
        #expect(receiveAll(channel) == [1])
        #expect(channel.tryReceive(into: MessageBuffer()) == .closed)
    }

    @Test func closeReading_returnsWhatIsStored_andRefusesACommit() {
        let channel = Channel(capacity: 4)
        #expect(withMessage(1) { channel.trySend($0) } == .sent)
        #expect(channel.reserve(2, nil) == .granted(2))
        #expect(channel.closeReading().drop() == 1)
        let late = batch(2, 3)
        #expect(!channel.commit(late, unused: 0))
        #expect(late.count == 2 && channel.account == (sent: 1, received: 0, dropped: 1))
    }

    @Test func giveBack_isReceivedFirst() {
        let channel = Channel(capacity: 3)
        for value in 1...3 as ClosedRange<Int64> { #expect(withMessage(value) { channel.trySend($0) } == .sent) }
        guard case .batch(let taken) = channel.takeBatch(2, nil) else {
            Issue.record("a full channel has no batch")
            return
        }
        channel.giveBack(taken)
        channel.credit(2, bytes: 0, all: true)
        #expect(withMessage(4) { channel.trySend($0) } == .full)
        #expect(receiveAll(channel) == [1, 2, 3])
    }
}

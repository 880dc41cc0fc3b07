// A sink that is written to byte by byte, and says how far it is: what the writers of scripts put their bytes into.
import CMessage
import Glibc

/// Feeds `sink` on a thread of its own, until `channel` is closed and empty, the context ends, or the sink fails.
///
/// The channel's strings are written. An integer in between is a question: it comes back on `answers` when all before it
/// has been written and flushed; the number 0 comes first, when the sink is open. `done` gets the failure, or nil, when
/// the sink is closed.
public func startBytes(
    _ sink: any HostSink, from channel: Channel, answers: Channel, scheduler: Scheduler, context: Context,
    done: @escaping @Sendable (ConnectorError?) -> Void
) {
    let parker = ThreadParker(scheduler: scheduler, context: context)
    parker.seat.start(stack: 512 << 10) {
        let canceller = ByteSinkCanceller(sink)
        var failure: ConnectorError?
        do throws(ConnectorError) {
            let isLive = context.add(parker) && context.add(canceller)
            try sink.open()
            answer(0, answers)
            if isLive { try feed(sink, channel, answers, parker) }
        } catch { failure = error }
        context.remove(parker)
        context.remove(canceller)
        do throws(ConnectorError) { try sink.close() } catch { failure = failure ?? error }
        channel.closeReading().drop()
        done(failure)
    }
}

private func feed(
    _ sink: any HostSink, _ channel: Channel, _ answers: Channel, _ parker: ThreadParker
) throws(ConnectorError) {
    while true {
        var taken: Batch?
        switch channel.takeBatch(16, nil) {
        case .batch(let batch): taken = batch
        case .closed: return try sink.flush()
        case .waiting, .empty:
            try sink.flush()
            switch channel.takeBatch(16, parker.waiter) {
            case .batch(let batch): taken = batch
            case .closed: return
            case .empty: break
            case .waiting:
                guard case .batch = parker.park() else {
                    channel.forget()
                    return
                }
                taken = parker.waiter.batch
                parker.waiter.batch = nil
            }
        }
        guard let batch = taken else { continue }
        let count = batch.count, bytes = batch.byteCount
        while let message = batch.first {
            if message.pointee.kind == UInt8(MSG_INTEGER) {
                try sink.flush()
                _ = answers.trySend(message)
            } else {
                try sink.write(message)
            }
            batch.removeFirst()
        }
        channel.credit(count, bytes: bytes, all: true)
    }
}

private func answer(_ number: Int64, _ answers: Channel) {
    let batch = Batch()
    let place = batch.appendUninitialized(size: 16)
    place.storeBytes(of: msg_header(size: 16, kind: UInt8(MSG_INTEGER), flags: 0, shape: 0), as: msg_header.self)
    place.storeBytes(of: number, toByteOffset: 8, as: Int64.self)
    _ = answers.trySend(batch.first!)
}

private final class ByteSinkCanceller: ContextListener {
    private let sink: any HostSink
    init(_ sink: any HostSink) { self.sink = sink }
    func contextEnded(_ reason: Reason) { sink.cancel() }
}

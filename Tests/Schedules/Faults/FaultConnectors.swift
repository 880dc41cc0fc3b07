// Sources and sinks of the host that fail, stall, are slow, end early, deliver garbage.
import CMessage
import StreamCore
import Synchronization

/// Sends the numbers after `base`.
final class FaultSource: HostSource {
    enum Fault: Equatable {
        case none
        /// At the n-th value, counted from 0.
        case fails(Int), stalls(Int), ends(Int), delivers(garbageAt: Int)
        /// So many milliseconds after every eighth value.
        case isSlow(Int)
    }

    private let pipeline: FaultPipeline
    private let ledger: FaultLedger
    private let pause: SeatPause
    private let isStopped = Atomic<Bool>(false)

    init(_ pipeline: FaultPipeline, _ ledger: FaultLedger, _ scheduler: Scheduler) {
        self.pipeline = pipeline
        self.ledger = ledger
        pause = SeatPause(scheduler: scheduler)
    }

    func run(_ outlet: Outlet) throws(ConnectorError) {
        for n in 0..<pipeline.count {
            if isStopped.load(ordering: .relaxed) { return }
            switch pipeline.sourceFault {
            case .fails(n):
                ledger.fire("the source of \(pipeline.id) fails", harms: pipeline.id)
                throw ConnectorError("the source of \(pipeline.id) is broken")
            case .stalls(n):
                ledger.fire("the source of \(pipeline.id) stalls", harms: nil)
                outlet.flush()
                pause.sleep(2_000_000_000)
            case .ends(n):
                ledger.fire("the source of \(pipeline.id) ends", harms: nil)
                return
            case .delivers(garbageAt: n):
                ledger.fire(
                    "the source of \(pipeline.id) delivers garbage", harms: pipeline.skipsErrors ? nil : pipeline.id)
                if !outlet.reject("garbage of \(pipeline.id)", text: "\u{1}\u{2}") {
                    throw ConnectorError("garbage of \(pipeline.id)")
                }
            case .isSlow(let milliseconds) where n % 8 == 7:
                outlet.flush()
                pause.sleep(Int64(milliseconds) * 1_000_000)
            default: break
            }
            if isStopped.load(ordering: .relaxed) { return }
            let id = pipeline.base + 1 + n
            guard let place = outlet.reserve(size: 16) else { return }
            place.storeBytes(
                of: msg_header(size: 16, kind: UInt8(MSG_INTEGER), flags: 0, shape: 0), as: msg_header.self)
            place.storeBytes(of: Int64(id), toByteOffset: 8, as: Int64.self)
            ledger.note("made", pipeline.id, id)
        }
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        pause.wake()
    }
}

/// Gathers numbers and hands them to the ledger when it is flushed.
final class FaultSink: HostSink {
    enum Fault: Equatable {
        case none, failsToOpen, failsToClose
        /// At the n-th value, counted from 0; `breaks`: nobody reads it any more.
        case fails(Int), failsToFlush(Int), stalls(Int), breaks(Int)
        case isSlow(Int)
    }

    private struct State {
        var gathered: [Int] = []
        var count = 0
        var calls: [String: Int] = [:]
    }
    private let pipeline: FaultPipeline
    private let ledger: FaultLedger
    private let pause: SeatPause
    private let state = Mutex(State())
    private let isCancelled = Atomic<Bool>(false)

    init(_ pipeline: FaultPipeline, _ ledger: FaultLedger, _ scheduler: Scheduler) {
        self.pipeline = pipeline
        self.ledger = ledger
        pause = SeatPause(scheduler: scheduler)
    }

    private func fail(_ how: String, isBrokenPipe: Bool = false) -> ConnectorError {
        ledger.fire("the sink of \(pipeline.id) \(how)", harms: pipeline.id)
        return ConnectorError("the sink of \(pipeline.id) \(how)", isBrokenPipe: isBrokenPipe)
    }

    func open() throws(ConnectorError) {
        ledger.note("opened", pipeline.id, 0)
        if pipeline.sinkFault == .failsToOpen { throw fail("cannot be opened") }
    }

    func write(_ message: MessagePointer) throws(ConnectorError) {
        let count = state.withLock { $0.count }
        switch pipeline.sinkFault {
        case .fails(count): throw fail("fails")
        case .breaks(count): throw fail("is read no more", isBrokenPipe: true)
        case .stalls(count):
            ledger.fire("the sink of \(pipeline.id) stalls", harms: nil)
            if !isCancelled.load(ordering: .relaxed) { pause.sleep(2_000_000_000) }
        case .isSlow(let milliseconds) where count % 8 == 7:
            if !isCancelled.load(ordering: .relaxed) { pause.sleep(Int64(milliseconds) * 1_000_000) }
        default: break
        }
        let id = UnsafeRawPointer(message).load(fromByteOffset: 8, as: Int64.self)
        state.withLock {
            $0.count += 1
            $0.gathered.append(message.pointee.kind == UInt8(MSG_INTEGER) ? Int(id) : -1)
        }
    }

    func flush() throws(ConnectorError) {
        let (count, gathered) = state.withLock { ($0.count, $0.gathered) }
        if case .failsToFlush(let n) = pipeline.sinkFault, count > n { throw fail("cannot be flushed") }
        state.withLock { $0.gathered = [] }
        for id in gathered {
            ledger.arrive(pipeline.id, id)
            ledger.count(pipeline.id)
        }
    }

    func close() throws(ConnectorError) {
        ledger.note("closed", pipeline.id, 0)
        if pipeline.sinkFault == .failsToClose { throw fail("cannot be closed") }
    }

    func cancel() {
        isCancelled.store(true, ordering: .relaxed)
        pause.wake()
    }

    /// What was gathered and not flushed.
    var lost: Int { state.withLock { $0.gathered.count } }
}

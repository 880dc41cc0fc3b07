// Puts the results of the workers of an ordered stage back in the order of its input.
import DequeModule
import StreamCore

/// Moves what the workers of an ordered stage make, each on a lane of its own, to the stage's output, in the order of
/// the tickets that they got for their shares of the input. After the last ticket follows what is emitted at the end of
/// the input (`flush`, the state of a reduce), in the order of the workers.
///
/// No deadlock: only the worker that has the next ticket is waited for, and its lane is emptied meanwhile; the others
/// work on until their lanes are full. Whoever hands out a ticket or ends the log wakes it.
final class Sequencer: Pump, @unchecked Sendable {  // as Pump
    let log: TicketLog
    private let lanes: [Channel]
    /// What was taken from each lane and not passed on: the rest may belong to a later ticket.
    private var held: [Batch?]
    /// Messages taken from each lane, marks counted, and those that were left there at the end.
    private(set) var takenFrom: [Int]
    private(set) var leftIn: [Int]
    /// Moved and not yet credited, by lane, and the lanes of which there is some: its worker gets its room back when
    /// this waits, or has used up what it took from the lane.
    private var owed: [Int]
    private var owing: [Int] = []
    /// Tickets taken from the log.
    private var tickets = Deque<Int>()
    /// No tickets follow those.
    private var isLogOver = false
    /// The lane whose turn it is.
    private var turn: Int?
    /// A planted bug, so that the tests can be tested.
    var isSwapped = false
    /// All tickets are done.
    private var isDraining = false

    init(
        log: TicketLog, lanes: [Channel], to output: Channel, scheduler: Scheduler, context: Context,
        done: @escaping (Pump) -> Void
    ) {
        self.log = log
        self.lanes = lanes
        held = lanes.map { _ in nil }
        owed = lanes.map { _ in 0 }
        takenFrom = owed
        leftIn = owed
        super.init(scheduler: scheduler, output: output, context: context, done: done)
    }

    override func step() -> Step {
        guard let lane = turn else { return nextTurn() }
        if held[lane] == nil {
            let most = scheduler.batchLimit(256)
            switch lanes[lane].takeBatch(most, nil) {
            case .batch(let batch): hold(batch, of: lane)
            case .closed: return laneEnded(lane)
            case .empty, .waiting:
                flush()
                switch lanes[lane].takeBatch(most, waiter) {
                case .batch(let batch): hold(batch, of: lane)
                case .closed: return laneEnded(lane)
                case .empty, .waiting: return .waits
                }
            }
        }
        return move(lane)
    }

    private func hold(_ batch: Batch, of lane: Int) {
        takenFrom[lane] += batch.count
        held[lane] = batch
    }

    private func nextTurn() -> Step {
        if tickets.isEmpty && !isLogOver { isLogOver = !log.take(into: &tickets) }
        if let lane = isSwapped ? tickets.popLast() : tickets.popFirst() {
            turn = lane
        } else if isLogOver {
            isDraining = true
            turn = 0
        } else {
            flush()
            return .idle
        }
        return .more
    }

    override func flush() {
        super.flush()
        for lane in owing { credit(lane) }
        owing.removeAll(keepingCapacity: true)
    }

    private func credit(_ lane: Int) {
        guard owed[lane] > 0 else { return }
        // All of it, also if it is little: its worker may wait for room while this waits for another lane.
        lanes[lane].credit(owed[lane], bytes: 0, all: true)
        owed[lane] = 0
    }

    /// Its worker has ended. Before the last ticket is done that is an early end, which the others learn too.
    private func laneEnded(_ lane: Int) -> Step {
        guard isDraining else {
            turn = nil
            return .more
        }
        turn = lane + 1
        return lane + 1 < lanes.count ? .more : .over
    }

    private func move(_ lane: Int) -> Step {
        let batch = held[lane]!
        if owed[lane] == 0 { owing.append(lane) }
        while let message = batch.first {
            if message.isMark {
                advance(lane, batch)
                if isDraining { continue }
                turn = nil
                break
            }
            switch emit(message) {
            case .sent: advance(lane, batch)
            case .waits:
                if output!.isOneByOne {  // it waits in the waiter
                    advance(lane, batch)
                    flush()
                }
                return .waits
            case .closed: return .over
            }
        }
        if batch.isEmpty {
            held[lane] = nil
            credit(lane)
        }
        return .more
    }

    private func advance(_ lane: Int, _ batch: Batch) {
        batch.removeFirst()
        owed[lane] += 1
    }

    override func resumed(_ outcome: WaitOutcome) {
        if case .batch = outcome, let turn, let batch = waiter.batch {
            hold(batch, of: turn)
            waiter.batch = nil
        }
    }

    override func release() -> Int {
        if let turn, let batch = waiter.batch {
            hold(batch, of: turn)
            waiter.batch = nil
        }
        var left = 0
        for (lane, channel) in lanes.enumerated() {
            left += held[lane]?.dropValues() ?? 0
            let rest = channel.closeReading()
            leftIn[lane] += rest.count
            left += rest.dropValues()
            held[lane] = nil
        }
        return left
    }
}

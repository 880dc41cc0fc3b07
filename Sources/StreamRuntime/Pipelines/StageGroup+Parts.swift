// What a stage with several workers consists of.
//
//   plain      link -> workers -> link                      they share both
//   ordered    link -> workers -> lanes -> sequencer -> link
//   key        link -> dealer -> lanes -> workers -> link    a key's function: link -> its worker -> dealer -> ...
//   both       link -> dealer -> lanes -> workers -> lanes -> sequencer -> link
import CMessage
import LuaVM
import StreamCore

extension StageGroup {
    /// Values that a worker of an ordered stage may be ahead.
    private static let longestLane = 256

    typealias Parts = (workers: [StageWorker], pumps: [Pump])

    /// Makes the workers and what moves values to them and from them.
    func makeParts() -> Parts {
        let count = stage.workers
        var parts: Parts = ([], [])
        var sequencer: Sequencer?
        var results: [Channel] = []
        if stage.isSequenced {
            // room for what the link holds, and a mark
            let capacity = max(1, min(Self.longestLane, output.capacity)) + 1
            results = makeLanes(count, capacity, "the results of")
            sequencer = Sequencer(
                log: TicketLog(), lanes: results, to: output, scheduler: run.scheduler, context: context
            ) { [self] pump in
                var totals = StageTotals()
                totals.dropped = pump.dropped
                totals.put = pump.sent
                let sequencer = pump as! Sequencer
                for (index, lane) in results.enumerated() {
                    tell(of: lane) {
                        $0.taken += sequencer.takenFrom[index]
                        $0.left += sequencer.leftIn[index]
                    }
                }
                if let queue = pump.fullQueue {
                    pipeline.fail(
                        describe(ScriptFailure(message: queue.overflowMessage), of: links.last!, value: nil))
                }
                ended(totals)
            }
            sequencer!.isSwapped = run.environment.planted == .ticketsSwapped
            parts.pumps.append(sequencer!)
        }
        var shares: [Channel] = []
        if stage.isDealt {
            shares = makeLanes(count, stage.split.lane, "the queue of")
            if case .process = stage.kind { for lane in shares { lane.exposure = ExposedLink(isInput: true) } }
            var dealt = input!
            var key = DealKey.marked
            if case .field(let name) = stage.key { key = .field(name) }
            if let keyImage {
                dealt = Channel(capacity: stage.split.lane, name: "the queue of \"\(stage.name)\" behind its key")
                let seat = StageWorker.Seat(input: input, output: dealt, givesBack: givesBack)
                parts.workers.append(
                    StageWorker(
                        group: self, image: keyImage, name: "\(stage.name) (key)", seat: seat, keyLanes: count))
            }
            let isInput = dealt === input
            parts.pumps.append(
                Dealer(
                    from: dealt, to: shares, by: key, givesBack: givesBack && isInput, sequencer: sequencer,
                    scheduler: run.scheduler, context: context, meter: meter, judge: judgeKey
                ) { [self] pump in
                    // What it deals is received by the workers.
                    let dealer = pump as! Dealer
                    var totals = StageTotals()
                    totals.failed = dealer.failed
                    totals.deadLettered = dealer.lettered
                    totals.received = totals.failed + totals.deadLettered
                    totals.dropped = pump.dropped
                    for (index, lane) in shares.enumerated() { tell(of: lane) { $0.put += dealer.sent(to: index) } }
                    if isInput {
                        totals.taken = dealer.taken
                        totals.returned = dealer.returned
                        if givesBack { totals.enter(dealer.taken) }
                    } else {
                        let left = dealt.closeReading().drop()
                        totals.dropped += left
                        tell(of: dealt) {
                            $0.taken += dealer.taken
                            $0.left += left
                        }
                    }
                    ended(totals)
                })
        }
        for index in 0..<count {
            var seat = StageWorker.Seat(
                input: stage.isDealt ? shares[index] : input, output: stage.isSequenced ? results[index] : output,
                givesBack: givesBack && !stage.isDealt)
            seat.ownsInput = stage.isDealt
            seat.ownsOutput = stage.isSequenced
            seat.sequencer = sequencer
            if !stage.isDealt && count > 1, let input {
                if !givesBack { seat.adaptive = AdaptiveBatch(capacity: input.capacity, workers: count) }
                seat.ticket = sequencer.map { ReaderSeat(log: $0.log, reader: index) }
            }
            let title = links.map(\.name).joined(separator: " + ")
            parts.workers.append(
                StageWorker(
                    group: self, image: image!, name: count == 1 ? title : "\(title) (\(index + 1) of \(count))",
                    seat: seat))
        }
        return parts
    }

    private func makeLanes(_ count: Int, _ capacity: Int, _ what: String) -> [Channel] {
        (1...count).map { Channel(capacity: capacity, name: "\(what) \"\(stage.name)\" (\($0) of \(count))") }
    }

    /// What follows a value without a key. Called by the dealer, which counts it.
    private func judgeKey(_ problem: String, _ value: MessagePointer, _ count: Int) -> KeyJudgement {
        let isQuiet = stage.skipsErrors && count > Self.loggedFailures
        let text = isQuiet ? nil : HostAPI.describe(value)
        let otherwise = { [self] in
            judge(ScriptFailure(message: problem), of: stage, value: text, count: UInt64(count))
        }
        guard let link = letters[0] else { return otherwise() ? .goOn : .stop }
        return .letter(
            PumpLetter(
                to: link, of: pipeline, value, error: problem, stage: stage.name, otherwise: otherwise))
    }
}

extension HostAPI {
    /// The value of a message for people, shortened. In a state of its own, so rarely.
    static func describe(_ message: MessagePointer) -> String? {
        guard let vm = LuaVM(host: host, owner: nil, memoryLimit: 0, seed: 0, hashSeed: 0) else { return nil }
        guard vm.main.decode(message) else { return nil }
        return vm.main.describe(-1, limit: 160)
    }
}

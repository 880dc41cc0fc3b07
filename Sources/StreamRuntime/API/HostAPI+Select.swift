// select: waits for the first of several channel operations. The table of cases is read, and `run` called, in select.c.
import LuaVM
import StreamCore

extension HostAPI {
    /// select(cases): the number of the case that was taken, and what it gave.
    static let select: LuaFunction = { state, vm in
        Worker.with(vm) { select($0, LuaStack(state), LuaSelection(vm!)) }
    }

    private static func select(_ worker: Worker, _ stack: LuaStack, _ cases: LuaSelection) -> Int32 {
        let select = worker.takeSelect()
        select.begin(messages: cases.messages, used: cases.messageBytes, holdsObjects: cases.holdsObjects)
        for position in 0..<cases.count {
            let item = cases[position]
            let channel = Unmanaged<Channel>.fromOpaque(item.channel)
            if item.offset < 0 {
                select.addReceive(channel, index: item.index)
            } else {
                select.addSend(channel, index: item.index, offset: item.offset)
            }
        }
        var limit: Int64?
        let after = cases.after
        if after > 0 {
            limit = nanoseconds(stack, 2)
            if limit == nil {
                giveUp(worker, select)
                return misuse(
                    worker, stack,
                    "after of case \(after) of select expected \(durationHint), got \(stack.shown(2))")
            }
        }
        worker.received.drop()
        let random = cases.count > 1 ? worker.scheduler.random() : 0
        var outcome = select.attempt(random: random, into: worker.received)
        if case .pending = outcome {
            let otherwise = cases.otherwise
            if otherwise > 0 {
                giveUp(worker, select)
                stack.push(Int64(otherwise))
                return 1
            }
            if let raised = cannotWait(worker, stack, "select") {
                giveUp(worker, select)
                return raised
            }
            select.afterCase = after
            outcome = worker.currentSeat!._withUnsafeGuaranteedRef { select.wait($0, into: worker.received) }
            if case .pending = outcome { return wait(worker, stack, .select(select), timeout: limit) }
        }
        return conclude(worker, stack, select, outcome)
    }

    private static func giveUp(_ worker: Worker, _ select: Select) {
        select.finish(nil, .pending)
        worker.giveBack(select)
    }

    /// The wait of a select is over.
    static func finish(_ select: Select, _ worker: Worker, _ stack: LuaStack) -> Int32 {
        let seat = worker.currentSeat!
        var outcome = seat._withUnsafeGuaranteedRef { $0.outcome }
        switch outcome {
        case .received:
            seat._withUnsafeGuaranteedRef { $0.moveInbox(to: worker.received) }
        case .ended:
            // The context's own `done` wins over its end, whichever of the two was told first.
            if let done = worker.current!.context.doneChannelInUse, let index = select.receiveCase(of: done) {
                outcome = .closed(index: index)
            }
        default: break
        }
        return conclude(worker, stack, select, outcome)
    }

    /// The results of the case that was taken; a received message is the worker's already.
    private static func conclude(_ worker: Worker, _ stack: LuaStack, _ select: Select, _ outcome: WaitOutcome) -> Int32
    {
        count(outcome, of: select, in: worker)
        if worker.countsOutput, case .sent(let index) = outcome {
            // Where that is too much it is sent, and then the worker is stopped.
            _ = LuaVM.countOutput(worker.vmPointer, select.size(of: index))
        }
        let after = select.afterCase
        if let seat = worker.currentSeat {
            seat._withUnsafeGuaranteedRef { select.finish($0, outcome) }
        } else {
            select.finish(nil, outcome)
        }
        worker.giveBack(select)
        switch outcome {
        case .received(let index):
            stack.push(Int64(index))
            LuaVM.setInbox(worker.vmPointer, worker.received.message!)
            return LuaResult.value
        case .sent(let index):
            stack.push(Int64(index))
            stack.push(true)
            return 2
        case .closed(let index):
            stack.push(Int64(index))
            stack.pushNil()
            stack.push(Reason.closed.description)
            return 3
        case .done:
            stack.push(Int64(after))
            return 1
        case .ended(let reason): return refuse(stack, reason)
        case .pending, .batch, .granted: preconditionFailure("a select ends with a case or a reason")
        }
    }

    /// A stage's function that selects on its own input and output is counted as one that receives and sends.
    static func count(_ outcome: WaitOutcome, of select: Select, in worker: Worker) {
        switch outcome {
        case .received(let index): if let channel = select.channel(of: index) { worker.countReceived(from: channel) }
        case .sent(let index): if let channel = select.channel(of: index) { worker.countSent(on: channel) }
        default: break
        }
    }
}

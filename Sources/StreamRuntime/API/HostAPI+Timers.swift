// Channels that get the time.
import LuaVM
import StreamCore

extension HostAPI {
    /// ticker(interval): a channel that gets the time every interval, until it is closed.
    static let ticker: LuaFunction = { state, vm in makeTicker(state, vm, repeats: true) }
    /// after(time): a channel that gets the time once, and is closed then.
    static let after: LuaFunction = { state, vm in makeTicker(state, vm, repeats: false) }

    /// `<close>` of a ticker, a timer, a channel: what is closed already stays so.
    static let channelScopeEnd: LuaFunction = { state, vm in
        if let channel = channel(LuaStack(state), 1), !(channel.keeper is Context) { channel.close() }
        return 0
    }

    private static func makeTicker(_ state: OpaquePointer?, _ vm: OpaquePointer?, repeats: Bool) -> Int32 {
        let stack = LuaStack(state), worker = Worker.of(vm), name = repeats ? "ticker" : "after"
        guard let time = nanoseconds(stack, 1) else {
            return misuse(worker, stack, "argument 1 of \(name) expected \(durationHint), got \(stack.shown(1))")
        }
        if repeats && time == 0 {
            return misuse(worker, stack, "argument 1 of ticker expected a duration above 0, got \(stack.shown(1))")
        }
        let run = worker.run
        worker.vm.charge(Worker.timerBytes)
        let ticker = Ticker(
            scheduler: worker.scheduler, interval: time, repeats: repeats, name: "the \(name) of \(stack.place)"
        ) { [weak run, weak worker] in
            run?.ended($0)
            worker?.giveBack(Worker.timerBytes)
        }
        run.start(ticker)
        push(stack, ticker.channel)
        return 1
    }
}

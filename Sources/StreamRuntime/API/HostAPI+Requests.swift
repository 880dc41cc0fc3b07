// What a stage says of how much it wants.
import LuaVM
import StreamCore

extension HostAPI {
    /// request(n): so many more values may come into the queue in front of a stage.
    static let channelRequest: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let channel = channel(stack, 1) else {
            return misuse(
                worker, stack,
                "request expected a stage's input, got \(stack.kind(1)): call it as input:request(n)")
        }
        guard let n = requested(stack) else {
            return misuse(
                worker, stack,
                "argument 1 of request expected how many more values to take, a whole number from 1, got "
                    + "\(stack.shown(2))")
        }
        if channel.request(n) { return 0 }
        return misuse(worker, stack, "request expected a stage's input: " + problem(channel, worker))
    }

    private static func requested(_ stack: LuaStack) -> Int? {
        if let number = stack.number(2), number == .infinity { return .max }
        guard stack.type(2) == .number, let n = stack.integer(2), n >= 1 else { return nil }
        return Int(n)
    }

    /// Why nothing can be requested from `channel`.
    private static func problem(_ channel: Channel, _ worker: Worker) -> String {
        guard channel === worker.stageInput else {
            return "\(channel.name) is none. Whoever sends on a channel waits when it is full: bound its capacity"
        }
        if channel.overflow != .block {
            return
                "\(channel.name) has overflow = \"\(channel.overflow.name)\", so it drops values rather than wait for "
                + "requests"
        }
        if channel.capacity == 0 {
            return "\(channel.name) is a rendezvous (queue = 0), which takes in nothing that the stage does not receive"
        }
        return
            "this stage reads \(channel.name) itself, and nothing is taken in that it does not receive; with key the "
            + "values are dealt before it asks"
    }
}

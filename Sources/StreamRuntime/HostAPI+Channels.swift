// Channels, as scripts see them.
import LuaVM
import StreamCore

extension HostAPI {
    /// chan(capacity)
    static let makeChannel: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let capacity = stack.integer(1), capacity >= 0, capacity <= 1 << 40 else {
            return misuse(
                worker, stack,
                "argument 1 of chan expected a capacity, a whole number from 0, got \(stack.describe(1))")
        }
        push(stack, Channel(capacity: Int(capacity), name: "the channel of \(stack.place)"))
        return 1
    }

    private static func subject(_ worker: Worker, _ stack: LuaStack, _ method: String) -> Result<Channel, Raised> {
        if let channel = channel(stack, 1) { return .success(channel) }
        return .failure(
            Raised(
                code: misuse(
                    worker, stack,
                    "\(method) expected a channel, got \(stack.kind(1)): call it as channel:\(method)(...)")))
    }

    struct Raised: Error { let code: Int32 }

    /// A timeout argument: nil is none.
    private static func timeout(_ worker: Worker, _ stack: LuaStack, _ index: Int32) -> Result<Int64?, Raised> {
        if stack.isNil(index) { return .success(nil) }
        if let time = nanoseconds(stack, index) { return .success(time) }
        return .failure(
            Raised(
                code: misuse(
                    worker, stack, "argument \(index - 1) expected \(durationHint), got \(stack.describe(index))")))
    }

    private static func send(_ state: OpaquePointer?, _ vm: OpaquePointer?, waits: Bool) -> Int32 {
        let stack = LuaStack(state), worker = Worker.of(vm)
        let channel: Channel, limit: Int64?
        switch subject(worker, stack, waits ? "send" : "try_send") {
        case .success(let found): channel = found
        case .failure(let raised): return raised.code
        }
        switch timeout(worker, stack, 3) {
        case .success(let time): limit = time
        case .failure(let raised): return raised.code
        }
        switch stack.encode(2, in: vm!) {
        case .failure(let problem): return misuse(worker, stack, problem.description)
        case .success(let message):
            switch channel.trySend(message, refuses: !waits) {
            case .sent:
                worker.countSent(on: channel)
                stack.push(true)
                return 1
            case .overflow:
                worker.countSent(on: channel)
                return full(worker, stack, channel)
            case .closed:
                message.releaseObjects()
                return refuse(stack, .closed)
            case .full, .waiting:
                guard waits else {
                    message.releaseObjects()
                    return refuse(stack, .full)
                }
                if let raised = cannotWait(worker, stack, "send") {
                    message.releaseObjects()
                    return raised
                }
                switch channel.send(message, worker.current!.waiter) {
                case .sent:
                    worker.countSent(on: channel)
                    stack.push(true)
                    return 1
                case .overflow:
                    worker.countSent(on: channel)
                    return full(worker, stack, channel)
                case .closed, .full:
                    message.releaseObjects()
                    return refuse(stack, .closed)
                case .waiting: return wait(worker, stack, .send(channel), timeout: limit)
                }
            }
        }
    }

    /// The queue behind a stage is full, and its policy is to fail: raises that at the script's line.
    private static func full(_ worker: Worker, _ stack: LuaStack, _ channel: Channel) -> Int32 {
        let place = stack.place
        stack.push((place.isEmpty ? "" : place + ": ") + channel.overflowMessage)
        return LuaResult.raise
    }

    static let channelSend: LuaFunction = { state, vm in send(state, vm, waits: true) }
    static let channelTrySend: LuaFunction = { state, vm in send(state, vm, waits: false) }

    private static func deliver(_ worker: Worker, _ channel: Channel) -> Int32 {
        worker.countReceived(from: channel)
        LuaVM.setInbox(worker.vm.pointer, worker.received.message!)
        return LuaResult.value
    }

    private static func receive(
        _ worker: Worker, _ stack: LuaStack, _ channel: Channel, _ wait: Wait, _ limit: Int64?
    ) -> Int32 {
        worker.received.drop()
        var isRange = false
        if case .range = wait { isRange = true }
        switch channel.tryReceive(into: worker.received) {
        case .received: return deliver(worker, channel)
        case .closed:
            stack.pushNil()
            if isRange { return 1 }
            stack.push(Reason.closed.description)
            return 2
        case .empty, .waiting:
            if let raised = cannotWait(worker, stack, isRange ? "range" : "recv") { return raised }
            let waiter = worker.current!.waiter!
            switch channel.receive(waiter) {
            case .received:
                worker.received.fill(waiter.inbox.message!)
                waiter.inbox.moved()
                return deliver(worker, channel)
            case .closed:
                stack.pushNil()
                if isRange { return 1 }
                stack.push(Reason.closed.description)
                return 2
            case .empty, .waiting: return HostAPI.wait(worker, stack, wait, timeout: limit)
            }
        }
    }

    static let channelReceive: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        switch subject(worker, stack, "recv") {
        case .failure(let raised): return raised.code
        case .success(let channel):
            switch timeout(worker, stack, 2) {
            case .failure(let raised): return raised.code
            case .success(let limit): return receive(worker, stack, channel, .receive(channel), limit)
            }
        }
    }

    static let channelTryReceive: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        switch subject(worker, stack, "try_recv") {
        case .failure(let raised): return raised.code
        case .success(let channel):
            worker.received.drop()
            switch channel.tryReceive(into: worker.received) {
            case .received: return deliver(worker, channel)
            case .closed: return refuse(stack, .closed)
            case .empty, .waiting: return refuse(stack, .empty)
            }
        }
    }

    /// range(): the iterator function and the channel.
    static let channelRange: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        if case .failure(let raised) = subject(worker, stack, "range") { return raised.code }
        stack.push(rangeNext)
        stack.pushCopy(1)
        return 2
    }

    private static let rangeNext: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        switch subject(worker, stack, "range") {
        case .failure(let raised): return raised.code
        case .success(let channel): return receive(worker, stack, channel, .range(channel), nil)
        }
    }

    static let channelClose: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        switch subject(worker, stack, "close") {
        case .failure(let raised): return raised.code
        case .success(let channel):
            return channel.close() ? 0 : misuse(worker, stack, "close of a closed channel")
        }
    }

    static let channelIsClosed: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        switch subject(worker, stack, "is_closed") {
        case .failure(let raised): return raised.code
        case .success(let channel):
            stack.push(channel.isClosed)
            return 1
        }
    }

    static let channelCapacity: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        switch subject(worker, stack, "capacity") {
        case .failure(let raised): return raised.code
        case .success(let channel):
            stack.push(Int64(channel.capacity))
            return 1
        }
    }

    static let channelLength: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(Int64(channel(stack, 1)?.count ?? 0))
        return 1
    }

    static let isChannel: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(channel(stack, 1) != nil)
        return 1
    }

    // MARK: Channels that pipelines feed

    private static let feeders = Feeders()

    private final class Feeders: @unchecked Sendable {  // `lock`
        let lock = Lock()
        var counts: [ObjectIdentifier: Int] = [:]
    }

    /// Counts the pipelines that end in `channel`; returns how many are left.
    @discardableResult
    static func feed(_ channel: Channel, _ change: Int) -> Int {
        feeders.lock.withLock {
            let left = (feeders.counts[ObjectIdentifier(channel)] ?? 0) + change
            feeders.counts[ObjectIdentifier(channel)] = left == 0 ? nil : left
            return left
        }
    }
}

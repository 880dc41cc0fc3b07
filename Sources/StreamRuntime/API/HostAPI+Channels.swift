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
                "argument 1 of chan expected a capacity, a whole number from 0, got \(stack.shown(1))")
        }
        let channel = Channel(capacity: Int(capacity), name: "the channel of \(stack.place)")
        channel.maker = ObjectIdentifier(worker)
        push(stack, channel)
        return 1
    }

    private static func notAChannel(_ worker: Worker, _ stack: LuaStack, _ method: String) -> Int32 {
        misuse(
            worker, stack, "\(method) expected a channel, got \(stack.kind(1)): call it as channel:\(method)(...)")
    }

    private static func noDuration(_ worker: Worker, _ stack: LuaStack, _ index: Int32, _ method: String) -> Int32 {
        misuse(
            worker, stack,
            "argument \(index - 1) of \(method) expected \(durationHint), got \(stack.shown(index))")
    }

    /// Calls `body` with the channel at index 1, and without counting references: the script's stack keeps the channel,
    /// and the running worker itself.
    @inline(__always)
    private static func withChannel(
        _ stack: LuaStack, _ vm: OpaquePointer?, _ method: StaticString, _ body: (Worker, Channel) -> Int32
    ) -> Int32 {
        Worker.with(vm) { worker in
            guard let reference = stack.object(1, channelType) else {
                return notAChannel(worker, stack, "\(method)")
            }
            return Unmanaged<Channel>.fromOpaque(reference)._withUnsafeGuaranteedRef { body(worker, $0) }
        }
    }

    /// Sends with the running task's seat, if it can wait here and shall.
    @inline(__always)
    private static func send(
        _ message: MessagePointer, _ channel: Channel, _ worker: Worker, _ stack: LuaStack, waits: Bool
    ) -> Channel.SendResult {
        guard waits, let seat = worker.currentSeat, stack.canWait else { return channel.trySend(message) }
        return seat._withUnsafeGuaranteedRef { channel.send(message, $0) }
    }

    @inline(__always)
    private static func receive(
        _ channel: Channel, _ worker: Worker, _ stack: LuaStack, waits: Bool
    ) -> Channel.ReceiveResult {
        worker.received.drop()
        guard waits, let seat = worker.currentSeat, stack.canWait else {
            return channel.receive(into: worker.received, nil)
        }
        return seat._withUnsafeGuaranteedRef { channel.receive(into: worker.received, $0) }
    }

    /// With a time of 0 nothing is waited for.
    private static func atOnce(_ worker: Worker, _ stack: LuaStack) -> Int32 {
        refuse(stack, worker.current?.context.reason ?? .timeout)
    }

    /// Counts a message as output of the value in hand. Where that is too much, it goes nowhere, and the worker is stopped.
    static func countOutput(_ message: MessagePointer, _ vm: OpaquePointer?, _ stack: LuaStack) -> Int32? {
        if LuaVM.countOutput(vm, Int(message.pointee.size)) { return nil }
        message.releaseObjects()
        stack.push("stopped")
        return LuaResult.raise
    }

    /// Calls `body` with the value at index 2 as a message, counted as output, and its size in bytes.
    @inline(__always)
    private static func withMessage(
        _ worker: Worker, _ vm: OpaquePointer?, _ stack: LuaStack, _ body: (MessagePointer, Int) -> Int32
    ) -> Int32 {
        guard let message = stack.encoded(2, in: vm!) else {
            return misuse(worker, stack, stack.encodingProblem(in: vm!))
        }
        let size = Int(message.pointee.size)
        if worker.countsOutput, let raised = countOutput(message, vm, stack) { return raised }
        return body(message, size)
    }

    /// A message of so many bytes is in the channel.
    @inline(__always)
    private static func sent(_ size: Int, _ worker: Worker, _ stack: LuaStack, _ channel: Channel) -> Int32 {
        worker.countSent(on: channel)
        worker.noteSent(size, on: channel)
        stack.push(true)
        return 1
    }

    static let channelSend: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        return withChannel(stack, vm, "send") { worker, channel in
            var limit: Int64?
            if !stack.isNil(3) {
                limit = nanoseconds(stack, 3)
                if limit == nil { return noDuration(worker, stack, 3, "send") }
            }
            return withMessage(worker, vm, stack) { message, size in
                switch send(message, channel, worker, stack, waits: limit != 0) {
                case .sent: return sent(size, worker, stack, channel)
                case .waiting:
                    worker.withCurrent { worker.charge(size, to: $0) }
                    return wait(worker, stack, .send(.passUnretained(channel)), timeout: limit)
                case .overflow: return full(worker, stack, channel)
                case .closed:
                    message.releaseObjects()
                    return refuse(stack, .closed)
                case .full:
                    message.releaseObjects()
                    return limit == 0 ? atOnce(worker, stack) : noWait(worker, stack, "send")
                }
            }
        }
    }

    static let channelTrySend: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        return withChannel(stack, vm, "try_send") { worker, channel in
            withMessage(worker, vm, stack) { message, size in
                switch channel.trySend(message, refuses: true) {
                case .sent: return sent(size, worker, stack, channel)
                case .overflow: return full(worker, stack, channel)
                case .closed:
                    message.releaseObjects()
                    return refuse(stack, .closed)
                case .full, .waiting:
                    message.releaseObjects()
                    return refuse(stack, .full)
                }
            }
        }
    }

    /// The queue behind a stage is full, and its policy is to fail, which counts as sent: raises that at the script's line.
    private static func full(_ worker: Worker, _ stack: LuaStack, _ channel: Channel) -> Int32 {
        worker.countSent(on: channel)
        let place = stack.place
        stack.push((place.isEmpty ? "" : place + ": ") + channel.overflowMessage)
        return LuaResult.raise
    }

    private static func deliver(_ worker: Worker, _ vm: OpaquePointer?, _ channel: Channel) -> Int32 {
        worker.countReceived(from: channel)
        LuaVM.setInbox(vm, worker.received.message!)
        return LuaResult.value
    }

    static let channelReceive: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        return withChannel(stack, vm, "recv") { worker, channel in
            var limit: Int64?
            if !stack.isNil(2) {
                limit = nanoseconds(stack, 2)
                if limit == nil { return noDuration(worker, stack, 2, "recv") }
            }
            switch receive(channel, worker, stack, waits: limit != 0) {
            case .received: return deliver(worker, vm, channel)
            case .waiting: return wait(worker, stack, .receive(.passUnretained(channel)), timeout: limit)
            case .closed: return refuse(stack, .closed)
            case .empty: return limit == 0 ? atOnce(worker, stack) : noWait(worker, stack, "recv")
            }
        }
    }

    static let channelTryReceive: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        return withChannel(stack, vm, "try_recv") { worker, channel in
            switch receive(channel, worker, stack, waits: false) {
            case .received: return deliver(worker, vm, channel)
            case .closed: return refuse(stack, .closed)
            case .empty, .waiting: return refuse(stack, .empty)
            }
        }
    }

    /// range(): the iterator function and the channel.
    static let channelRange: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        if channel(stack, 1) == nil { return notAChannel(worker, stack, "range") }
        stack.push(rangeNext)
        stack.pushCopy(1)
        return 2
    }

    private static let rangeNext: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        return withChannel(stack, vm, "range") { worker, channel in
            switch receive(channel, worker, stack, waits: true) {
            case .received: return deliver(worker, vm, channel)
            case .waiting: return wait(worker, stack, .range(.passUnretained(channel)))
            case .empty: return noWait(worker, stack, "range")
            case .closed:
                stack.pushNil()
                return 1
            }
        }
    }

    static let channelClose: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let channel = channel(stack, 1) else { return notAChannel(worker, stack, "close") }
        if channel.keeper is Context {
            return misuse(worker, stack, "close of a context's done channel, which its end closes: use ctx:cancel()")
        }
        return channel.close() ? 0 : misuse(worker, stack, "close of a closed channel")
    }

    static let channelIsClosed: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let channel = channel(stack, 1) else { return notAChannel(worker, stack, "is_closed") }
        stack.push(channel.isClosed)
        return 1
    }

    static let channelCapacity: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let channel = channel(stack, 1) else { return notAChannel(worker, stack, "capacity") }
        stack.push(Int64(channel.capacity))
        return 1
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

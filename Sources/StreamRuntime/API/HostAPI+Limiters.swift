// Limiters, as scripts see them.
import CMessage
import LuaVM
import StreamCore

extension HostAPI {
    static let limiterFunctions: [(String, LuaFunction)] = [
        ("limiter", makeLimiter), ("is_limiter", isLimiter), ("is_concurrency", isConcurrency),
    ]

    // MARK: Object types

    private static let limiterMethods: [(String, LuaFunction)] = [
        ("wait", limiterWait), ("reserve", limiterReserve), ("rate", limiterRate),
        ("set_rate", limiterSetRate), ("set_burst", limiterSetBurst), ("available", limiterAvailable),
        ("of", limiterOf),
    ]
    private static let deciding: [(String, LuaFunction)] = [("allow", limiterAllow)]
    private static let word: LuaWordFunction = {
        unsafeDowncast(SharedObject.from($0!), to: Limiter.self).wordPointer
    }
    static let limiterType = LuaObjectType(
        "limiter", phrase: "a limiter", shared: true, methods: limiterMethods, deciding: deciding, word: word)
    static let adaptiveType = LuaObjectType(
        "limiter", phrase: "a limiter", shared: true, methods: limiterMethods + [("report", limiterReport)],
        deciding: deciding, word: word)
    static let concurrencyType = LuaObjectType(
        "concurrency", phrase: "a limit of concurrency", shared: true,
        methods: [("acquire", acquire), ("available", limiterAvailable), ("of", limiterOf)],
        holding: [("run", acquire)])
    static let permitType = LuaObjectType(
        "permit", phrase: "a permit", shared: false, methods: [("release", permitRelease)],
        metamethods: [("__close", permitRelease)])
    static let reservationType = LuaObjectType("reservation", phrase: "a reservation", shared: false, methods: [])

    /// The reference to a limiter at `index`, of any type but, unless `permits`, a limit of concurrency.
    private static func reference(_ stack: LuaStack, _ index: Int32, permits: Bool) -> UnsafeMutableRawPointer? {
        if let found = stack.object(index, limiterType) ?? stack.object(index, adaptiveType) { return found }
        return permits ? stack.object(index, concurrencyType) : nil
    }

    static func limiter(_ stack: LuaStack, _ index: Int32, permits: Bool = false) -> Limiter? {
        reference(stack, index, permits: permits).map { unsafeDowncast(SharedObject.from($0), to: Limiter.self) }
    }

    // MARK: Construction

    /// limiter(kind, name, a, b, options): checked by the library's Lua side.
    private static let makeLimiter: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        func integer(_ index: Int32) -> Int64 { stack.integer(index) ?? 1 }
        func number(_ index: Int32) -> Double { stack.number(index) ?? 1 }
        let kind: LimiterSpec.Kind
        switch stack.string(1) ?? "" {
        case "leaky_bucket": kind = .leakyBucket(rate: number(3), capacity: integer(4))
        case "fixed_window": kind = .fixedWindow(limit: integer(3), window: nanoseconds(stack, 4) ?? 1)
        case "sliding_window": kind = .slidingWindow(limit: integer(3), window: nanoseconds(stack, 4) ?? 1)
        case "concurrency": kind = .concurrency(limit: integer(3))
        case "adaptive":
            kind = .adaptive(
                min: number(3), max: number(4), target: nanoseconds(stack, 5) ?? 1, burst: integer(6))
        default: kind = .tokenBucket(rate: number(3), burst: integer(4))
        }
        var spec = LimiterSpec(kind, name: stack.string(2) ?? "the limiter of \(stack.place)")
        let options = stack.top
        if stack.getField(options, "keys") == .number { spec.keys = Int(integer(-1)) }
        var rate: Double?
        if stack.getField(options, "lo") == .number {
            let low = number(-1)
            stack.getField(options, "hi")
            spec.bounds = low...number(-1)
            stack.getField(options, "out_of_bounds")
            switch stack.string(-1) ?? "" {
            case "clamp": spec.outOfBounds = .clamp
            case "fixed_window": spec.outOfBounds = .fixedWindow
            default: spec.outOfBounds = .reject
            }
            stack.getField(options, "out")
            rate = stack.number(-1)
        }
        let limiter = Limiter(spec, scheduler: worker.scheduler)
        // One that begins out of its bounds was made at the nearest, which it leaves at once for what the policy says.
        if let rate { _ = limiter.setRate(rate, worker.scheduler.now) }
        push(stack, limiter)
        return 1
    }

    private static let isLimiter: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(reference(stack, 1, permits: false) != nil)
        return 1
    }

    private static let isConcurrency: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        stack.push(stack.object(1, concurrencyType) != nil)
        return 1
    }

    // MARK: Arguments

    private static func notALimiter(_ worker: Worker, _ stack: LuaStack, _ method: String, _ what: String) -> Int32 {
        misuse(
            worker, stack,
            "\(method) expected \(what), got \(stack.kind(1)): call it as limiter:\(method)(...)")
    }

    /// How many: 1 if there is no argument; nil if it is none.
    private static func count(_ stack: LuaStack) -> Int64? {
        if stack.isNil(2) { return 1 }
        guard let n = stack.integer(2), n >= 0, n <= LimiterSpec.largest else { return nil }
        return n
    }

    private static func badCount(_ worker: Worker, _ stack: LuaStack, _ method: String) -> Int32 {
        misuse(
            worker, stack,
            "argument 1 of \(method) expected how many, a whole number from 0 to \(LimiterSpec.largest), got "
                + stack.shown(2))
    }

    /// Until when the running task may wait.
    private static func limit(_ worker: Worker, timeout: Int64?) -> WaitLimit? {
        let now = worker.scheduler.now
        return WaitLimit.first(
            timeout.map { WaitLimit(time: now &+ $0, reason: .timeout) },
            worker.current?.context.deadline.map { WaitLimit(time: $0, reason: .deadlineExceeded) })
    }

    static func describe(rate: Double) -> String {
        rate == rate.rounded() && abs(rate) < 1e15 ? "\(Int64(rate))" : "\(rate)"
    }

    // MARK: Asking

    /// allow([n]): whether n pass now. Called where the limiter's word alone cannot tell.
    static let limiterAllow: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let reference = reference(stack, 1, permits: false) else {
            return notALimiter(Worker.of(vm), stack, "allow", "a limiter")
        }
        guard let n = count(stack) else { return badCount(Worker.of(vm), stack, "allow") }
        // no reference count: the userdata on the stack keeps it
        let isAllowed =
            n == 0 || Unmanaged<Limiter>.fromOpaque(reference)._withUnsafeGuaranteedRef { $0.allow(n) }
        stack.push(isAllowed)
        return 1
    }

    /// wait([n [, timeout]]): true, or nil and the reason.
    static let limiterWait: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1) else { return notALimiter(worker, stack, "wait", "a limiter") }
        guard let n = count(stack) else { return badCount(worker, stack, "wait") }
        return wait(worker, stack, limiter, n, timeout: 3, "wait") { LimiterWait(limiter, $0) }
    }

    /// `done`: what an immediate grant returns; nil: true.
    private static func wait(
        _ worker: Worker, _ stack: LuaStack, _ limiter: Limiter, _ n: Int64, timeout index: Int32, _ method: String,
        _ begun: (UInt64) -> LimiterWait
    ) -> Int32 {
        let timeout: Int64?
        switch self.timeout(worker, stack, index, method) {
        case .success(let time): timeout = time
        case .failure(let raised): return raised.code
        }
        let limit = limit(worker, timeout: timeout)
        guard worker.current != nil, stack.canWait else {
            if n == 0 || limiter.allow(n) { return begun(0).give(worker, stack) }
            return cannotWait(worker, stack, method)!
        }
        switch limiter.wait(n, worker.current!.waiter, worker.scheduler.now, limit: limit) {
        case .granted: return begun(0).give(worker, stack)
        case .refused(let reason): return refuse(stack, reason)
        case .waiting(let ticket):
            // At its timeout itself it is served, if it can be.
            return wait(worker, stack, .host(begun(ticket)), timeout: timeout.map { $0 &+ 1 })
        }
    }

    /// reserve([n]): seconds to wait, and a function that gives it back; or nil and the reason.
    static let limiterReserve: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1) else { return notALimiter(worker, stack, "reserve", "a limiter") }
        guard let n = count(stack) else { return badCount(worker, stack, "reserve") }
        let now = worker.scheduler.now
        let reservation: LuaReservation
        if n == 0 {
            reservation = LuaReservation(limiter, ticket: 0, time: now)
        } else {
            switch limiter.reserve(n, now) {
            case .refused(let reason): return refuse(stack, reason)
            case .reserved(let ticket, let time):
                reservation = LuaReservation(limiter, ticket: ticket, time: time)
                reservation.number = worker.holdings.add(reservation, of: worker.current, now)
            }
        }
        stack.push(Double(reservation.time - now) / 1e9)
        return stack.push(giveBack, with: reservation.reference, reservationType) ? 2 : LuaResult.raise
    }

    private static let giveBack: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let reference = stack.object(1, reservationType) else { return 0 }
        let reservation = unsafeDowncast(SharedObject.from(reference), to: LuaReservation.self)
        worker.holdings.remove(reservation.number)
        reservation.giveBack()
        return 0
    }

    // MARK: What it says, and changes

    static let limiterRate: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        guard let limiter = limiter(stack, 1) else { return notALimiter(Worker.of(vm), stack, "rate", "a limiter") }
        let rate = limiter.rate
        if rate == rate.rounded() { stack.push(Int64(rate)) } else { stack.push(rate) }
        return 1
    }

    static let limiterAvailable: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1, permits: true) else {
            return notALimiter(worker, stack, "available", "a limiter")
        }
        stack.push(limiter.available(worker.scheduler.now))
        return 1
    }

    static let limiterSetRate: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1) else { return notALimiter(worker, stack, "set_rate", "a limiter") }
        let accepted = LimiterSpec.accepted
        var hint = "a rate from \(accepted.lowerBound) to \(describe(rate: accepted.upperBound)) a second"
        if let rate = stack.number(2) {
            switch limiter.setRate(rate, worker.scheduler.now) {
            case .done: return 0
            case .unusable:
                switch limiter.kind {
                case .fixedWindow, .slidingWindow: hint += " that lets at least one through in a window"
                default: break
                }
            case .outOfBounds(let bounds):
                hint =
                    "a rate from \(describe(rate: bounds.lowerBound)) to \(describe(rate: bounds.upperBound)) a second, "
                    + "the bounds of this limiter"
            }
        }
        return misuse(worker, stack, "argument 1 of set_rate expected \(hint), got \(stack.shown(2))")
    }

    static let limiterSetBurst: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1) else { return notALimiter(worker, stack, "set_burst", "a limiter") }
        var least: Int64 = 1, most = LimiterSpec.largest
        switch limiter.kind {
        case .leakyBucket: least = 0
        case .slidingWindow: most = LimiterSpec.largestSlidingWindow
        default: break
        }
        guard let burst = stack.integer(2), burst >= least, burst <= most else {
            return misuse(
                worker, stack,
                "argument 1 of set_burst expected a whole number from \(least) to \(most), got \(stack.shown(2))")
        }
        limiter.setBurst(burst, worker.scheduler.now)
        return 0
    }

    /// report(latency [, ok]): of an adaptive limiter.
    static let limiterReport: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1), limiter.isAdaptive else {
            return notALimiter(worker, stack, "report", "an adaptive limiter")
        }
        guard let latency = nanoseconds(stack, 2) else {
            return misuse(
                worker, stack, "argument 1 of report expected \(durationHint), got \(stack.shown(2))")
        }
        let isSuccess = stack.top < 3 || stack.boolean(3)  // left out: it was one
        limiter.report(latency: latency, ok: isSuccess, worker.scheduler.now)
        return 0
    }

    /// of(key): that key's own limiter.
    static let limiterOf: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1, permits: true) else {
            return notALimiter(worker, stack, "of", "a limiter")
        }
        if limiter.isOfKey {
            return misuse(worker, stack, "of: this is the limiter of a key, and has no keys of its own")
        }
        guard let key = key(stack, 2) else {
            return misuse(
                worker, stack,
                "argument 1 of of expected a key, a string, a number or a boolean, got \(stack.shown(2))")
        }
        push(stack, limiter.of(key, stack.describe(2, limit: 40)))
        return 1
    }

    /// The key at `index`, as the field of a message would give it.
    private static func key(_ stack: LuaStack, _ index: Int32) -> UInt64? {
        switch stack.type(index) {
        case .string:
            let bytes = stack.bytes(index)!
            return msg_hash_string(bytes.baseAddress, bytes.count)
        case .boolean: return msg_hash_boolean(stack.boolean(index))
        case .number:
            if stack.isInteger(index) { return msg_hash_integer(stack.integer(index)!) }
            let number = stack.number(index)!
            return number.isNaN ? nil : msg_hash_float(number)
        default: return nil
        }
    }

    // MARK: Permits

    /// acquire([timeout]): a permit, or nil and the reason.
    static let acquire: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let limiter = limiter(stack, 1, permits: true), limiter.isConcurrency else {
            return notALimiter(worker, stack, "acquire", "a limit of concurrency")
        }
        return wait(worker, stack, limiter, 1, timeout: 2, "acquire") { PermitWait(limiter, $0) }
    }

    static let permitRelease: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        guard let reference = stack.object(1, permitType) else {
            return misuse(worker, stack, "release expected a permit, got \(stack.kind(1)): call it as permit:release()")
        }
        let permit = unsafeDowncast(SharedObject.from(reference), to: Permit.self)
        worker.holdings.remove(permit.number)
        permit.takeBack()
        return 0
    }
}

extension Limiter: LuaVisible {
    var luaType: LuaObjectType {
        isConcurrency ? HostAPI.concurrencyType : isAdaptive ? HostAPI.adaptiveType : HostAPI.limiterType
    }
}

/// A task's wait for a limiter.
class LimiterWait: HostWait {
    let limiter: Limiter
    private let ticket: UInt64

    /// - Parameter ticket: 0: it was granted at once.
    init(_ limiter: Limiter, _ ticket: UInt64) {
        self.limiter = limiter
        self.ticket = ticket
    }

    var description: String { "waiting for \(limiter.name)" }

    func finish(_ worker: Worker, _ stack: LuaStack) -> Int32 {
        limiter.resumed(ticket, worker.scheduler.now)
        return give(worker, stack)
    }

    func abandon() { limiter.giveBackNow(ticket) }

    /// Pushes what the wait was for.
    func give(_ worker: Worker, _ stack: LuaStack) -> Int32 {
        stack.push(true)
        return 1
    }
}

/// The same for a permit.
private final class PermitWait: LimiterWait {
    override func give(_ worker: Worker, _ stack: LuaStack) -> Int32 {
        let permit = Permit(limiter)
        permit.number = worker.holdings.add(permit, of: worker.current, worker.scheduler.now)
        HostAPI.push(stack, permit)
        return 1
    }
}

/// One of the permits of a limit of concurrency. Its worker's thread alone.
final class Permit: SharedObject, Holding, LuaVisible, @unchecked Sendable {  // as said
    private let limiter: Limiter
    private var isReleased = false
    var number: UInt64 = 0

    init(_ limiter: Limiter) { self.limiter = limiter }

    var luaType: LuaObjectType { HostAPI.permitType }

    func takeBack() {
        guard !isReleased else { return }
        isReleased = true
        limiter.releaseNow()
    }

    func isHeld(_ now: Int64) -> Bool { !isReleased }
}

/// What `reserve` took, for the function that gives it back. Its worker's thread alone.
final class LuaReservation: SharedObject, Holding, LuaVisible, @unchecked Sendable {  // as said
    private let limiter: Limiter
    private let ticket: UInt64
    let time: Int64
    private var isOver: Bool
    var number: UInt64 = 0

    /// - Parameter ticket: 0: of nothing.
    init(_ limiter: Limiter, ticket: UInt64, time: Int64) {
        self.limiter = limiter
        self.ticket = ticket
        self.time = time
        isOver = ticket == 0
    }

    var luaType: LuaObjectType { HostAPI.reservationType }

    func giveBack() {
        guard !isOver else { return }
        isOver = true
        limiter.giveBackNow(ticket)
    }

    /// The worker cannot have used it before its time; what it may have used is gone.
    func takeBack() {
        guard !isOver else { return }
        isOver = true
        limiter.giveBackUnused(ticket, before: time)
    }

    func isHeld(_ now: Int64) -> Bool { !isOver && now < time }
}

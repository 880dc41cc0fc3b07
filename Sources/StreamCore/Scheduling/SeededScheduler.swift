// The scheduler of tests: one thread, a virtual clock, and an order that a seed decides.

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64
    public init(seed: UInt64) { state = seed }
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Runs jobs one at a time on the calling thread, in an order drawn from a seed; the clock moves only when no job is
/// ready. The same seed gives the same order. Not for use from several threads: those of sources and sinks take turns
/// with it.
public final class SeededScheduler: Scheduler, @unchecked Sendable {  // one thread, by contract
    private var generator: SplitMix64
    private var clock: Int64 = 0
    private var ready: [Job] = []
    private var timers = TimerQueue()
    /// A hash of every choice made: two runs with the same one went the same way.
    public private(set) var trace: UInt64 = 14_695_981_039_346_656_037
    public private(set) var steps = 0

    public init(seed: UInt64) { generator = SplitMix64(seed: seed) }

    public override var now: Int64 { clock }
    public override func random() -> UInt64 { generator.next() }
    public override func enqueue(_ job: Job, back: Bool) { ready.append(job) }
    public override func arm(_ timer: Timer) { timers.arm(timer) }
    public override func disarm(_ timer: Timer) { timers.disarm(timer) }
    public override var armedTimers: Int {
        timers.unconditional + timers.questions().count(where: { $0.isAwaited!() })
    }
    public override func makeSeat() -> ThreadSeat { TurnSeat(scheduler: self) }
    public override func batchLimit(_ most: Int) -> Int { 1 + Int(generator.next() % UInt64(most)) }

    /// Runs until `finished` is true or nothing can move. Returns false where it stopped for another reason: nothing
    /// could move any more, or `limit` steps were done.
    @discardableResult
    public func run(limit: Int = .max, until finished: () -> Bool = { false }) -> Bool {
        var left = limit
        while !finished() {
            if left == 0 { return false }
            left -= 1
            if ready.isEmpty {
                guard let next = timers.earliest() else { return false }
                clock = max(clock, next)
                beginActivity()
                while let timer = timers.takeDue(clock) { timer.fire() }
                endActivity()
                continue
            }
            runOne()
        }
        return true
    }

    /// Runs what can go on without the clock moving, until `finished` is true.
    public func settle(until finished: () -> Bool = { false }) { while !ready.isEmpty && !finished() { runOne() } }

    private func runOne() {
        let choice = Int(generator.next() % UInt64(ready.count))
        trace = (trace ^ UInt64(choice) ^ UInt64(ready.count) << 8) &* 1_099_511_628_211
        steps += 1
        ready.swapAt(choice, ready.count - 1)
        ready.removeLast().runSlice()
    }
}

import HeapModule

/// Armed timers by deadline. A disarmed one stays until its turn or until half of the queue is such: disarming is
/// O(1), and so is arming, amortised over the log n of the heap. Not synchronised.
struct TimerQueue {
    private var heap = Heap<Timer>()
    /// Timers armed and not disarmed.
    private(set) var armed = 0
    /// Of these, those that count only while someone waits for them: few.
    private var conditional: [ObjectIdentifier: Timer] = [:]
    /// The others.
    var unconditional: Int { armed - conditional.count }
    var questions: [@Sendable () -> Bool] { conditional.values.compactMap(\.isAwaited) }

    mutating func arm(_ timer: Timer) {
        precondition(timer.state == .idle, "a timer is armed once")
        timer.state = .armed
        armed += 1
        if timer.isAwaited != nil { conditional[ObjectIdentifier(timer)] = timer }
        heap.insert(timer)
    }

    mutating func disarm(_ timer: Timer) {
        guard timer.state == .armed else { return }
        timer.state = .over
        armed -= 1
        if timer.isAwaited != nil { conditional[ObjectIdentifier(timer)] = nil }
        if heap.count > 64 && heap.count > 2 * armed { heap = Heap(heap.unordered.filter { $0.state == .armed }) }
    }

    /// The earliest deadline, or nil.
    mutating func earliest() -> Int64? {
        while let timer = heap.min {
            if timer.state == .armed { return timer.deadline }
            heap.removeMin()
        }
        return nil
    }

    /// Takes the earliest timer whose deadline is not after `now`.
    mutating func takeDue(_ now: Int64) -> Timer? {
        guard let deadline = earliest(), deadline <= now else { return nil }
        let timer = heap.removeMin()
        timer.state = .over
        armed -= 1
        if timer.isAwaited != nil { conditional[ObjectIdentifier(timer)] = nil }
        return timer
    }
}

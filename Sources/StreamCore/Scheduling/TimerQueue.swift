import HeapModule

/// Armed timers by deadline. A disarmed one stays until its turn or until half of the queue is such: disarming is
/// O(1), and so is arming, amortised over the log n of the heap. Not synchronised.
struct TimerQueue {
    private var heap = Heap<Timer>()
    /// Timers armed and not disarmed.
    private(set) var armed = 0
    /// Of these, those that count only while someone waits for them: linked, those first that were last armed or asked
    /// with success. The heap keeps them.
    private unowned(unsafe) var front: Timer?
    private var conditional = 0
    /// The others.
    var unconditional: Int { armed - conditional }

    /// The first `most` of those that count only while someone waits for them.
    func questions(_ most: Int = .max) -> [Timer] {
        var found: [Timer] = []
        var next = front
        while let timer = next, found.count < most {
            found.append(timer)
            next = timer.after
        }
        return found
    }

    /// Someone waits for it: it will be asked first.
    mutating func moveToFront(_ timer: Timer) {
        guard timer.state == .armed, timer !== front else { return }
        unlink(timer)
        link(timer)
    }

    private mutating func link(_ timer: Timer) {
        timer.after = front
        front?.before = timer
        front = timer
        conditional += 1
    }

    private mutating func unlink(_ timer: Timer) {
        if timer === front { front = timer.after }
        timer.before?.after = timer.after
        timer.after?.before = timer.before
        timer.before = nil
        timer.after = nil
        conditional -= 1
    }

    mutating func arm(_ timer: Timer) {
        precondition(timer.state == .idle, "a timer is armed once")
        timer.state = .armed
        armed += 1
        if timer.isAwaited != nil { link(timer) }
        heap.insert(timer)
    }

    mutating func disarm(_ timer: Timer) {
        guard timer.state == .armed else { return }
        timer.state = .over
        armed -= 1
        if timer.isAwaited != nil { unlink(timer) }
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
        if timer.isAwaited != nil { unlink(timer) }
        return timer
    }
}

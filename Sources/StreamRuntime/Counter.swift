import StreamCore

/// A count that several threads lower or raise.
final class Counter: @unchecked Sendable {  // `lock`
    private let lock = Lock()
    private var value: Int
    private let step: Int

    /// Counts up from 0.
    init() {
        value = 0
        step = 1
    }

    /// Counts down from `value`.
    init(_ value: Int) {
        self.value = value
        step = -1
    }

    var count: Int { lock.withLock { value } }

    func next() -> Int {
        lock.withLock {
            value += step
            return value
        }
    }
}

// The order in which a scheduler takes its jobs.
import DequeModule

/// Jobs that were woken, and jobs that used their slice up; each in the order in which they came. The woken ones come
/// first, but for one of the others after some in a row: neither kind waits for ever.
struct TwoQueues {
    private var woken = Deque<Job>(), usedUp = Deque<Job>()
    private var inARow = 0
    private static let most = 8

    mutating func append(_ job: Job, usedUp isUsedUp: Bool) {
        if isUsedUp { usedUp.append(job) } else { woken.append(job) }
    }

    mutating func popFirst() -> Job? {
        if inARow < Self.most || usedUp.isEmpty, let job = woken.popFirst() {
            inARow += 1
            return job
        }
        inARow = 0
        return usedUp.popFirst()
    }
}

// A wait for the clock in code that blocks its thread, for the sources and sinks of tests.
import Synchronization

/// Lets the thread of a source or a sink sleep on its scheduler's clock, also a virtual one.
package final class SeatPause: @unchecked Sendable {  // `lock` guards both
    private let scheduler: Scheduler
    private let lock = Lock()
    private var timer: Timer?
    private var seat: ThreadSeat?

    package init(scheduler: Scheduler) { self.scheduler = scheduler }

    /// On the thread of a seat: waits so long, or until `wake`.
    package func sleep(_ nanoseconds: Int64) {
        guard let seat = TurnSeat.current else {
            preconditionFailure("a pause is made on the thread of a source or a sink")
        }
        let timer = Timer(deadline: scheduler.now + nanoseconds) { [weak self] in self?.end() }
        lock.withLock {
            self.seat = seat
            self.timer = timer
        }
        scheduler.arm(timer)
        seat.park()
    }

    /// Ends a pause that has begun. Any thread.
    package func wake() {
        if let timer = lock.withLock({ timer }) { scheduler.disarm(timer) }
        end()
    }

    private func end() {
        let seat = lock.withLock {
            defer {
                self.seat = nil
                timer = nil
            }
            return self.seat
        }
        seat?.unpark()
    }
}

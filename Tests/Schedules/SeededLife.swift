// A run under a scheduler of its own, of which nothing may be left afterwards.
import Glibc
import StreamCore
import StreamRuntime

/// Starts a run, drives it, and lets go of it and of its scheduler.
struct SeededLife {
    let trace: UInt64
    /// What was armed or at work when it had been driven to its end.
    private(set) var leftovers: [String] = []
    private weak var scheduler: SeededScheduler?
    private weak var run: Run?

    init(seed: UInt64, start: (SeededScheduler) -> Run, drive: (SeededScheduler, Run) -> Void) {
        let scheduler = SeededScheduler(seed: seed)
        let run = start(scheduler)
        drive(scheduler, run)
        trace = scheduler.trace
        self.scheduler = scheduler
        self.run = run
        if scheduler.armedTimers > 0 { leftovers.append("\(scheduler.armedTimers) timers are armed after the end") }
        if !scheduler.isQuiescent { leftovers.append("something is at work after the end") }
    }

    /// What is still held by something.
    /// - Parameter patience: threads of sources and sinks let go of what they had a moment after they are done: how often
    ///   it is looked again, each 100 us.
    func unreleased(patience: Int = 0) -> [String] {
        for _ in 0..<patience where run != nil || scheduler != nil { usleep(100) }
        var found: [String] = []
        if run != nil { found.append("the run is not released") }
        if scheduler != nil { found.append("a context or a worker is not released") }
        return found
    }
}

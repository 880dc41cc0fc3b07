// A case that opted out of the virtual clock: real threads and real time, and no seed that repeats it.
import Glibc
import StreamCore
import StreamHost
import StreamRuntime

extension CaseRun {
    /// Blocks until the case has ended.
    func runInRealTime() -> ScheduleOutcome {
        var configuration = ThreadScheduler.Configuration()
        if let threads = host.threads { configuration.threads = max(1, threads) }
        configuration.interruptSignal = SIGURG
        configuration.onThreadStart = { Run.attachThread() }
        let scheduler = ThreadScheduler(configuration)
        let recorder = TextRecorder(), state = State(), test = TestCase(declaration?.name)
        test.onBodyEnd = { state.endBody() }
        let run = Run(scheduler: scheduler, environment: environment(test: test, recorder: recorder, wall: nil)) {
            state.end($0)
        }
        watchdog.begin(limit: limit) { _ in
            state.setOverdue()
            run.stopComputing()  // the scheduler interrupts its threads itself
        }
        let began = scheduler.now
        scheduler.start()
        run.start()
        state.waitForBody()
        var late: TestFailure?
        if state.isOverdue {
            late = TestFailure(message: "it did not end within \(seconds(limit)) of real time")
        }
        var outcome = ScheduleOutcome()
        outcome.time = scheduler.now - began
        run.cancel()
        if state.isBodyOver { scheduler.endActivity() }
        let hasEnded = state.waitForEnd(until: monotonicNow() + (late == nil ? limit : Self.patience))
        watchdog.end()
        if hasEnded { scheduler.stop() }
        if late != nil, let place = test.stopPlace, !place.isEmpty {
            late!.message += ": it computes at \(place)"
            late!.place = place
        }
        outcome.printed = recorder.text
        outcome.failures = judge(test, run, state.result, late: late, leaked: [], waiting: [], cut: [])
        return outcome
    }
}

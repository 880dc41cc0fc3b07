// Programs whose parts tell of their beginnings and ends, ended in every way, and what must hold then.
import Glibc
import LuaVM
import StdlibLua
import StreamCore
import StreamRuntime
import Synchronization

/// Runs the script that a seed draws. Each thing that was begun has to be ended exactly once, with the right reason.
package final class CleanupRun {
    package private(set) var trace: UInt64 = 0
    package internal(set) var failures: [String] = []
    package let script: String
    let plan: CleanupPlan
    private let seed: UInt64
    private let planted: RunFault?
    private var struck = 0
    /// The whole run was told to end.
    private(set) var isCancelled = false, isDrained = false
    let book = Book()
    private let errors = TextRecorder()

    struct Event {
        /// `stopped`: a task of the worker was stopped for good, `place` says what it did and `more` for which limit.
        let what: String, place: String, who: Int, more: String
        /// The worker in which it happened.
        let worker: Int
        /// A task was stopped in the middle of something.
        var isStop: Bool { what == "stopped" && place != "replaced" }
    }

    final class Book: Sendable {
        struct Pages {
            var events: [Event] = []
            var workers = WorkerRoll()
            var outcomes: [String: String] = [:]
            var stats: [String: Int] = [:]
            var last = 0
            var result: RunResult?
        }
        let pages = Mutex(Pages())
    }

    package init(seed: UInt64, planted: RunFault? = nil) {
        self.seed = seed
        self.planted = planted
        plan = CleanupPlan(seed: seed)
        script = CleanupScript(plan: plan).write()
    }

    /// What happened, for people.
    package var story: [String] {
        ["drained \(isDrained), cancelled \(isCancelled), struck \(struck)"]
            + book.pages.withLock { pages in
                pages.events.map { "\($0.worker): \($0.what) \($0.place) #\($0.who) \($0.more)" } + [
                    "outcomes \(pages.outcomes)", "stats \(pages.stats)",
                ]
            } + errors.lines
    }

    package func run() {
        let life = SeededLife(seed: seed, start: start, drive: drive)
        trace = life.trace
        failures += life.leftovers
        guard book.pages.withLock({ $0.result != nil }) else { return failures.append("it does not end") }
        check()
        failures += life.unreleased()
    }

    private func start(_ scheduler: SeededScheduler) -> Run {
        let book = book
        @Sendable func text(_ value: HostValue) -> String { if case .string(let text) = value { text } else { "" } }
        @Sendable func number(_ value: HostValue) -> Int {
            if case .integer(let number) = value { Int(number) } else { -1 }
        }
        var environment = RunEnvironment(
            scriptPath: "script.lua", script: Array(script.utf8), output: TextRecorder(), errors: errors,
            makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
            makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") },
            library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
        environment.functions = [
            "say": { arguments in
                book.pages.withLock {
                    $0.events.append(
                        Event(
                            what: text(arguments[0]), place: text(arguments[1]), who: number(arguments[2]),
                            more: arguments.count > 3 ? text(arguments[3]) : "", worker: $0.workers.numberOfCaller()))
                }
                return .null
            },
            "new": { _ in
                .integer(
                    Int64(
                        book.pages.withLock {
                            $0.last += 1
                            return $0.last
                        }))
            },
            "outcome": { arguments in
                book.pages.withLock { $0.outcomes[text(arguments[0])] = text(arguments[1]) }
                return .null
            },
            "stat": { arguments in
                book.pages.withLock { $0.stats[text(arguments[0])] = number(arguments[2]) }
                return .null
            },
        ]
        environment.onStop = { stopped in
            book.pages.withLock {
                $0.events.append(
                    Event(
                        what: "stopped", place: "\(stopped.work)", who: 0, more: stopped.limit?.rawValue ?? "",
                        worker: $0.workers.number(of: stopped)))
            }
        }
        environment.planted = planted
        return Run(scheduler: scheduler, environment: environment) { end in book.pages.withLock { $0.result = end } }
    }

    private func drive(_ scheduler: SeededScheduler, _ run: Run) {
        run.start()
        let hasEnded = { [book] in book.pages.withLock { $0.result != nil } }
        for strike in plan.strikes {
            switch strike {
            case .act: break
            case .stop(let step, let choice, let kind, let instructions, _):
                scheduler.run(limit: max(0, step - scheduler.steps), until: hasEnded)
                guard !hasEnded(), let kind = LuaStrike(rawValue: Int32(kind)),
                    run.strike(choice, kind, after: instructions) != nil
                else { continue }
                if kind != .preempt { struck += 1 }
            case .drain(let step):
                scheduler.run(limit: step, until: hasEnded)
                isDrained = true
                run.drain()
            case .cancel(let step), .stopComputing(let step):
                scheduler.run(limit: step, until: hasEnded)
                isCancelled = true
                run.cancel()
            }
        }
        scheduler.run(limit: 300_000, until: hasEnded)
        if hasEnded() { scheduler.run(limit: 100_000) }
    }
}

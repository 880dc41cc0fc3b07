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
    package private(set) var failures: [String] = []
    package let script: String
    private let plan: CleanupPlan
    private let seed: UInt64
    private let planted: RunFault?
    private var struck = 0
    private var isCancelled = false, isDrained = false
    private let book = Book()
    private let errors = TextRecorder()

    struct Event {
        let what: String, place: String, who: Int, more: String
    }

    private final class Book: Sendable {
        struct Pages {
            var events: [Event] = []
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
                pages.events.map { "\($0.what) \($0.place) #\($0.who) \($0.more)" } + [
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
                let event = Event(
                    what: text(arguments[0]), place: text(arguments[1]), who: number(arguments[2]),
                    more: arguments.count > 3 ? text(arguments[3]) : "")
                book.pages.withLock { $0.events.append(event) }
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
        environment.planted = planted
        return Run(scheduler: scheduler, environment: environment) { end in book.pages.withLock { $0.result = end } }
    }

    private func drive(_ scheduler: SeededScheduler, _ run: Run) {
        run.start()
        let hasEnded = { [book] in book.pages.withLock { $0.result != nil } }
        for strike in plan.strikes {
            switch strike {
            case .act: break
            case .stop(let step, let choice, let kind, let instructions):
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

    // MARK: Checks

    private func check() {
        let pages = book.pages.withLock { $0 }
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) { if !holds { failures.append(text()) } }
        func all(_ what: String) -> [Event] { pages.events.filter { $0.what == what } }
        let result = pages.result!
        expect(result.status == .done && result.failures.isEmpty, "it failed: \(result.failures.first ?? "")")
        expect(result.account.isBalanced, "the account does not balance: \(result.account)")
        expect(all("end").count == 1, "the top level did not come to its end")
        expect(all("left open").isEmpty, "a channel that a pipeline fed is open")
        expect(pages.stats["limit"] == 3, "permits: \(pages.stats["limit"] ?? -1) are free, expected 3")
        // One reservation was for a token that was there; all others are given back before their time.
        expect(
            (pages.stats["slow"] ?? 999) <= 101,
            "reservations: \(pages.stats["slow"] ?? -1) s to wait, expected 100 at most")

        // <close> variables: once each; those of stopped coroutines not at all.
        let opened = Dictionary(all("open").map { ($0.who, $0.place) }, uniquingKeysWith: { first, _ in first })
        let closed = Dictionary(grouping: all("close"), by: \.who)
        expect(closed.values.allSatisfy { $0.count == 1 }, "<close>: one was closed twice")
        expect(closed.keys.allSatisfy { opened[$0] != nil }, "<close>: one was closed that had not been opened")
        let left = opened.keys.filter { closed[$0] == nil }
        if struck == 0 {
            expect(left.isEmpty, "<close>: not closed: \(left.sorted().map { "\(opened[$0]!) #\($0)" })")
        } else {
            expect(left.count <= struck * 4, "<close>: \(left.count) were not closed, \(struck) workers were stopped")
        }

        let asked = Dictionary(grouping: all("asked"), by: { "\($0.place) #\($0.who)" }).mapValues(\.count)
        let ended = Dictionary(grouping: all("ended"), by: { "\($0.place) #\($0.who)" }).mapValues(\.count)
        let missing = asked.keys.filter { ended[$0] == nil }
        expect(ended.allSatisfy { $0.value == 1 && asked[$0.key] == 1 }, "on_end: ran more than once: \(ended)")
        // A strike may hit the one that runs or is being asked for, or the teardown that would make it due: no other.
        expect(missing.count <= struck, "on_end: not run: \(missing.sorted()), \(struck) workers were stopped")
        for pipeline in plan.pipelines { check(pipeline, pages) }
    }

    private func check(_ p: CleanupPipeline, _ pages: Book.Pages) {
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) {
            if !holds { failures.append("\(p.id): \(text())") }
        }
        guard let outcome = pages.outcomes[p.id] else { return expect(false, "it has no outcome") }
        let first = pages.events.first {
            $0.what == "raised" && FaultLedger.pipeline(of: $0.place) == p.id && $0.more != "teardown"
        }
        func isFirst(_ who: Int) -> Bool { first?.who == who && !p.skipsErrors }
        let isFused = p.stages.contains(where: \.isFused)
        for stage in p.stages {
            let events = pages.events.filter { $0.place == stage.name }
            for (who, life) in Dictionary(grouping: events, by: \.who).sorted(by: { $0.key < $1.key }) {
                func count(_ what: String) -> Int { life.count { $0.what == what } }
                guard count("setup") > 0 || count("teardown") > 0 else { continue }  // what it has in hand
                let name = "\(stage.name) #\(who)"
                let downs = life.filter { $0.what == "teardown" }
                let wasStruckInTeardown = struck > 0 && errors.lines.contains { $0.contains("in teardown") }
                expect(downs.count <= 1, "teardown: \(name) \(downs.count) times")
                expect(!downs.isEmpty || wasStruckInTeardown, "teardown: \(name) was not torn down")
                expect(
                    count("setup") == 1 || struck > 0 && count("setup") == 0, "setup: \(name) \(count("setup")) times")
                expect(count("flush") <= 1, "flush: \(name) \(count("flush")) times")
                guard let reason = downs.first?.more else { continue }
                let raised = life.first { $0.what == "raised" && $0.more != "teardown" }
                let isSkipped = raised?.more == "process" && p.skipsErrors && stage.kind != .process
                var allowed: Set<String>
                if raised != nil && !isSkipped {
                    // one that raises after the pipeline has ended for another's failure ends with it
                    allowed =
                        isFirst(who) && outcome.contains("boom")
                        ? ["failed"] : ["failed", "canceled", "deadline exceeded"]
                } else if count("flushed") > 0 {
                    allowed = ["done"]
                    if isFused || outcome != "done" { allowed.formUnion(["failed", "canceled", "deadline exceeded"]) }
                } else {
                    switch outcome {
                    case "done": allowed = []
                    case "deadline exceeded": allowed = ["deadline exceeded"]
                    case "canceled": allowed = ["canceled"]
                    default: allowed = isFused ? ["canceled", "failed"] : ["canceled"]
                    }
                }
                if struck > 0 { allowed.formUnion(["failed", "deadline exceeded", "canceled"]) }
                expect(
                    allowed.contains(reason),
                    "teardown: \(name) got \"\(reason)\", expected \(allowed.sorted()); outcome \(outcome)")
            }
        }
        // What raised is closed with its error.
        for event in pages.events where event.what == "raised" && event.more == "process" && struck == 0 {
            let closes = pages.events.contains { $0.what == "close" && $0.place == event.place && $0.more == "true" }
            expect(closes, "<close>: no variable of \(event.place) was closed with its error")
        }
        if case .done = p.way, struck == 0, !isCancelled { expect(outcome == "done", "it ended with \(outcome)") }
    }
}

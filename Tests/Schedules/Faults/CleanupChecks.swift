// What must hold of the beginnings and ends that a program has told of.
import StreamRuntime

extension CleanupRun {
    func check() {
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
        for (_, life) in Dictionary(grouping: pages.events, by: \.worker).sorted(by: { $0.key < $1.key }) {
            checkVariables(life)
            checkEnds(life)
        }
        for pipeline in plan.pipelines { check(pipeline, pages) }
    }

    // MARK: What each worker told of

    /// A `<close>` variable runs once. A coroutine that was stopped never goes on: of those that it had open none runs.
    private func checkVariables(_ life: [Event]) {
        var open: [Int: String] = [:], lost: Set<Int> = [], closed: Set<Int> = []
        var raiser = ""
        for (index, event) in life.enumerated() {
            switch event.what {
            case "open": open[event.who] = event.place
            case "close":
                let name = "<close>: \(event.place) #\(event.who)"
                if closed.contains(event.who) { failures.append("\(name) was closed twice") }
                if lost.contains(event.who) { failures.append("\(name) was closed after its coroutine was stopped") }
                open[event.who] = nil
                closed.insert(event.who)
            case "stopped" where event.place == "replaced":
                // What raised has been unwound; a flat_map in front of it in its worker, which was emitting to it, has not.
                let emitting = open.filter { !$0.value.hasPrefix(raiser) }
                lost.formUnion(emitting.keys)
                for who in emitting.keys { open[who] = nil }
            case "stopped":  // whatever runs in the worker: its teardown has not begun, or is what was stopped
                lost.formUnion(open.keys)
                open = [:]
            case "raised":
                raiser = event.place
                checkError(event, life[index...], of: open)
            default: break
            }
        }
        for (who, place) in open.sorted(by: { $0.key < $1.key }) {
            failures.append("<close>: \(place) #\(who) was not closed, and nothing stopped it")
        }
    }

    /// What raises closes its variables with the error, unless it is stopped before.
    private func checkError(_ raised: Event, _ rest: ArraySlice<Event>, of open: [Int: String]) {
        let phase = ["process", "sink", "generate"].contains(raised.more) ? "" : raised.more
        let own = open.filter { $0.value == raised.place + phase || $0.value == raised.place + phase + "whole" }
        if own.isEmpty { failures.append("<close>: \(raised.place) raised in \(raised.more), and had none open") }
        for who in own.keys {
            let end = rest.first { $0.isStop || $0.what == "close" && $0.who == who }
            if end?.what == "close" && end?.more != "true" {
                failures.append("<close>: \(raised.place) #\(who) was closed without its error")
            }
        }
    }

    /// `on_end` is begun once after its context's end, and comes to its end unless it is stopped.
    private func checkEnds(_ life: [Event]) {
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) { if !holds { failures.append(text()) } }
        for asking in life where asking.what == "asking" {
            let name = "on_end: \(asking.place) #\(asking.who)"
            func all(_ what: String) -> [Int] {
                life.indices.filter {
                    life[$0].what == what && life[$0].place == asking.place && (life[$0].who == asking.who || isContext)
                }
            }
            let isContext = asking.place.hasSuffix("ctx")
            let begun = all("begun"), ended = all("ended")
            let stops = life.indices.filter { life[$0].what == "stopped" && life[$0].place == "ending" }
            expect(begun.count <= 1 && ended.count <= 1, "\(name) ran \(begun.count) times")
            if let end = all("over").first, !all("asked").isEmpty, begun.isEmpty {
                expect(stops.contains { $0 > end }, "\(name) was not run")
            }
            guard let begin = begun.first else { continue }
            if !isContext {
                let cancelled = all("ending").first
                expect(cancelled.map { $0 < begin } ?? false, "\(name) was run before its context's end")
                expect(life[begin].more == "canceled", "\(name) got \"\(life[begin].more)\"")
            }
            expect(!ended.isEmpty || stops.contains { $0 > begin }, "\(name) did not come to its end")
        }
    }

    // MARK: What each stage told of

    private func check(_ p: CleanupPipeline, _ pages: Book.Pages) {
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) {
            if !holds { failures.append("\(p.id): \(text())") }
        }
        guard let outcome = pages.outcomes[p.id] else { return expect(false, "it has no outcome") }
        let isOwn = { (event: Event) in FaultLedger.pipeline(of: event.place) == p.id }
        let workers = Set(
            pages.events.filter { isOwn($0) && $0.what == "setup" || $0.what == "teardown" }.map(\.worker))
        for number in workers.sorted() {
            let life = pages.events.filter { $0.worker == number }
            for stage in p.stages where life.contains(where: { $0.place == stage.name }) {
                let mine = life.filter { $0.place == stage.name }
                func count(_ what: String) -> Int { mine.count { $0.what == what } }
                let name = "\(stage.name) in worker \(number)"
                let stops = life.filter(\.isStop)
                let downs = mine.filter { $0.what == "teardown" }
                expect(downs.count <= 1, "teardown: \(name) \(downs.count) times")
                expect(
                    !downs.isEmpty || stops.contains { $0.place == "teardown" }, "teardown: \(name) was not torn down")
                expect(
                    count("setup") == 1 || count("setup") == 0 && stops.contains { $0.place == "other" },
                    "setup: \(name) \(count("setup")) times")
                expect(count("flush") <= 1, "flush: \(name) \(count("flush")) times")
                guard let reason = downs.first?.more else { continue }
                let allowed = reasons(p, stage, life, outcome, pages)
                expect(
                    allowed.contains(reason),
                    "teardown: \(name) got \"\(reason)\", expected \(allowed.sorted()); outcome \(outcome)")
            }
        }
        let hasStopped = pages.events.contains(where: \.isStop)
        if case .done = p.way, !hasStopped, !isCancelled {  // one that is drained before its begin ends with the run
            expect(outcome == "done" || isDrained && outcome == "canceled", "it ended with \(outcome)")
        }
    }

    /// What the teardown of a stage may be told, by what happened in its worker and to its pipeline.
    private func reasons(
        _ p: CleanupPipeline, _ stage: CleanupStage, _ life: [Event], _ outcome: String, _ pages: Book.Pages
    ) -> Set<String> {
        // What happens to one after the pipeline has ended for another's failure, or with its context, ends with it.
        let early: Set<String> = outcome == "done" ? [] : ["canceled", "deadline exceeded", "failed"]
        let before = life.prefix { $0.what != "teardown" }
        if let stop = before.first(where: \.isStop) {
            return early.union(stop.more == "timeout" ? ["deadline exceeded"] : ["failed"])
        }
        let raised = before.first { event in
            guard event.what == "raised" else { return false }
            return event.more != "process" || p.policy != .skip || stage.kind == .process
        }
        if raised != nil {
            let first = pages.events.first {
                $0.what == "raised" && FaultLedger.pipeline(of: $0.place) == p.id && $0.more != "teardown"
            }
            let isFirst = first?.worker == raised?.worker && outcome.contains("boom")
            return isFirst ? ["failed"] : early.union(["failed"])
        }
        let isFused = p.stages.contains(where: \.isFused)
        if life.contains(where: { $0.what == "flushed" && $0.place == stage.name }) {
            return isFused ? early.union(["done", "failed"]) : early.union(["done"])
        }
        switch outcome {
        case "done": return []
        case "deadline exceeded", "canceled": return [outcome]
        default: return isFused ? ["canceled", "failed"] : ["canceled"]
        }
    }
}

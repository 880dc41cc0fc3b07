// What must hold after a program with faults, by an account that does not trust the host's.
import StreamRuntime

/// Where a value is to come to an end.
struct FaultToken: Hashable {
    let place: String
    let id: Int
}

extension FaultPipeline {
    /// Where each value of `ids` ends if nothing goes wrong, and which are filtered.
    func expected(_ ids: some Sequence<Int>) -> (tokens: Set<FaultToken>, filtered: Set<Int>, consumed: Set<Int>) {
        var alive = Array(ids), tokens: Set<FaultToken> = [], filtered: Set<Int> = [], consumed: Set<Int> = []
        for stage in stages {
            switch stage.kind {
            case .filter:
                filtered.formUnion(alive.filter { $0 % 7 == 3 })
                alive.removeAll { $0 % 7 == 3 }
            case .flatMap:
                consumed.formUnion(alive.filter { $0 % 5 == 0 })
                alive.removeAll { $0 % 5 == 0 }
                alive += alive.filter { $0 % 3 == 0 }.map { $0 + Self.copy }
            case .tee: for id in alive { tokens.insert(FaultToken(place: stage.name + "tee", id: id)) }
            case .route:
                for id in alive where id % 4 == 0 { tokens.insert(FaultToken(place: stage.name + "even", id: id)) }
                for id in alive where id % 4 == 1 { tokens.insert(FaultToken(place: stage.name + "four", id: id)) }
                alive.removeAll { $0 % 4 < 2 }
            case .merge(let count): alive += (1...count).map { base + Self.merged + $0 }
            default: break
            }
        }
        for id in alive { tokens.insert(FaultToken(place: self.id, id: id)) }
        return (tokens, filtered, consumed)
    }

    /// Where its values come to an end.
    var places: [String] {
        let branches = stages.flatMap { stage -> [String] in
            switch stage.kind {
            case .tee: [stage.name + "tee"]
            case .route: [stage.name + "even", stage.name + "four"]
            default: []
            }
        }
        return branches + [id]
    }

    /// Its functions raise for values that its stages count as failed.
    func countsAsFailed(_ point: String) -> Bool {
        guard FaultLedger.pipeline(of: point) == id else { return false }
        if point.hasSuffix("gen") || stages.contains(where: { $0.kind == .process && $0.name == point }) {
            return false
        }
        return true
    }
}

extension FaultRun {
    func check() {
        let book = ledger.book.withLock { $0 }
        let result = book.result!
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) { if !holds { failures.append(text()) } }

        expect(result.account.isBalanced, "the account does not balance: \(result.account)")
        expect(book.seen["opened"] == book.seen["closed"], "sinks: not closed once each")
        // Of the worker that has the top level nothing goes on, and so no pipeline says anything of itself.
        if book.stopped.contains("main") {
            expect(
                result.status == .failed && result.failures.contains { $0.contains("not enough memory") },
                "the main worker was stopped, and that is not said: \(result.failures)")
            for pipeline in plan.pipelines { _ = checkArrivals(pipeline, book) }
            return
        }
        let unsaid = checkSpawned(book)
        expect(
            result.failures.count == unsaid.count && zip(result.failures, unsaid).allSatisfy { $0.contains($1) },
            "failures \(result.failures), expected those of \(unsaid)")
        expect(result.status == (unsaid.isEmpty ? .done : .failed), "its status is \(result.status)")
        expect(book.seen["end"] != nil, "the top level did not come to its end")
        let free = book.stats["limit"]?["free"] ?? -1
        expect(free == 2, "permits: \(free) are free, expected 2")
        if !hasFilled {
            let setups = book.seen["setup"] ?? [:], teardowns = book.seen["teardown"] ?? [:]
            expect(setups == teardowns, "teardown: \(setups) begun, \(teardowns) torn down")
        }
        if !isCancelled && !isDrained {
            for number in stride(from: 1, through: plan.besides, by: 1) {
                let got = book.seen["ponged"]?["b\(number)"] ?? [:]
                expect(got.count == 20 && got.values.allSatisfy { $0 == 1 }, "a task beside them is not complete")
            }
        }
        for pipeline in plan.pipelines { check(pipeline, book) }
    }

    /// Workers of `stream.worker`. Returns the names of those that were stopped, and whose failure nobody has asked for.
    private func checkSpawned(_ book: FaultLedger.Book) -> [String] {
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) { if !holds { failures.append(text()) } }
        var unsaid: [String] = []
        for (index, isWaitedFor) in plan.spawned.enumerated() {
            let name = "w\(index + 1)", outcome = book.outcomes[name] ?? "nothing"
            let worked = book.seen["worked"]?[name] ?? [:], heard = book.seen["heard"]?[name] ?? [:]
            expect((Array(worked.values) + Array(heard.values)).allSatisfy { $0 == 1 }, "\(name) did something twice")
            expect(Set(heard.keys).isSubset(of: worked.keys), "\(name): what was not sent was heard")
            if book.stopped.contains("worker \"\(name)\"") {
                let isSaid = isWaitedFor ? outcome.contains("limit of") : outcome == "failed"
                expect(isSaid, "\(name) was stopped, and that is not said: \(outcome)")
                if !isWaitedFor { unsaid.append("worker \"\(name)\"") }
            } else if !isCancelled && !isDrained {
                expect(outcome == (isWaitedFor ? "all" : "done"), "\(name) ended with \(outcome)")
                expect(Set(heard.keys) == Set(1...20), "\(name): of what it sent \(heard.count) were heard")
            }
        }
        return unsaid
    }

    /// Where a pipeline's values can have come to, and where they did; each belongs there, and came once, in order.
    private func checkArrivals(
        _ p: FaultPipeline, _ book: FaultLedger.Book
    ) -> (possible: Set<Int>, filterable: Set<Int>, arrived: Set<FaultToken>, messages: Int) {
        let id = p.id
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) {
            if !holds { self.failures.append("\(id): \(text())") }
        }
        let upstream: FaultPipeline? = if case .pipeline(let n) = p.source { plan.pipelines[n - 1] } else { nil }
        // What may come: of all numbers that its source can have made.
        let possible: Set<Int> =
            upstream.map { Set((book.seen["tapped"]?[$0.id] ?? [:]).keys) } ?? Set(p.base + 1..<p.base + 1 + p.count)
        let (tokens, filterable, _) = p.expected(possible)
        var arrived: Set<FaultToken> = [], count = 0
        for place in p.places {
            let arrivals =
                place == id && isNext(p)
                ? (book.seen["tapped"]?[id] ?? [:]).flatMap { Array(repeating: $0.key, count: $0.value) }
                : book.arrivals[place] ?? []
            count += isNext(p) && place == id ? 0 : book.messages[place] ?? 0
            for number in arrivals {
                let token = FaultToken(place: place, id: number)
                expect(tokens.contains(token), "\(number) came to \(place), and does not belong there")
                expect(arrived.insert(token).inserted, "\(number) came to \(place) twice")
            }
            if place == id && p.keepsOrder && !isNext(p) && isOrdered(p) {
                let order = arrivals.map { $0 % FaultPipeline.copy }
                expect(zip(order, order.dropFirst()).allSatisfy { $0 <= $1 }, "out of order at \(place): \(arrivals)")
            }
        }
        return (possible, filterable, arrived, count)
    }

    private func check(_ p: FaultPipeline, _ book: FaultLedger.Book) {
        let id = p.id
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) {
            if !holds { self.failures.append("\(id): \(text())") }
        }
        func numbers(_ what: String, _ place: String) -> [Int: Int] { book.seen[what]?[place] ?? [:] }
        func said(_ field: String) -> Int { book.stats[id]?[field] ?? 0 }

        guard let outcome = book.outcomes[id] else { return expect(false, "it has no outcome") }
        let isDone = outcome == "done"
        let strikes = struck.count { $0.contains("\"\(id)") || $0.contains("generate") }
        let upstream: FaultPipeline? = if case .pipeline(let n) = p.source { plan.pipelines[n - 1] } else { nil }

        let (possible, filterable, arrived, count) = checkArrivals(p, book)

        // Each in one of the columns, once.
        let filtered = numbers("filtered", id), shed = numbers("shed", id), dead = numbers("dead", id)
        var failed: Set<Int> = []
        var failures = 0
        for (point, ids) in book.seen["raised"] ?? [:] where p.countsAsFailed(point) {
            failures += ids.values.reduce(0, +)
            failed.formUnion(ids.keys)
        }
        for (point, ids) in book.seen["with"] ?? [:] where p.countsAsFailed(point) { failed.formUnion(ids.keys) }
        expect(filtered.values.allSatisfy { $0 == 1 }, "a value was filtered twice")
        expect(filtered.keys.allSatisfy(filterable.contains), "a value was filtered that is none to be")
        if p.isPlain {
            let ends = Set(arrived.map(\.id))
            expect(ends.isDisjoint(with: filtered.keys), "filtered values arrived: \(ends.intersection(filtered.keys))")
            expect(ends.isDisjoint(with: shed.keys), "dropped values arrived: \(ends.intersection(shed.keys))")
            // One that had been told of at the end of its pipeline, and then its worker was stopped, is none the less dead.
            let both = ends.intersection(dead.keys)
            expect(both.count <= (isNext(p) ? strikes : 0), "dead letters arrived: \(both)")
            expect(dead.values.allSatisfy { $0 == 1 }, "a dead letter came twice: \(dead)")
            if p.policy != .retry {
                expect(ends.isDisjoint(with: failed), "failed values arrived: \(ends.intersection(failed))")
            }
            expect(shed.values.allSatisfy { $0 == 1 }, "a value was dropped twice: \(shed)")
            if p.policy != .retry { expect(failed.isDisjoint(with: shed.keys), "failed values were dropped") }
        }

        let isHarmed =
            book.harmed.contains(id) || isCancelled || isDrained && outcome == "canceled" || strikes > 0
            || p.deadline > 0
            || p.stages.contains { $0.kind == .buffer("fail") }
        expect(isDone || isHarmed, "it failed, and nothing was done to it: \(outcome)")
        let made = numbers("made", id)
        expect(made.values.allSatisfy { $0 == 1 }, "the source made a value twice")
        let isWhole = isDone && !p.endsEarly && strikes == 0 && !isBroken(p)

        // Against what the host says; of a collecting one it says nothing.
        if p.sink != .collect {
            let created = said("created"), delivered = said("delivered"), dropped = said("dropped")
            let reasons = (book.stats[id] ?? [:]).filter { $0.key.hasPrefix("drop ") }
            let ended = said("drop ended"), limited = said("drop limited")
            let overflow = reasons.values.reduce(0, +) - ended - limited
            expect(reasons.values.reduce(0, +) == dropped, "dropped \(dropped), by reasons \(reasons)")
            let consumed = said("consumed"), returned = said("returned")
            expect(
                created == delivered + consumed + said("filtered") + said("failed") + dropped + said("dead_lettered")
                    + returned,
                "it does not balance: \(book.stats[id] ?? [:])")
            if isNext(p) {
                let tapped = numbers("tapped", id).count
                expect(
                    delivered <= tapped && delivered >= tapped - ended - strikes,
                    "delivered \(delivered), \(tapped) came to its end")
            } else {
                expect(delivered == count, "delivered \(delivered), \(count) came to its ends")
            }
            let missed = filtered.count - said("filtered")
            expect(missed <= strikes && -missed <= p.skips, "filtered \(said("filtered")), expected \(filtered.count)")
            let letters = dead.values.reduce(0, +)
            expect(said("dead_lettered") == letters, "dead-lettered \(said("dead_lettered")), \(letters) came")
            let extra = said("failed") + letters - failures, retried = p.policy == .retry ? failures : 0
            // What is raised after the end of the pipeline is no failure: the value is one of those that were in hand then.
            let late = min(failures, ended)
            expect(
                extra >= -strikes - retried - late && extra <= strikes,
                "failed \(said("failed")), \(failures) were raised")
            expect(overflow == shed.values.reduce(0, +), "\(overflow) overflowed, on_drop got \(shed.count)")
            if !p.stages.contains(where: { $0.kind == .limitDrop }) { expect(limited == 0, "limited \(limited)") }
            if let upstream, !(upstream.sink == .collect) {
                let left = numbers("left", id).values.reduce(0, +)
                let before = book.stats[upstream.id]?["delivered"] ?? 0
                if p.isPlain && !hasMerge(p) && !hasProcess(p) {
                    expect(
                        created - returned + left == before,
                        "created \(created), \(left) left, \(before) were passed to it")
                }
            } else if p.isPlain && !hasMerge(p) && !hasProcess(p) {
                switch p.source {
                case .feed:
                    let left = numbers("left", id).count
                    expect(created - returned + left == made.count, "created \(created), \(left) left of \(made.count)")
                case .host: expect(created == made.count, "created \(created), its source made \(made.count)")
                case .generator:
                    let tried = numbers("tried", id).count
                    expect(
                        created >= made.count - strikes && created <= tried,
                        "created \(created), made \(made.count) of \(tried)")
                default: expect(created <= p.count, "created \(created) of \(p.count)")
                }
            }
            if isWhole {
                // What a range or a list had in hand when it was told to end is made, and dropped.
                let inHand = isDrained ? 1 + p.stages.count { if case .merge = $0.kind { true } else { false } } : 0
                expect(ended <= inHand, "\(ended) values are dropped at an early end, and there was none")
                // None is lost unsaid, number by number.
                let sources: Set<Int> =
                    switch p.source {
                    case .host, .generator: Set(made.keys)
                    case .feed: Set(made.keys).subtracting(numbers("left", id).keys)
                    case .pipeline: possible
                    default: isDrained ? Set(p.base + 1..<p.base + 1 + min(p.count, created - ended)) : possible
                    }
                var missing = p.expected(sources).tokens.subtracting(arrived)
                missing = missing.filter { token in
                    let number = token.id % FaultPipeline.copy
                    return !failed.contains(number) && !failed.contains(token.id) && shed[token.id] == nil
                }
                let unnamed = limited + said("filtered") - filtered.count
                let before = upstream.map { book.stats[$0.id]?["delivered"] ?? 0 } ?? possible.count
                let isShort: Bool = if case .range = p.source { true } else { p.source == .values }
                if before < possible.count || isDrained && (hasMerge(p) || isShort && (!p.isPlain || hasProcess(p))) {
                    // which values came to the end of the one before and were dropped there, or were not made, nobody says
                } else if p.isPlain {
                    let isExact = p.policy != .retry && !p.stages.contains { $0.kind == .filter }
                    expect(
                        isExact ? missing.count == unnamed : missing.count <= unnamed,
                        "lost unsaid: \(missing.map(\.id).sorted()), \(unnamed) are accounted for")
                } else if unnamed == 0 && overflow == 0 {
                    expect(missing.isEmpty, "lost unsaid: \(missing.map { "\($0.id) at \($0.place)" }.sorted())")
                }
            }
        } else if isWhole && upstream == nil && !isDrained && p.isPlain && p.skips == 0 && shed.isEmpty
            && failed.isEmpty && !isHarmed
            && !p.stages.contains(where: { $0.kind == .limitDrop })
        {
            let sources = p.source == .host || p.source == .generator ? Set(made.keys) : possible
            let all = p.expected(sources).tokens
            expect(arrived == all, "collected \(arrived.count) of \(all.count)")
        }
        if !isHarmed && !isDrained && !p.endsEarly, p.sourceFault == .none {
            switch p.source {
            case .host, .generator, .feed: expect(made.count == p.count, "its source made \(made.count) of \(p.count)")
            default: break
            }
        }
    }

    private func isNext(_ p: FaultPipeline) -> Bool { if case .next = p.sink { true } else { false } }
    private func hasMerge(_ p: FaultPipeline) -> Bool {
        p.stages.contains { if case .merge = $0.kind { true } else { false } }
    }
    /// Nobody reads what it writes: it ends, and that is no failure.
    private func isBroken(_ p: FaultPipeline) -> Bool { if case .breaks = p.sinkFault { true } else { false } }
    private func hasProcess(_ p: FaultPipeline) -> Bool { p.stages.contains { $0.kind == .process } }

    /// It keeps the order, and so do all that feed it.
    private func isOrdered(_ p: FaultPipeline) -> Bool {
        guard p.keepsOrder else { return false }
        if case .pipeline(let number) = p.source { return isOrdered(plan.pipelines[number - 1]) }
        return true
    }
}

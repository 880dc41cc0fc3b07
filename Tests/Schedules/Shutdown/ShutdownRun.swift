// Scripts that are drained, cancelled, or fail at any step, and what must hold then.
import StdlibLua
import StreamCore
import StreamRuntime
import Synchronization

/// One run of a script drawn by a seed, ended at a step that the seed decides. What happened is counted by the script's
/// notes, and compared with what the run says of itself.
package final class ShutdownRun {
    package private(set) var trace: UInt64 = 0
    package private(set) var failures: [String] = []
    package let script: String
    private let seed: UInt64
    private var random: SplitMix64
    private let ledger = Ledger()

    /// What the script has told.
    private final class Ledger: Sendable {
        struct Counts {
            var notes: [String: [String: Int]] = [:]
            var stats: [String: [String: Int]] = [:]
            var result: RunResult?
        }
        let counts = Mutex(Counts())
    }

    package init(seed: UInt64, fault: ShutdownFault? = nil) {
        self.seed = seed
        random = SplitMix64(seed: seed &* 7919 &+ 3)
        var writer = ShutdownScript(seed: seed, fault: fault)
        script = writer.write()
    }

    package func run() {
        let life = SeededLife(seed: seed, start: start, drive: drive)
        trace = life.trace
        failures += life.leftovers
        let counts = ledger.counts.withLock { $0 }
        guard let result = counts.result else { return failures.append("it does not end") }
        check(result, counts)
        failures += life.unreleased()
    }

    private func start(_ scheduler: SeededScheduler) -> Run {
        let output = TextRecorder(), errors = TextRecorder(), ledger = ledger
        var environment = RunEnvironment(
            scriptPath: "script.lua", script: Array(script.utf8), output: output, errors: errors,
            makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
            makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") },
            library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
        environment.functions["note"] = { arguments in
            if case .string(let what) = arguments[0], case .string(let which) = arguments[1] {
                ledger.counts.withLock { $0.notes[what, default: [:]][which, default: 0] += 1 }
            }
            return .null
        }
        environment.functions["stat"] = { arguments in
            if case .string(let id) = arguments[0], case .string(let field) = arguments[1],
                case .integer(let count) = arguments[2]
            {
                ledger.counts.withLock { $0.stats[id, default: [:]][field] = Int(count) }
            }
            return .null
        }
        return Run(scheduler: scheduler, environment: environment) { end in
            ledger.counts.withLock { $0.result = end }
        }
    }

    private func drive(_ scheduler: SeededScheduler, _ run: Run) {
        run.start()
        let hasEnded = { [ledger] in ledger.counts.withLock { $0.result != nil } }
        let way = random.next() % 5
        if way > 0 {
            // early steps more often than late ones: most of a script's life is short
            let most = [30, 200, 1000, 4000][Int(random.next() % 4)]
            scheduler.run(limit: Int(random.next() % UInt64(most)), until: hasEnded)
            if way < 3 { run.drain(timeout: Int64(random.next() % 50) * 1_000_000) } else { run.cancel() }
            if way == 2 {
                scheduler.run(limit: Int(random.next() % 300), until: hasEnded)
                run.cancel()
            }
        }
        scheduler.run(limit: 300_000, until: hasEnded)
        if hasEnded() { scheduler.run(limit: 100_000) }
    }

    // MARK: Checks

    private func check(_ result: RunResult, _ counts: Ledger.Counts) {
        func count(_ what: String, _ which: String) -> Int { counts.notes[what]?[which] ?? 0 }
        func total(_ what: String) -> [String: Int] { counts.notes[what] ?? [:] }
        func expect(_ holds: Bool, _ text: @autoclosure () -> String) { if !holds { failures.append(text()) } }

        expect(result.status == .done && result.failures.isEmpty, "it failed: \(result.failures.first ?? "")")
        expect(result.account.isBalanced, "the account does not balance: \(result.account)")
        expect(count("end", "main") == 1, "the top level did not come to its end")
        expect(total("open") == total("close"), "<close>: \(differences(total("open"), total("close")))")
        expect(total("setup") == total("teardown"), "teardown: \(differences(total("setup"), total("teardown")))")
        expect(total("asked") == total("ended"), "on_end: \(differences(total("asked"), total("ended")))")
        expect(total("once").allSatisfy { $0.value == 1 }, "once: \(total("once"))")
        let free = counts.stats["limit"]?["free"]
        expect(free == 2, "permits: \(free ?? -1) are free, expected 2")

        var sum = Account()
        for (id, stat) in counts.stats where id != "limit" {
            func said(_ field: String) -> Int { stat[field] ?? -1 }
            sum.created += said("created")
            sum.delivered += said("delivered")
            sum.filtered += said("filtered")
            sum.failed += said("failed")
            sum.consumed += said("consumed")
            sum.deadLettered += said("dead_lettered")
            sum.returned += said("returned")
            for (field, count) in stat where field.hasPrefix("drop ") { sum.drop(count, String(field.dropFirst(5))) }
            expect(
                said("delivered") == count("sunk", id),
                "\(id): delivered \(said("delivered")), its sinks got \(count("sunk", id))")
            expect(said("drops") == said("dropped"), "\(id): dropped \(said("dropped")), by reasons \(said("drops"))")
            guard count("plain", id) > 0 else { continue }
            expect(
                said("filtered") == count("filtered", id),
                "\(id): filtered \(said("filtered")), expected \(count("filtered", id))")
            if count("try", id) > 0 {
                expect(
                    said("created") >= count("made", id) && said("created") <= count("try", id),
                    "\(id): created \(said("created")), its source made \(count("made", id)) of \(count("try", id))")
            }
            for (what, ids) in counts.notes where what.hasPrefix("feeds ") && ids[id] != nil {
                let feed = String(what.dropFirst(6))
                expect(
                    count("sent", feed) == said("created") - said("returned") + count("left", feed),
                    "\(id): \(count("sent", feed)) were fed, \(said("created")) taken, \(said("returned")) given back, "
                        + "\(count("left", feed)) left")
            }
        }
        expect(sum == result.account, "the pipelines say \(sum), the run \(result.account)")
        var reported = Account()
        for pipeline in result.report.pipelines { reported.add(pipeline.account) }
        expect(reported == result.account, "the report says \(reported), the run \(result.account)")
        for (channel, sent) in total("sent") where channel.hasPrefix("ch") {
            let got = count("got", channel), left = count("left", channel)
            expect(sent == got + left, "\(channel): sent \(sent), received \(got), left \(left)")
        }
    }

    private func differences(_ expected: [String: Int], _ found: [String: Int]) -> String {
        Set(expected.keys).union(found.keys).sorted().filter { expected[$0] != found[$0] }
            .map { "\($0) \(found[$0] ?? 0) of \(expected[$0] ?? 0)" }.joined(separator: ", ")
    }
}

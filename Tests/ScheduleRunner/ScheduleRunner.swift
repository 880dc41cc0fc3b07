// Runs every family under many seeds, and says how many schedules were distinct and what failed.
import ArgumentParser
import Foundation
import Schedules
import Synchronization

@main
struct ScheduleRunner: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedules",
        abstract: "Runs channels, select, contexts, limiters and shutdown under seeded schedules.",
        discussion: """
            Each schedule is a program, a seed that orders everything in it, and checks with accounts of their own. Status 1: \
            a check failed, fewer than half of the schedules were distinct, or a planted bug was not found.
            """)

    @Option(help: "Seeds of a family of scripts; others take their share of it.") var seeds = 60
    @Option(help: "The first seed.") var first: UInt64 = 1
    @Option(help: "Only families and planted bugs whose names contain this.") var family: String?
    @Flag(help: "Name the families and end.") var list = false
    @Flag(inversion: .prefixedNo, help: "Look for the planted bugs too; with few seeds some are not met.") var planted =
        true
    @Flag(help: "Show each seed that fails.") var verbose = false
    @Option(help: "Threads; 0: one a processor.") var threads = 0
    @Option(
        help:
            "Show the program that this seed of the faults draws (with --family cleanup: of those), what comes of it, and end."
    ) var show: UInt64?

    func validate() throws {
        guard seeds > 0 else { throw ValidationError("--seeds expects a number above 0") }
    }

    func run() throws {
        if let show {
            return print(family == "cleanup" ? Families.describeCleanup(show) : Families.describeFaults(show))
        }
        let families = Families.all.filter { family == nil || $0.name.contains(family!) }
        let planted = Families.planted.filter { self.planted && (family == nil || $0.name.contains(family!)) }
        if families.isEmpty && planted.isEmpty {
            throw ValidationError("no family's name contains '\(family!)'; --list shows them")
        }
        if list {
            for family in families { print(family.name) }
            return
        }
        let began = Date()
        let tallies = tally(families)
        for tally in tallies { print(tally.line) }
        let bugs = parallel(planted) { hunt($0) }
        for bug in bugs { print(bug.line) }

        let schedules = tallies.reduce(0) { $0 + $1.schedules }, distinct = tallies.reduce(0) { $0 + $1.distinct }
        let failed = tallies.reduce(0) { $0 + $1.failed }, missed = bugs.count { $0.found == 0 }
        print(
            "\(schedules) schedules, \(distinct) distinct, \(failed) failed; \(bugs.count) planted bugs, \(missed) missed; "
                + String(format: "%.1f s", Date().timeIntervalSince(began)))
        if failed > 0 || missed > 0 || 2 * distinct < schedules { throw ExitCode.failure }
    }

    // MARK: One family

    struct Tally: Sendable {
        let name: String
        var schedules = 0, failed = 0
        var firstFailure: String?
        var traces: Set<UInt64> = []
        var distinct: Int { traces.count }

        mutating func add(_ more: Tally) {
            schedules += more.schedules
            failed += more.failed
            firstFailure = firstFailure ?? more.firstFailure
            traces.formUnion(more.traces)
        }

        var line: String {
            var text = "\(failed == 0 ? "ok    " : "FAILED") \(name): \(schedules) schedules, \(distinct) distinct"
            if let firstFailure { text += "\n       \(failed) failed; first \(firstFailure)" }
            return text
        }
    }

    /// Seeds that one thread takes at a time.
    private static let chunk: UInt64 = 500

    private func tally(_ families: [Family]) -> [Tally] {
        let chunks = families.indices.flatMap { index -> [(index: Int, seeds: Range<UInt64>)] in
            let end = first + UInt64(max(1, seeds * families[index].share / 100))
            return stride(from: first, to: end, by: Int(Self.chunk)).map { (index, $0..<min(end, $0 + Self.chunk)) }
        }
        let parts = parallel(chunks) { tally(families[$0.index], $0.seeds) }
        var tallies = families.map { Tally(name: $0.name) }
        for (chunk, part) in zip(chunks, parts) { tallies[chunk.index].add(part) }
        return tallies
    }

    private func tally(_ family: Family, _ seeds: Range<UInt64>) -> Tally {
        var tally = Tally(name: family.name)
        for seed in seeds {
            let schedule = family.run(seed)
            tally.schedules += 1
            tally.traces.insert(schedule.trace)
            if let failure = schedule.failures.first {
                tally.failed += 1
                if tally.firstFailure == nil { tally.firstFailure = "seed \(seed): \(failure)" }
                if verbose { print("seed \(seed): \(failure)") }
            }
        }
        return tally
    }

    // MARK: Planted bugs

    struct Hunt: Sendable {
        let name: String
        let found: Int, seeds: Int
        var line: String { "\(found > 0 ? "found " : "MISSED") planted: \(name): by \(found) of \(seeds) seeds" }
    }

    private func hunt(_ bug: PlantedBug) -> Hunt {
        let seeds = first..<first + UInt64(max(1, self.seeds * bug.share / 100))
        return Hunt(name: bug.name, found: seeds.count { bug.isFound($0) }, seeds: seeds.count)
    }

    // MARK: Threads

    /// `body` of each element, on as many threads as were asked for; the results in the elements' order.
    private func parallel<T: Sendable, R: Sendable>(_ elements: [T], _ body: @Sendable (T) -> R) -> [R] {
        let results = Results<R>(elements.count), next = Atomic<Int>(0)
        let count = threads > 0 ? threads : ProcessInfo.processInfo.activeProcessorCount
        DispatchQueue.concurrentPerform(iterations: min(count, elements.count)) { _ in
            while true {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if index >= elements.count { return }
                results.set(index, body(elements[index]))
            }
        }
        return results.all
    }
}

private final class Results<R: Sendable>: Sendable {
    private let values: Mutex<[R?]>
    init(_ count: Int) { values = Mutex(Array(repeating: nil, count: count)) }
    func set(_ index: Int, _ value: R) { values.withLock { $0[index] = value } }
    var all: [R] { values.withLock { $0.compactMap { $0 } } }
}

// Runs the attack corpus in this one process, and says what came of it and how fast each limit took hold.
import ArgumentParser
import AttackMeter
import Attacks
import Foundation
import LuaVM

@main
struct AttackRunner: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run-attacks",
        abstract: "Runs scripts that attack the host, each beside a pipeline that behaves.",
        discussion: """
            Status 1: an attack was not contained, the other pipeline lost a value or was held up, memory did not return, or (with \
            --twins) an attack ends without its limit too. Delays are from the moment a limit was reached to the report of the stop.
            """)

    @Option(help: "Only attacks whose kind or name contains this.") var only: String?
    @Option(help: "Each attack so often.") var `repeat` = 1
    @Option(help: "Seconds after which an attack that nothing stopped is given up.") var patience = 10.0
    @Flag(help: "Runs the twins, without limits, instead of the attacks.") var twins = false
    @Option(help: "Seconds that the twins run.") var seconds = 2.0
    @Flag(help: "Names the attacks and ends.") var list = false
    @Flag(help: "Prints the script of each attack, or of each twin, and ends.") var scripts = false
    @Flag(help: "Prints one line of JSON at the end: counts, and delays and pauses in milliseconds.") var json = false
    @Flag(help: "Names each attack before it runs.") var verbose = false

    /// A pause of the others that no busy machine explains, seconds.
    private static let longestPause = 2.0
    /// Seconds within which a stop is to be reported (p99); slower ones are named at the end.
    private static let promised = 0.05
    /// What an attack may leave in the heap: caches that the process keeps once (bytes), and what all of them together may.
    private static let heapOfOne = 1 << 20, heapOfAll = 4 << 20
    /// What all may add to the resident memory: malloc keeps up to 64 MB in an arena after large blocks. The heap's bytes in
    /// use are the exact figure.
    private static let resident = 128 << 20

    func run() throws {
        let attacks = Corpus.all.filter { attack in
            guard let only else { return true }
            return attack.name.localizedCaseInsensitiveContains(only)
                || attack.kind.rawValue.localizedCaseInsensitiveContains(only)
        }
        if list || scripts { return attacks.forEach(describe) }
        if twins { return try runTwins(attacks) }
        try runAttacks(attacks)
    }

    private func describe(_ attack: Attack) {
        print("\(attack.kind.rawValue): \(attack.name) (\(attack.limit))")
        if scripts { print(twins ? attack.twin : attack.script) }
    }

    private func runTwins(_ attacks: [Attack]) throws {
        let results = Attacks.runTwins(of: attacks, seconds: seconds)
        results.failures.forEach { print("FAILED \($0)") }
        print("\(results.count) twins, \(results.failures.count) failed")
        leave(results.failures.isEmpty)
    }

    private func runAttacks(_ attacks: [Attack]) throws {
        warmUp()
        let heap = Int(attack_heap_bytes()), resident = Int(attack_resident_bytes())
        var failed = 0, hung = 0, delays: [Double] = [], pauses: [Double] = []
        var slow: [(attack: String, delay: Double)] = []
        for round in 0..<max(1, `repeat`) {
            for attack in attacks {
                if verbose { print("\(attack.kind.rawValue): \(attack.name)") }
                fflush(nil)
                let result = attack.run(patience: patience)
                let problems = result.failures + judge(result)
                if let delay = result.delay {
                    delays.append(delay)
                    if delay > Self.promised { slow.append(("\(attack.kind.rawValue): \(attack.name)", delay)) }
                }
                if let pause = result.widestPause { pauses.append(pause) }
                if result.isHung { hung += 1 }
                if problems.isEmpty {
                    if round == 0 { print("ok     \(attack.kind.rawValue): \(attack.name)\(Self.text(result.delay))") }
                } else {
                    failed += 1
                    print("FAILED \(attack.kind.rawValue): \(attack.name)\(Self.text(result.delay))")
                    problems.forEach { print("       \($0)") }
                }
            }
        }
        attack_trim_heap()
        if hung == 0 {
            let grown = Int(attack_heap_bytes()) - heap, more = Int(attack_resident_bytes()) - resident
            print("heap \(grown >> 10) KiB more than before, resident memory \(more >> 10) KiB")
            if !attack_is_sanitized(), grown > Self.heapOfAll || more > Self.resident {
                print("FAILED memory did not return")
                failed += 1
            }
        }
        for (attack, delay) in slow { print("slow   \(attack)\(Self.text(delay))") }
        let kinds = Set(attacks.map(\.kind)).count
        print(
            "stopped after their limits: \(Self.summary(delays)); the others' longest pauses: \(Self.summary(pauses))")
        if json { print(Self.json(attacks.count, delays, pauses)) }
        print("\(attacks.count) attacks of \(kinds) kinds, \(failed) failed, \(hung) hung")
        leave(failed == 0)
    }

    /// What the process keeps once it has it: the library's chunks, threads' caches, the symbols of keys, and what malloc does
    /// not give back of what was large.
    private func warmUp() {
        let harmless = Attack(.values, "none", prints: ["1"], "print(1)")
        let kept = ["keys that are always new", "one that doubles", "concat", "many channels"]
        for attack in [harmless, harmless] + Corpus.all.filter({ kept.contains($0.name) }) {
            _ = attack.run(patience: patience)
        }
        attack_trim_heap()
    }

    private func judge(_ result: AttackResult) -> [String] {
        if attack_is_sanitized() || result.isHung { return [] }
        var problems: [String] = []
        if let pause = result.widestPause, pause > Self.longestPause {
            problems.append("the others waited \(pause) s for their next value")
        }
        if result.heapGrowth > Self.heapOfOne {
            problems.append("\(result.heapGrowth >> 10) KiB of the heap stay in use")
        }
        return problems
    }

    /// Threads that an attack holds for good must not keep the process.
    private func leave(_ isGood: Bool) -> Never {
        fflush(nil)
        _exit(isGood ? 0 : 1)
    }

    // MARK: Figures

    private static func text(_ delay: Double?) -> String { delay.map { String(format: " (%.1f ms)", $0 * 1e3) } ?? "" }

    private static func quantile(_ sorted: [Double], _ q: Double) -> Double {
        sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int((Double(sorted.count) * q).rounded(.up)) - 1)] * 1e3
    }

    private static func summary(_ values: [Double]) -> String {
        let sorted = values.sorted()
        return String(
            format: "p50 %.1f ms, p99 %.1f ms, max %.1f ms of %d", quantile(sorted, 0.5), quantile(sorted, 0.99),
            quantile(sorted, 1), sorted.count)
    }

    private static func json(_ attacks: Int, _ delays: [Double], _ pauses: [Double]) -> String {
        let d = delays.sorted(), p = pauses.sorted()
        return String(
            format: #"{"attacks": %d, "samples": %d, "p50": %.2f, "p99": %.2f, "max": %.2f, "pause_p99": %.2f}"#,
            attacks, d.count,
            quantile(d, 0.5), quantile(d, 0.99), quantile(d, 1), quantile(p, 0.99))
    }
}

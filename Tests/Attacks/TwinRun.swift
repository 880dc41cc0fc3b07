// The attacks without their limits, side by side: each must still run after a while, so it was the limit that stopped it,
// and no mistake in the attack.
import AttackMeter
import Glibc
import LuaVM
import StreamCore

package struct TwinResults: Sendable {
    package var count = 0
    /// Whole sentences.
    package var failures: [String] = []
}

/// Runs the twins of `attacks` in one process on two threads, looks at them `seconds` after the last has come inside, and
/// stops them.
package func runTwins(of attacks: [Attack], seconds: Double) -> TwinResults {
    let attacks = attacks.filter(\.hasTwin)
    var results = TwinResults()
    results.count = attacks.count
    let states = LuaVM.liveStates
    let scheduler = ScriptRun.scheduler()
    scheduler.start()
    do {
        let runs = attacks.map { ScriptRun($0.twin, on: scheduler) }
        for run in runs { run.start() }
        let patience = attack_now() + 60_000_000_000
        while attack_now() < patience, runs.contains(where: { $0.output.time(of: "inside") == nil }) { usleep(20_000) }
        usleep(UInt32(seconds * 1e6))
        for (attack, run) in zip(attacks, runs) {
            let problem: String? =
                if run.output.time(of: "inside") == nil {
                    "never got inside"
                } else if run.output.time(of: "returned") != nil {
                    "returned by itself"
                } else if run.output.time(of: "ended") != nil || run.outcome != nil {
                    "ended by itself"
                } else {
                    nil
                }
            if let problem {
                results.failures.append(
                    "the twin of \"\(attack.name)\" \(problem): \(run.output.lines.suffix(5)) \(run.errors.lines.suffix(5))"
                )
            }
        }
        for run in runs { _ = run.stop(seconds: 0) }
        var isHung = false
        for (attack, run) in zip(attacks, runs) where !run.stop(seconds: isHung ? 1 : 20) {
            isHung = true
            results.failures.append("the twin of \"\(attack.name)\" could not be stopped")
        }
        if isHung { return results }
    }
    scheduler.stop()
    let left = LuaVM.liveStates - states
    if left != 0 { results.failures.append("\(left) Lua states live on after the twins") }
    return results
}

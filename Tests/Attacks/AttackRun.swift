// Runs one attack beside a pipeline that behaves, and judges what came of both.
import AttackMeter
import LuaVM
import StreamCore
import StreamRuntime

package struct AttackResult: Sendable {
    package let attack: Attack
    /// What did not come as it must; none: all is well.
    package var failures: [String] = []
    /// Seconds beyond the limit until the stop was reported: see `delay`. Nil: nothing had to stop it.
    package var delay: Double?
    /// The longest time in which no value of the other pipeline arrived, seconds.
    package var widestPause: Double?
    /// Its run never ended, and holds a thread for good.
    package var isHung = false
    /// Bytes of the heap that it left in use.
    package var heapGrowth = 0
}

extension Attack {
    /// Runs it. An attack that nothing stops is ended by force after `patience` seconds, and fails.
    ///
    /// - Parameter patience: far beyond every limit: no promise is measured by it.
    package func run(patience: Double) -> AttackResult {
        var result = AttackResult(attack: self)
        let heap = attack_heap_bytes(), states = LuaVM.liveStates
        let scheduler = ScriptRun.scheduler()
        scheduler.start()
        do {
            let run = ScriptRun(script, on: scheduler)
            run.start()
            if !run.wait(seconds: patience) {
                result.failures.append("nothing stopped it within \(patience) s")
                if !run.stop(seconds: 3) {
                    result.isHung = true
                    result.failures.append("nor by force: its thread is lost")
                    return result
                }
            }
            judge(run, &result)
        }
        scheduler.stop()
        let left = LuaVM.liveStates - states
        if left != 0 { result.failures.append("\(left) Lua states live on") }
        attack_trim_heap()
        result.heapGrowth = Int(attack_heap_bytes()) - Int(heap)
        return result
    }

    // MARK: Judgement

    private func judge(_ run: ScriptRun, _ result: inout AttackResult) {
        var failures: [String] = []
        let output = run.output.lines, errors = run.errors.lines
        func expect(_ condition: Bool, _ text: @autoclosure () -> String) { if !condition { failures.append(text()) } }

        expect(output.contains("inside"), "it never got inside")
        expect(output.contains { $0.hasPrefix("others\ttrue") }, "the other pipeline failed")
        expect(output.contains("missing\tnone"), "values of the other pipeline are missing")
        expect(output.contains { $0.hasPrefix("account\tbalanced") }, "the account is not balanced")
        let passed = output.filter { $0.hasPrefix("passed ") }.map { String($0.dropFirst("passed ".count)) }
        let returned = output.contains("returned")
        let skipped = errors.filter { $0.hasPrefix("streamhost: skipped") }.joined(separator: "\n")

        var passes: [String]? = ["1", "3"]
        if case .chain(_, let expected) = place { passes = expected }
        switch outcome {
        case .stopped:
            if limit == .cancel {  // what waits ends by itself then
                if place.isMap { passes = nil }
                expect(output.contains("ended\tnil\tenough"), "it was not cancelled")
            } else {
                expect(!returned, "it returned")
                expect(output.contains("ended\ttrue"), "its pipeline failed")
                expect(skipped.contains(limit.message), "it was not stopped for its \(limit)")
            }
        case .prints(let lines):
            if place.isMap { passes = ["1", "2", "3"] }
            let from = output.firstIndex(of: "inside") ?? output.endIndex
            let to = output.firstIndex(of: "returned") ?? from
            let printed = output[from..<to].dropFirst().filter { !$0.hasPrefix("passed ") }
            expect(returned, "it did not return: \(skipped)")
            expect(printed.elementsEqual(Self.asPrinted(lines)), "it printed \(Array(printed)), not \(lines)")
        case .fails(let reason):
            expect(skipped.contains(reason), "its value did not fail with \"\(reason)\": \(skipped)")
            expect(output.contains("ended\ttrue"), "its pipeline failed")
        case .ends(let reason):
            expect(
                output.contains { $0.hasPrefix("ended\tnil\t") && $0.contains(reason) },
                "its pipeline did not fail with \"\(reason)\"")
        }
        if let passes { expect(passed == passes, "\(passed) passed, not \(passes)") }
        if let line = output.first(where: { $0.hasPrefix("widest") }) {
            result.widestPause = line.split(separator: "\t").last.flatMap { Double($0) }
        }
        result.delay = delay(run)
        if !failures.isEmpty {
            failures.append("output: \(output.prefix(30)) ... \(output.suffix(8))")
            failures.append("errors: \(errors.prefix(8)) \(run.outcome?.failures ?? [])")
        }
        result.failures += failures
    }

    /// A recorder gives no empty lines.
    private static func asPrinted(_ lines: [String]) -> [String] { lines.filter { !$0.isEmpty } }

    /// Seconds from the moment when the limit was reached to the one when the stop was reported, on one clock. The limit is
    /// reached
    /// - for `timeout` and `cpu` so long after the marker that is printed right before the hostile act (the value's time
    ///   began a few microseconds before the marker; the processor's time is no longer than the clock's),
    /// - for `memory` and `output` at the marker: what the attack needs to come to its limit counts too,
    /// - for `cancel` two grace periods after the pipeline was cancelled; what ends sooner is in time.
    private func delay(_ run: ScriptRun) -> Double? {
        guard case .stopped = outcome else { return nil }
        if limit == .cancel {
            guard let began = run.output.time(of: "cancelled"), let ended = run.output.time(of: "ended") else {
                return nil
            }
            return max(0, Double(ended - began) / 1e9 - Bounds.graces)
        }
        guard let began = run.output.time(of: "inside"), let ended = run.errors.time(of: "streamhost: skipped") else {
            return nil
        }
        let allowed =
            switch limit {
            case .timeout: Bounds.timeout
            case .cpu: Bounds.cpu
            case .memory, .output, .cancel, .refusal: 0.0
            }
        return Double(ended - began) / 1e9 - allowed
    }
}

extension Place {
    fileprivate var isMap: Bool { if case .map = self { true } else { false } }
}

extension Limit {
    /// How the stop is told.
    fileprivate var message: String {
        switch self {
        case .timeout: "deadline exceeded"
        case .memory: "memory limit"
        case .cpu: "cpu limit"
        case .output: "output limit"
        case .cancel: "enough"
        case .refusal: ""
        }
    }
}

// Sweeps failures of Lua's memory over every function that scripts call: see scripts/check.d/allocations.
//
//     sweep-allocations [--list | NAME [KIND [NUMBER]]]
//
// Each script runs once for each growth of memory between its GO and its STOP, which is then refused, under the seeded
// scheduler. However it ends: it ends, within a bound of steps; its account balances; nothing leaks. What a script
// sees is Lua's "not enough memory", or a host function's reason.
import CLuaShim
import Glibc

@_silgen_name("__lsan_do_recoverable_leak_check")
private func findLeaks() -> CInt

/// At once: the next run may end the process.
private func say(_ text: Any) {
    let bytes = Array("\(text)\n".utf8)
    _ = write(1, bytes, bytes.count)
}

@main
struct Sweep {
    static func main() {
        let arguments = CommandLine.arguments
        if arguments.count > 1, arguments[1] == "--list" {
            for script in sweptScripts { say(script.name) }
            return
        }
        shim_failures_enable(true)
        var failed = false
        for script in sweptScripts where arguments.count < 2 || arguments[1] == script.name {
            if !sweep(script, arguments) { failed = true }
        }
        exit(failed ? 1 : 0)
    }

    /// False: something does not hold.
    static func sweep(_ script: SweptScript, _ arguments: [String]) -> Bool {
        let clean = run(script.text, Failure())
        guard clean.output.contains("END"), clean.result?.status == .done else {
            say("\(script.name): does not work: \(clean)")
            return false
        }
        var line = script.name + ":", good = true
        for kind in Failure.Kind.allCases where arguments.count < 3 || arguments[2] == kind.rawValue {
            let one = arguments.count > 3 ? UInt64(arguments[3]) : nil
            for number in one.map({ $0...$0 }) ?? 1...max(1, clean.growths) {
                let outcome = run(script.text, Failure(kind: kind, number: number))
                if one != nil { say(outcome) }
                var problem: String?
                if let result = outcome.result {
                    if !result.account.isBalanced { problem = "the account does not balance: \(result.account)" }
                } else {
                    problem = "it does not end"
                }
                if let problem {
                    say("\(script.name) \(kind) \(number): \(problem)")
                    good = false
                }
            }
            if findLeaks() != 0 {
                say("\(script.name) \(kind): memory has leaked")
                return false
            }
            line += " \(kind) \(clean.growths)"
        }
        say(line)
        return good
    }
}

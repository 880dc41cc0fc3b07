// What scripts must do whatever the order.
import StreamRuntime

/// A script, and what must come of it whatever the order.
package struct SeededCase: Sendable {
    /// Lua's `check(p)`: the account of a pipeline that has ended balances. Returns what its `stats` are.
    static let accountCheck = """
        local function check(p)
          local s = p:stats()
          assert(s.created == s.delivered + s.consumed + s.filtered + s.failed + s.dropped + s.dead_lettered + s.returned, "account")
          return s
        end
        """

    package let name: String
    package let script: String
    /// The lines written, in any order.
    package let output: [String]
    package var status = RunResult.Status.done
    /// What the first failure contains.
    package var failure: String?

    package init(
        name: String, script: String, output: [String], status: RunResult.Status = .done, failure: String? = nil
    ) {
        self.name = name
        self.script = script
        self.output = output
        self.status = status
        self.failure = failure
    }

    /// What is wrong, or nil.
    package func problem(_ outcome: SeededOutcome) -> String? {
        guard let result = outcome.result else { return "it does not end" }
        if result.status != status { return "status" }
        if !result.account.isBalanced { return "the account does not balance" }
        if outcome.output.sorted() != output.sorted() { return "output" }
        if let failure, !(result.failures.first ?? "").contains(failure) { return "failure" }
        if failure == nil && !result.failures.isEmpty { return "a failure" }
        return nil
    }
}

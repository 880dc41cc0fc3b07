// Accounts: pipelines whose accounts are known beforehand, and bugs planted in how they are kept.
import StreamRuntime

extension Families {
    package static let accounts = accountCases.map { test in
        Family("account: \(test.name)", share: 50) { seed in
            let outcome = runSeeded(test.script, seed: seed)
            return Schedule(
                trace: outcome.trace, failures: test.problem(outcome).map { ["\($0): \(outcome.summary)"] } ?? [])
        }
    }

    package static let plantedInAccounts: [PlantedBug] = [
        PlantedBug("a batch lost in a queue", symptom: "was neither taken nor dropped") {
            withFault(.batchLostInQueue, "script.lua:2: ", "the queue of", $0)
        },
        PlantedBug("a value dropped and not counted", symptom: "its account does not balance") {
            withFault(.dropNotCounted, "script.lua:2: ", "", $0)
        },
        PlantedBug("the end of a chain that counts a value twice", symptom: "its account does not balance") {
            withFault(.deliveredTwice, "script.lua:2: ", "", $0)
        },
    ]

    /// The run has to fail, and its failure to name the pipeline and the queue.
    private static func withFault(
        _ fault: RunFault, _ place: String, _ queue: String, _ seed: UInt64
    ) -> Schedule {
        let outcome = runSeeded(
            """
            local stream = require "stream"
            local p = stream.from(stream.range(1, 40)):map("first", function(v) return v end, { queue = 2 })
              :skip(1):take(20):to(function(v) if v % 5 == 0 then stream.sleep("1ms") end end)
            stream.sleep("3ms")
            p:cancel()
            """, seed: seed, fault: fault)
        let failures = outcome.result?.failures ?? []
        let told = failures.filter { $0.hasPrefix(place) && $0.contains(queue) && outcome.result?.status == .failed }
        // one lost value or several: the sentence differs in one word
        return Schedule(
            trace: outcome.trace,
            failures: told.map { $0.replacing("were neither", with: "was neither") })
    }
}

/// A pipeline, and the account that it must have: each count by reasoning about what its stages do.
package struct AccountCase: Sendable {
    package let name: String
    package let script: String
    package let account: Account

    /// - Parameter chain: what follows `local p = `.
    init(_ name: String, _ chain: String, before: String = "", after: String = "", _ set: (inout Account) -> Void) {
        self.name = name
        script = """
            local stream = require "stream"
            \(before)
            local p = \(chain)
            \(after)
            """
        var account = Account()
        set(&account)
        self.account = account
    }

    package func problem(_ outcome: SeededOutcome) -> String? {
        guard let result = outcome.result else { return "it does not end" }
        if result.status != .done { return "status" }
        if result.account != account { return "expected \(account)" }
        if !result.account.isBalanced { return "the account does not balance" }
        var sum = Account()
        for pipeline in result.report.pipelines { sum.add(pipeline.account) }
        return sum == account ? nil : "the report says \(sum)"
    }
}

extension Families {
    package static let accountCases: [AccountCase] = [
        AccountCase(
            "map, filter",
            "stream.from(stream.range(1, 10)):map(function(v) if v > 7 then return nil end return v end)"
                + ":filter(function(v) return v % 2 == 0 end):to(stream.null_sink())"
        ) {
            $0.created = 10
            $0.filtered = 3 + 4  // 8, 9, 10; 1, 3, 5, 7
            $0.delivered = 3
        },
        AccountCase(
            "flat_map",
            "stream.from(stream.range(1, 4)):flat_map(function(v, emit) for i = 1, v do emit(i) end end)"
                + ":to(function() end)"
        ) {
            $0.created = 4 + 10
            $0.consumed = 4
            $0.delivered = 10
        },
        AccountCase(
            "reduce", "stream.from(stream.range(1, 12)):reduce(0, function(n) return n + 1 end):to(stream.null_sink())"
        ) {
            $0.created = 12 + 1
            $0.consumed = 12
            $0.delivered = 1
        },
        AccountCase(
            "by key, in order",
            "stream.from(stream.range(1, 30)):map('m', function(v) return v end, { workers = 3, "
                + "key = function(v) return v % 5 end, ordered = true, queue = 4 }):to(stream.null_sink())"
        ) {
            $0.created = 30
            $0.delivered = 30
        },
        AccountCase(
            "batch, tee",
            "stream.from(stream.range(1, 10)):batch { size = 4 }"
                + ":tee(function(b) b:to(stream.null_sink()) end, function(b) b:to(stream.null_sink()) end):to(stream.null_sink())"
        ) {
            $0.created = 10 + 3 + 2 * 3  // values; arrays of 4, 4, 2; two copies of each
            $0.consumed = 10
            $0.delivered = 9
        },
        AccountCase(
            "a process",
            """
            stream.from(stream.range(1, 6)):stage("pairs", function(input, output)
              for v in input:range() do if v % 2 == 0 then output:send(v) output:send(-v) end end
            end):to(stream.null_sink())
            """
        ) {
            $0.created = 6 + 6
            $0.consumed = 6
            $0.delivered = 6
        },
        AccountCase(
            "a process whose channels other workers use",
            """
            stream.from(stream.range(1, 6)):stage("hands", function(input, output)
              local w = stream.worker("other", function(a, b) for v in a:range() do b:send(v) b:send(v) end end)
              local one, two = w:start(input, output), w:start(input, output)
              one:wait() two:wait()
            end):to(stream.null_sink())
            """
        ) {
            $0.created = 6 + 12
            $0.consumed = 6
            $0.delivered = 12
        },
        AccountCase(
            "a pipeline inside a process, between its channels",
            """
            stream.from(stream.range(1, 6)):stage("inner", function(input, output)
              stream.from(input):filter(function(v) return v > 2 end):to(output, { close = false }):wait()
            end):to(stream.null_sink())
            """
        ) {
            $0.created = 6 + 4 + 6  // the source's, the stage's, and those that the inner one takes
            $0.consumed = 6
            $0.filtered = 2
            $0.delivered = 4 + 4
        },
        AccountCase(
            "failures that are skipped",
            "stream.from(stream.range(1, 9)):map('odd', function(v) if v % 3 == 0 then "
                + "error('no') end return v end, { on_error = 'skip' }):to(stream.null_sink())"
        ) {
            $0.created = 9
            $0.failed = 3
            $0.delivered = 6
        },
        AccountCase(
            "a limiter that drops",
            "stream.from(stream.range(1, 9)):limit({ rate = 0.001, burst = 4 }, { mode = 'drop' })"
                + ":to(stream.null_sink())"
        ) {
            $0.created = 9
            $0.delivered = 4
            $0.drop(5, DropReason.limited)
        },
        AccountCase(
            "a channel source whose stage fails",
            "stream.from(ch):map('bad', function() error('no') end)"
                + ":to(stream.null_sink())",
            before: "local ch = stream.chan(10) for i = 1, 4 do ch:send(i) end",
            after: "assert(not p:wait()) assert(#ch == 3, 'left')"
        ) {
            $0.created = 1
            $0.failed = 1
        },
    ]
}

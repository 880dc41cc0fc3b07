// What selects say in reports, and how they choose.
import Schedules
import Testing

private let head = "local stream = require 'stream'\n"

@Suite struct SelectScriptTests {
    /// What a waiting select is called in the report of a deadlock.
    @Test func deadlock_namesWhatIsSelectedOn() {
        let script =
            head + """
                local a, b = stream.chan(0), stream.chan(0)
                stream.go(function()
                  stream.select { { recv = a }, { send = b, value = 1 } }
                end)
                stream.select {}
                """
        let failure = runSeeded(script, seed: 1).result?.failures.first ?? ""
        #expect(
            failure.contains(
                "script.lua:4: main is selecting on the channel of script.lua:2, the channel of script.lua:2 (send)"))
        #expect(failure.contains("script.lua:6: main is selecting on nothing"))
    }

    /// With k cases ready at each of 400 picks, none is taken fewer than half as often as the others expect: for a fair
    /// choice that is beyond 6 standard deviations, and the seeds are fixed.
    @Test(arguments: [2, 3, 5]) func choice_isFair(ready: Int) {
        let script =
            head + """
                local cases, taken = {}, {}
                for i = 1, \(ready) do
                  local ch = stream.chan(1)
                  cases[i], taken[i] = i % 2 == 1 and { recv = ch } or { send = ch, value = i }, 0
                  if cases[i].recv then ch:send(i) end
                end
                for _ = 1, 400 * \(ready) do
                  local which = stream.select(cases)
                  taken[which] = taken[which] + 1
                  local case = cases[which]
                  if case.recv then case.recv:send(which) else case.send:recv() end
                end
                for i = 1, \(ready) do print(taken[i] > 200 and taken[i] < 600 and "fair" or taken[i]) end
                """
        for seed in 1...20 as ClosedRange<UInt64> {
            let outcome = runSeeded(script, seed: seed)
            #expect(outcome.output == Array(repeating: "fair", count: ready), "seed \(seed)")
        }
    }
}

// What becomes of the values that stages have in hand when their pipeline is cancelled.
import Foundation
import Testing

@Suite struct EarlyEndAccountTests {
    /// Guards against values that were in no count: their results waited for room in the next queue, or in the lane of a
    /// worker that keeps the order.
    @Test func cancelledPipeline_countsWhatItTook_andLeavesTheRestInItsSource() throws {
        let stages = [
            ":map('m', id)", ":map('m', id, { workers = 3, ordered = true })",
            ":map('m', id):map('n', id, { queue = 1 })",
            ":each('m', id, { workers = 3 }):filter('n', id, { queue = 1 })",
            ":scan('m', 0, id):map('n', nap, { queue = 1 })",
            ":map('m', nap, { queue = 0 })",
        ]
        for stage in stages {
            let outcome = try CommandLine.run(
                """
                local stream = require "stream"
                local function id(v) return v end
                local function nap(v) stream.sleep(10) return v end
                local feed, out, sent = stream.chan(0), stream.chan(0), 0
                local feeder = stream.go(function()
                  while feed:send(1, "50ms") do sent = sent + 1 end
                  feed:close()
                end)
                local p = stream.from(feed)\(stage):to(out)
                stream.sleep("10ms")
                p:cancel()
                p:wait()
                feeder:wait()
                local left = 0
                while feed:try_recv() do left = left + 1 end
                local s = p:stats()
                print(s.delivered, sent == s.dropped + left, s.created == s.dropped + s.returned, s.drops.ended == s.dropped)
                """)
            #expect(outcome.output == "0\ttrue\ttrue\ttrue\n", "\(stage): \(outcome.output)\(outcome.errors)")
        }
    }

    /// Of a stage that is ended with a value in hand: it computes on until `canceled` is raised, it raises something of its
    /// own afterwards, it is over a limit afterwards.
    static let ended = [
        "while true do end", "stream.sleep(100) error('mine')", "stream.sleep(100) while true do pcall(busy) end",
        "stream.sleep(100) greedy()",
    ]

    /// Guards against values counted as failed although their failure came after the end, and was nobody's.
    @Test(arguments: ended.indices) func valueInHandAtTheEnd_isDropped_andHasNotFailed(_ index: Int) throws {
        let body = "function(v) if v == 3 then begun:send(1) \(Self.ended[index]) end return v end"
        let plain = [
            "{ memory = '1MB' }", "{ memory = '1MB', on_error = 'skip' }",
            "{ memory = '1MB', on_error = { retry = 2 } }",
        ]
        let stages =
            plain.map { ":map('m', \(body), \($0))" }
            + [
                ":map('n', id, { memory = '1MB' }):map('m', \(body), { isolated = false })",
                ":flat_map('f', { process = id, flush = function(emit) emit(3) end }, { memory = '1MB' })"
                    + ":map('m', \(body), { isolated = false })",
            ]
        for stage in stages {
            let outcome = try CommandLine.run(
                """
                local stream = require "stream"
                local begun, kept = stream.chan(10), {}
                local function id(v) return v end
                local function busy() while true do end end
                local function greedy() while true do pcall(function() kept[#kept + 1] = { #kept } end) end end
                local p = stream.from(stream.values { 1, 2, 3 })\(stage):to(stream.null_sink())
                begun:recv()
                p:cancel()
                print(p:wait())
                local s = p:stats()
                print(s.failed, s.dropped > 0, s.dropped == s.drops.ended,
                  s.created == s.delivered + s.consumed + s.filtered + s.dropped)
                """)
            #expect(
                outcome.output == "nil\tcanceled\n0\ttrue\ttrue\ttrue\n", "\(stage): \(outcome.output)\(outcome.errors)"
            )
        }
    }
}

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
}

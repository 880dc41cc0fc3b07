// What a run says about how far it has come.
import StreamHost
import Testing

@testable import StreamRuntime

@Suite struct ProgressTests {
    @Test func theFullestQueueForItsCapacity_isKept() {
        typealias Queue = RunProgress.Queue
        let cases: [(name: String, queues: [Queue], fullest: String?)] = [
            ("none", [], nil),
            ("empty ones", [Queue(name: "a", count: 0, capacity: 1)], nil),
            ("a rendezvous", [Queue(name: "a", count: 0, capacity: 0)], nil),
            (
                "by share, not by count",
                [Queue(name: "a", count: 100, capacity: 256), Queue(name: "b", count: 1, capacity: 2)], "b"
            ),
            (
                "the first of equals",
                [Queue(name: "a", count: 1, capacity: 2), Queue(name: "b", count: 128, capacity: 256)], "a"
            ),
            (
                "a full one", [Queue(name: "a", count: 2, capacity: 2), Queue(name: "b", count: 255, capacity: 256)],
                "a"
            ),
        ]
        for test in cases {
            var progress = RunProgress()
            for queue in test.queues { progress.consider(queue) }
            #expect(progress.fullest?.name == test.fullest, "\(test.name)")
        }
    }

    /// A sink that takes one value and then waits: behind it everything fills up, and the counts say so.
    @Test(.timeLimit(.minutes(1))) func aRunInProgress_tellsWhatHasGoneInAndOut() async throws {
        var host = Host()
        host.threads = 2
        let run = host.start(
            script: """
                local stream = require "stream"
                local ch = stream.chan(5)
                stream.from(stream.range(1, 1000))
                  :map("pass", function(v) return v end, { queue = 7 })
                  :to(ch)
                stream.sleep("1h")
                """)
        while run.progress.delivered < 5 || run.progress.fullest?.count != 7 {
            try await Task.sleep(for: .milliseconds(1))
        }
        let progress = run.progress
        #expect(progress.delivered == 5)
        #expect(progress.entered >= 12)
        #expect(progress.fullest == RunProgress.Queue(name: "the queue of \"pass\"", count: 7, capacity: 7))
        run.cancel()
        let result = await run.result
        #expect(result.account.isBalanced, "\(result.account)")
        #expect(run.progress.fullest == nil)
    }

    @Test(.timeLimit(.minutes(1))) func aRunThatIsOver_tellsTheWholeCounts() async {
        let run = Host().start(
            script: """
                local stream = require "stream"
                stream.from(stream.range(1, 1000)):filter("f", function(v) return v % 2 == 0 end)
                  :to(stream.null_sink())
                assert(#stream.from(stream.values { 1, 2, 3 }):collect() == 3)
                """)
        let result = await run.result
        #expect(result.failures == [])
        #expect(run.progress.entered == 1003)
        #expect(run.progress.delivered == 503)
    }
}

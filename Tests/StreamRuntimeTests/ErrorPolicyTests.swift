// The decisions after a failure, as tables: tries, their waits, fresh workers.
import Testing

@testable import StreamRuntime

@Suite struct ErrorPolicyTests {
    private static let second: Int64 = 1_000_000_000

    /// attempt, backoff, and the bounds of its wait: half of what is doubled each time, and all of it; 30 s at most.
    static let waits: [(attempt: Int, backoff: Int64, least: Int64, most: Int64)] = [
        (1, 100, 50, 100), (2, 100, 100, 200), (3, 100, 200, 400), (10, 100, 25_600, 51_200),
        (1, 1, 0, 1), (5, 0, 0, 0), (1, 20 * second, 10 * second, 20 * second),
        (2, 20 * second, 15 * second, 30 * second), (1_000_000, 20 * second, 15 * second, 30 * second),
        (1, 60 * second, 30 * second, 60 * second), (7, 60 * second, 30 * second, 60 * second),
        (9, .max, .max / 2, .max),
    ]

    @Test(arguments: waits.indices) func wait_isBetweenHalfAndAll_andTakesBothEnds(_ index: Int) {
        let row = Self.waits[index]
        let span = UInt64(row.most - row.least) + 1
        for (random, expected) in [(0, row.least), (span - 1, row.most), (span, row.least)] as [(UInt64, Int64)] {
            #expect(ErrorPolicy.wait(before: row.attempt, backoff: row.backoff) { random } == expected)
        }
    }

    @Test func tries_areCountedForEachValue() {
        let policy = ErrorPolicy(retries: 2, backoff: 8)
        var state = RetryState()
        // what failed, and the wait that follows, with all of the jitter: nil, it is given up
        let steps: [(value: UInt64, wait: Int64?)] = [
            (1, 8), (1, 16), (1, nil), (2, 8), (3, 8), (3, 16), (3, nil), (3, nil), (4, 8),
        ]
        for (value, wait) in steps {
            let decision = state.failed(value, policy) { wait == 8 ? 4 : 8 }
            #expect(decision == wait.map { .retry(after: $0) } ?? .giveUp)
        }
    }

    @Test func withoutRetry_isGivenUpAtOnce() {
        var state = RetryState()
        #expect(state.failed(1, .skip) { 0 } == .giveUp)
    }

    @Test func restarts_areAllowedUpToSoManyWithinTheTime() {
        var window = RestartWindow()
        let asked: [(now: Int64, allowed: Bool)] = [
            (0, true), (5, true), (9, false),  // two within 10
            (10, true),  // the one at 0 is 10 old
            (14, false), (15, true), (15, false), (40, true), (41, true), (42, false),
        ]
        for (now, allowed) in asked {
            #expect(window.restart(most: 2, within: 10, at: now) == allowed, "at \(now)")
        }
        #expect(window.count == 2)
    }
}

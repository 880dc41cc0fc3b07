// The examples of channels and select: their whole output against one that the test computes.
import Foundation
import Testing

@Suite struct ChannelExampleTests {
    @Test(arguments: [0, 1, 25, 120]) func sieve(_ count: Int) throws {
        var primes: [Int] = [], next = 2
        while primes.count < count {
            if primes.allSatisfy({ next % $0 != 0 }) { primes.append(next) }
            next += 1
        }
        try ExampleRun("sieve.lua", [String(count)]).expect(primes.map(String.init))
    }

    /// The idle service takes one request of a burst at once, and as many wait as the queue is long.
    @Test(arguments: [(4, [3, 10, 6]), (0, [5, 0, 1]), (2, []), (50, [10, 200, 51])] as [(Int, [Int])])
    func degrade(_ length: Int, _ bursts: [Int]) throws {
        let accepted = bursts.map { min($0, length + 1) }
        let lines = zip(bursts, accepted).enumerated().map { number, burst in
            "burst \(number + 1): \(burst.1) served in full, \(burst.0 - burst.1) degraded"
        }
        let inFull = accepted.reduce(0, +), all = bursts.reduce(0, +)
        try ExampleRun("degrade.lua", ([length] + bursts).map(String.init))
            .expect(lines + ["in all: \(inFull) served in full, \(all - inFull) degraded"])
    }
}

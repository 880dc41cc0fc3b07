// The examples of tasks and contexts, against what the test computes itself.
import Testing

@Suite struct ConcurrencyExampleTests {
    @Test(arguments: [(1, 5), (4, 20), (3, 0), (8, 300)]) func pool(_ workers: Int, _ jobs: Int) throws {
        func steps(_ n: Int) -> Int { n == 1 ? 0 : 1 + steps(n % 2 == 0 ? n / 2 : 3 * n + 1) }
        let lines = (1..<jobs + 1).map { "\($0)\t\(steps($0))" }
        try ExampleRun("pool.lua", ["\(workers)", "\(jobs)"]).expect(lines + ["jobs done\t\(jobs)"])
    }

    @Test func fanOut() throws {
        try ExampleRun("fan_out.lua").expect([
            "price\tanswer of price", "ratings\tmissing: deadline exceeded", "reviews\tmissing: deadline exceeded",
            "stock\tanswer of stock", "2 of 4 answered",
        ])
        try ExampleRun("fan_out.lua", ["1h", "b=2ms", "a=0s"]).expect([
            "a\tanswer of a", "b\tanswer of b", "2 of 2 answered",
        ])
        try ExampleRun("fan_out.lua", ["0s", "a=1h", "b=1h"]).expect([
            "a\tmissing: deadline exceeded", "b\tmissing: deadline exceeded", "0 of 2 answered",
        ])
    }
}

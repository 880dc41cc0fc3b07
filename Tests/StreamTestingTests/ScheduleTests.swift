// The test machinery as a library: seeds, schedules, host functions.
import Glibc
import StreamHost
import Testing

@testable import StreamTesting

/// A test script in a file of its own.
struct Script {
    let path: String

    init(_ cases: String) {
        path = "\(temporaryFolder)/streamtesting-\(UInt64.random(in: 0 ... .max)).lua"
        let file = fopen(path, "w")
        fputs("local stream, test = require \"stream\", require \"stream.test\"\n" + cases, file)
        fclose(file)
    }

    func run(
        host: Host = Host(), seed: UInt64? = nil, schedules: Int? = nil, onEvent: (TestSuite.Event) -> Void = { _ in }
    ) -> FileResult {
        var options = TestSuite.Options()
        options.seed = seed
        options.schedules = schedules
        defer { unlink(path) }
        return TestSuite(host: host, options: options).run([path], onEvent: onEvent).files[0]
    }
}

private let temporaryFolder = "/tmp"

@Suite struct ScheduleTests {
    @Test func theBase_isTheFirstSeed() {
        var seeds = Seeds(base: 42), again = Seeds(base: 42)
        #expect(seeds.next() == 42)
        let others = (1...100).map { _ in seeds.next() }
        #expect(Set(others).count == 100)
        _ = again.next()
        #expect((1...100).map { _ in again.next() } == others)
    }

    @Test func schedules_areRunEachUnderItsSeed() {
        var counted = 0
        let result = Script("test.case('a', { schedules = 30 }, function(t) t.equal(1, 1) end)").run { event in
            if case .scheduleEnded(let number, 30) = event {
                counted += 1
                #expect(number == counted)
            }
        }
        #expect(counted == 30)
        #expect(result.cases.map(\.schedules) == [30])
    }

    /// What four tasks do is decided by the seed alone, and differs from seed to seed.
    static let tasks = """
        test.case("tasks", function(t)
          local list = stream.from(stream.range(1, 12)):map("m", function(v)
            if math.random(2) == 1 then stream.sleep(0.001) end
            return v
          end, { workers = 4 }):collect()
          t.fail(table.concat(list, " "))
        end)
        """

    @Test func oneSeed_isOneTrace() {
        var traces: Set<UInt64> = [], orders: Set<String> = []
        for seed in 1...40 as ClosedRange<UInt64> {
            let results = (1...2).map { _ in Script(Self.tasks).run(seed: seed).cases[0] }
            #expect(results[0].trace == results[1].trace)
            let messages = results.map { $0.failures[0].message }
            #expect(messages[0] == messages[1])
            #expect(messages[0].split(separator: " ").compactMap { Int($0) }.sorted() == Array(1...12))
            traces.insert(results[0].trace)
            orders.insert(messages[0])
        }
        #expect(traces.count == 40)
        #expect(orders.count > 20)
    }

    @Test func anHour_isAFewSteps() {
        let result = Script(
            "test.case('hour', function(t) t.equal(stream.sleep('1h'), true) t.equal(stream.now(), 3600.0) end)"
        ).run().cases[0]
        #expect(result.failures == [])
        #expect(result.virtualNanoseconds == 3_600_000_000_000)
        #expect(result.steps < 20)
    }

    @Test func functionsOfTheHost_areThere() {
        var host = Host()
        host.function("double") { arguments in
            guard case .integer(let n)? = arguments.first else { return .null }
            return .integer(2 * n)
        }
        let result = Script("test.case('host', function(t) t.equal(stream.host.double(4), 8) end)").run(host: host)
        #expect(result.cases.map(\.failures) == [[]])
    }

    /// Guards against runs that were kept, one for each schedule: their workers were not let close.
    @Test func aScheduleThatHasEnded_isReleased() {
        final class Token: Sendable {}
        weak var held: Token?
        do {
            let token = Token()
            held = token
            var host = Host()
            host.function("token") { _ in withExtendedLifetime(token) { .null } }
            let result = Script(
                """
                test.case("tasks", { schedules = 20 }, function(t)
                  local c = stream.chan(1)
                  stream.go(function() c:send(1) end)
                  t.equal(c:recv(), 1)
                  stream.from(stream.range(1, 9)):map("m", function(v) return v end, { workers = 2 }):to(stream.null_sink())
                  stream.go(stream.sleep, 100)
                end)
                """
            ).run(host: host)
            #expect(result.cases.map(\.failures) == [[]])
        }
        for _ in 0..<5000 where held != nil { usleep(1000) }  // the thread that ran it lets go a moment later
        #expect(held == nil)
    }

    @Test func filesAreReadAndWritten_inTheSchedulersOrder() {
        let path = "\(temporaryFolder)/streamtesting-\(UInt64.random(in: 0 ... .max)).txt"
        defer { unlink(path) }
        let result = Script(
            """
            test.case("files", { schedules = 50 }, function(t)
              local out = stream.from(stream.range(1, 2000)):to(stream.file { path = "\(path)" })
              t.equal(out:wait(), true)
              local back = stream.from(stream.file { path = "\(path)" }):map("n", math.tointeger, { workers = 2 })
                :reduce("sum", { n = 0, sum = 0 }, function(s, v) s.n, s.sum = s.n + 1, s.sum + v return s end):collect()
              t.equal(back, { { n = 2000, sum = 2001000 } })
              t.equal(stream.now(), 0.0)
            end)
            """
        ).run()
        #expect(result.cases.map(\.failures) == [[]])
        #expect(result.cases.map(\.schedules) == [50])
    }

    @Test func eachCase_hasAFreshTopLevel() {
        let result = Script(
            """
            local count = 0
            seen = seen or 0
            for _, name in ipairs { "a", "b" } do
              test.case(name, { schedules = 3 }, function(t)
                count, seen = count + 1, seen + 1
                t.equal({ count, seen }, { 1, 1 })
              end)
            end
            """
        ).run()
        #expect(result.cases.map(\.failures) == [[], []])
    }

    @Test func whatBlocksTheThread_isLeftBehind() {
        var host = Host()
        host.function("block") { _ in
            while true { sleep(1000) }
        }
        let result = Script(
            """
            test.case("stuck", { limit = "100ms" }, function(t) t.equal(1, 1) stream.host.block() end)
            test.case("next", function(t) t.equal(1, 1) end)
            """
        ).run(host: host)
        #expect(result.cases.map(\.hasFailed) == [true, false])
        #expect(result.cases[0].failures[0].message.contains("cannot be stopped"))
    }
}

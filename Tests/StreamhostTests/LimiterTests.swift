// Limiters as a script's author meets them: mistakes and their messages, odd numbers, and the example.
import Foundation
import Testing

@Suite struct LimiterScriptTests {
    @Test func rate_change() throws {
        let outcome = try CommandLine.execute([
            "run",
            URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appendingPathComponent("scripts/examples/rate_change.lua").path,
        ])
        #expect(outcome.status == 0)
        #expect(outcome.errors == "")
        #expect(
            outcome.lines == ["5000 a second is out of bounds, it stays at\t200", "sent\t20\tthe last one\t20"])
    }

    /// What a script does on line 3, and what its message says of it.
    static let mistakes: [(code: String, says: [String])] = [
        ("stream.token_bucket { rate = 0, burst = 1 }", ["rate of token_bucket", "0.000001 to 1000000000", "got 0"]),
        ("stream.token_bucket { rate = 1/0, burst = 1 }", ["rate of token_bucket", "got inf"]),
        ("stream.token_bucket { rate = 0/0, burst = 1 }", ["rate of token_bucket", "nan"]),
        ("stream.token_bucket { rate = -3, burst = 1 }", ["rate of token_bucket", "got -3"]),
        ("stream.token_bucket { rate = '5', burst = 1 }", ["rate of token_bucket", "got \"5\""]),
        ("stream.token_bucket { burst = 1 }", ["token_bucket needs rate: token_bucket { rate = 100, burst = 20 }"]),
        ("stream.token_bucket { rate = 1, burst = -1 }", ["burst of token_bucket", "from 1 to", "got -1"]),
        ("stream.token_bucket { rate = 1, burst = 1.5 }", ["burst of token_bucket", "got 1.5"]),
        ("stream.token_bucket { rate = 1, brust = 1 }", ["'brust'", "did you mean 'burst'?"]),
        ("stream.token_bucket(5)", ["token_bucket expected a table of options, got 5"]),
        ("stream.token_bucket { rate = 1, burst = 1, bounds = { 5, 2 } }", ["bounds", "lowest rate first"]),
        ("stream.token_bucket { rate = 1, burst = 1, bounds = 5 }", ["bounds", "{ 1, 10000 }"]),
        ("stream.token_bucket { rate = 1, burst = 1, bounds = { 2, 5 } }", ["from 2 to 5", "got 1"]),
        ("stream.token_bucket { rate = 1, burst = 1, out_of_bounds = 'clamp' }", ["goes with bounds"]),
        (
            "stream.token_bucket { rate = 1, burst = 1, bounds = { 1, 5 }, out_of_bounds = 'clmp' }",
            ["'clmp'", "did you mean 'clamp'?"]
        ),
        ("stream.token_bucket { rate = 1, burst = 1, keys = 0 }", ["keys of token_bucket", "got 0"]),
        ("stream.leaky_bucket { rate = 1 }", ["leaky_bucket needs capacity"]),
        (
            "stream.fixed_window { limit = 1, window = '5 parsecs' }",
            ["window of fixed_window", "\"800ms\"", "parsecs"]
        ),
        ("stream.fixed_window { limit = 0, window = 1 }", ["limit of fixed_window", "from 1", "got 0"]),
        ("stream.sliding_window { limit = 1e9, window = 1 }", ["limit of sliding_window", "to 10000000"]),
        ("stream.concurrency { limit = 1.5 }", ["limit of concurrency", "got 1.5"]),
        ("stream.adaptive { min = 5, max = 1, target = 1 }", ["min up to max"]),
        ("bucket:allow(-1)", ["argument 1 of allow", "from 0 to", "got -1"]),
        ("bucket:allow(0.5)", ["argument 1 of allow", "got 0.5"]),
        ("bucket:allow(0/0)", ["argument 1 of allow", "nan"]),
        ("bucket:allow(1e300)", ["argument 1 of allow", "got 1e+300"]),
        ("bucket:allow('1')", ["argument 1 of allow", #"got "1""#]),
        ("bucket:wait(1, '5 parsecs')", ["argument 2 of wait", "\"800ms\"", "parsecs"]),
        ("bucket:wait(1, -1)", ["argument 2 of wait", "got -1"]),
        ("bucket:reserve(-1)", ["argument 1 of reserve", "got -1"]),
        ("bucket:set_rate(0)", ["argument 1 of set_rate", "a second", "got 0"]),
        ("bucket:set_rate(1/0)", ["argument 1 of set_rate", "got inf"]),
        ("bucket:set_rate(0/0)", ["argument 1 of set_rate", "nan"]),
        ("bucket:set_rate()", ["argument 1 of set_rate", "got nil"]),
        ("bucket:set_burst(-1)", ["argument 1 of set_burst", "from 1", "got -1"]),
        ("bucket:set_burst(2.5)", ["argument 1 of set_burst", "got 2.5"]),
        ("bucket:of(nil)", ["argument 1 of of", "a string, a number or a boolean", "got nil"]),
        ("bucket:of('a'):of('b')", ["has no keys of its own"]),
        ("bucket.allow(5)", ["allow expected a limiter", "limiter:allow(...)"]),
        ("bucket.allow()", ["allow expected a limiter", "limiter:allow(...)"]),
        ("bucket.allow(stream.chan(1))", ["allow expected a limiter, got a channel"]),
        ("bucket.allow(limit, 1)", ["allow expected a limiter, got a limit of concurrency"]),
        ("bucket:report(1)", ["a limiter has no method 'report'"]),
        ("bucket:allw()", ["no method 'allw'", "allow"]),
        ("limit:allow()", ["a limit of concurrency has no method 'allow'", "acquire"]),
        ("limit:set_rate(5)", ["a limit of concurrency has no method 'set_rate'"]),
        ("limit:run(5)", ["argument 1 of run expected a function"]),
        ("stream.from(stream.range(1, 2)):limit(limit)", ["a limit of concurrency", "limit:run(fn, ...)"]),
        ("stream.from(stream.range(1, 2)):limit(5)", ["limit expected a limiter", "got 5"]),
        ("stream.from(stream.range(1, 2)):limit { rate = 0 }", ["rate of token_bucket"]),
        ("stream.from(stream.range(1, 2)):limit(bucket, { mode = 'drp' })", ["mode of limit", "\"drop\""]),
        ("stream.from(stream.range(1, 2)):limit(bucket, { mode = { to = 5 } })", ["expected a sink"]),
        ("stream.from(stream.range(1, 2)):limit(bucket, { key = 5 })", ["key of limit"]),
    ]

    @Test func mistakes_areErrorsOfTheirLine_thatSayWhatIsExpected() throws {
        var script = "local stream = require 'stream'\nlocal bucket, limit = "
        script += "stream.token_bucket { rate = 1, burst = 1 }, stream.concurrency { limit = 1 }\n"
        for (code, _) in Self.mistakes {
            script += "print((select(2, pcall(function() \(code) end))))\n"
        }
        let outcome = try CommandLine.run(script)
        #expect(outcome.lines.count == Self.mistakes.count)
        for (index, (line, mistake)) in zip(outcome.lines, Self.mistakes).enumerated() {
            #expect(line.hasPrefix("script.lua:\(index + 3): "), "\(mistake.code): \(line)")
            for text in mistake.says { #expect(line.contains(text), "\(mistake.code): \(line)") }
        }
    }

    @Test func numbersAtTheEdge_haveTheirMeaning() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local bucket = stream.token_bucket { rate = 1e-6, burst = 1 }
            print(bucket:allow(0), bucket:wait(0), bucket:allow(1), bucket:allow(0), bucket:allow(), bucket:wait(0))
            local seconds, back = bucket:reserve()
            print(seconds > 999999 and seconds <= 1000000, type(back))
            print(back(), back(), bucket:available())
            print((bucket:reserve(0)))
            print(bucket:reserve(2))
            local large = stream.token_bucket { rate = 1e9, burst = 1e12 }
            print(large:allow(1e12), large:allow(1e12))
            print(bucket:wait(1, 0.01))
            print(stream.fixed_window { limit = 6, window = 2 }:rate(), stream.sliding_window { limit = 1, window = 2 }:rate())
            local window = stream.fixed_window { limit = 6, window = 2 }
            window:set_rate(1.5)
            print(window:rate(), window:available())
            print(pcall(window.set_rate, window, 0.1))
            local limiter = stream.token_bucket { rate = 5000, burst = 5, bounds = { 1, 100 }, out_of_bounds = "fixed_window" }
            print(limiter:rate(), limiter:allow(100), limiter:allow())
            local clamped = stream.token_bucket { rate = 5000, burst = 5, bounds = { 1, 100 }, out_of_bounds = "clamp" }
            print(clamped:rate())
            """)
        #expect(outcome.errors == "")
        #expect(
            outcome.lines == [
                "true\ttrue\ttrue\ttrue\tfalse\ttrue", "true\tfunction", "nil\tnil\t0", "0.0", "nil\tlimited",
                "true\tfalse",
                "nil\ttimeout", "3\t0.5", "1.5\t3",
                "false\tscript.lua:16: argument 1 of set_rate expected a rate from 1e-06 to 1000000000 a second that lets "
                    + "at least one through in a window, got 0.1",
                "100\ttrue\tfalse", "100",
            ])
    }

    /// By the system's clock, where a decision needs no call of the host; and where it does.
    @Test func allow_takesSoMany_ofEveryForm() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local bucket = stream.token_bucket { rate = 1e-6, burst = 10 }
            print(bucket:allow(), bucket:allow(nil), bucket:allow(2), bucket:allow(2.0), bucket:available())
            print(bucket:allow(5), bucket:allow(4), bucket:allow(), bucket:allow(0), bucket:available())
            bucket:set_burst(20)
            bucket:set_rate(1e9)
            stream.sleep(0.001)
            print(bucket:allow(20), bucket:allow(21))
            local window = stream.fixed_window { limit = 2, window = 3600 }
            print(window:allow(3), window:allow(2), window:allow())
            local log = stream.sliding_window { limit = 2, window = 3600 }
            print(log:allow(3), log:allow(2), log:allow())
            local one = stream.leaky_bucket { rate = 1e-6, capacity = 0 }
            local allow = one.allow
            print(table.concat(stream.from(stream.values { 1, 2 })
              :map("asks", function() return tostring(allow(one)) end, { workers = 1 }):collect(), " "))
            local waited = stream.token_bucket { rate = 1e-6, burst = 2 }
            print(waited:allow())
            local task = stream.go(function() return waited:wait(2) end)
            stream.sleep(0.001)
            print(waited:allow())
            task:cancel()
            print(task:wait())
            print(waited:allow())
            """)
        #expect(outcome.errors == "")
        #expect(
            outcome.lines == [
                "true\ttrue\ttrue\ttrue\t4", "false\ttrue\tfalse\ttrue\t0", "true\tfalse", "false\ttrue\tfalse",
                "false\ttrue\tfalse", "true false", "true", "false", "nil\tcanceled", "true",
            ])
    }

    @Test func permitAndReservation_stayInTheirWorker_aLimiterIsShared() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local bucket = stream.token_bucket { rate = 0.001, burst = 3 }
            local permit = stream.concurrency { limit = 1 }:acquire()
            local channel = stream.chan(1)
            channel:send { limiter = bucket }
            print(channel:recv().limiter == bucket)
            print(#stream.from(stream.range(1, 9)):filter("few", function() return bucket:allow() end, { workers = 2 }):collect())
            print(pcall(channel.send, channel, permit))
            stream.from(stream.range(1, 2)):map("holds", function() return permit end):to(stream.null_sink())
            print(stream.run())
            """)
        #expect(outcome.lines.count == 4)
        #expect(outcome.lines.prefix(2) == ["true", "3"])
        #expect(outcome.lines[2].contains("a permit"))
        #expect(outcome.lines[3].contains("captures 'permit', a permit, which cannot leave its worker"))
    }

    @Test func wait_inAMetamethodOfCCode_isAnError_unlessItNeedsNoWait() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local bucket = stream.token_bucket { rate = 0.001, burst = 1 }
            local object = setmetatable({}, { __tostring = function() assert(bucket:wait()) return "text" end })
            print(pcall(tostring, object))
            print(pcall(tostring, object))
            """)
        #expect(outcome.lines.first == "true\ttext")
        #expect(outcome.lines.last?.contains("wait cannot wait here") == true)
    }
}

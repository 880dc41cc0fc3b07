// Values of odd sizes and kinds, and graphs put together in odd ways: each has a clear end, and nothing is lost.
import Foundation
import Testing

@Suite struct HostileInputTests {
    /// Two workers between standard input and output that read a field, set one, and look at all of them.
    static let touch = """
        local stream = require "stream"
        stream.from(stream.stdin { format = "json" }, { on_error = "skip" })
          :map("set", function(r) r.seen = r.f1; return r end)
          :map("count", function(r) local n = 0 for _ in pairs(r) do n = n + 1 end r.n = n; return r end)
          :to(stream.stdout { format = "json" })
        """

    @Test func aRecordOfTenThousandFields_keepsThem() throws {
        let fields = (0..<10_000).map { "\"f\($0)\":\($0)" }.joined(separator: ",")
        let outcome = try CommandLine.run(Self.touch, input: "{\(fields)}\n{\"f1\":2}\n")
        #expect(
            outcome.output == "{\(fields),\"seen\":1,\"n\":10001}\n{\"f1\":2,\"seen\":2,\"n\":2}\n",
            "\(outcome.output.suffix(200))")
        #expect(outcome.status == 0)
        #expect(outcome.errors == "")
    }

    @Test func aRecordOfDepthTenThousand_isRefusedAtItsLine() throws {
        let deep = String(repeating: "{\"a\":", count: 10_000) + "1" + String(repeating: "}", count: 10_000)
        let open = String(repeating: "[", count: 1_000_000)
        let outcome = try CommandLine.run(Self.touch, input: "{\"f1\":1}\n\(deep)\n\(open)\n{\"f1\":2}\n")
        #expect(outcome.lines.count == 2)
        #expect(outcome.status == 0)
        for line in ["standard input:2:", "standard input:3:"] {
            #expect(outcome.errors.contains(line + " not JSON"), "\(outcome.errors.prefix(500))")
        }
        #expect(outcome.errors.components(separatedBy: "nested deeper than 200").count == 3)
    }

    /// The script makes what the input must not be.
    @Test func aTableOfDepthTenThousand_isRefusedWhereItIsMade() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 3), { on_error = "skip" })
              :map("deepen", function(i) local t = {} if i == 2 then for _ = 1, 10000 do t = { t } end end return t end)
              :to(stream.stdout { format = "json" })
            """)
        #expect(outcome.lines.count == 2)
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("stage \"deepen\" (script.lua:2)"))
        #expect(outcome.errors.contains("nested deeper than 200"))
    }

    @Test func aValueOf64MB_passes_andOneByteMoreIsRefused() throws {
        let limit = 64 << 20, head = "{\"f1\":\"", tail = "\"}"
        var bytes = Data()
        for size in [limit, limit + 1] {
            bytes.append(Data(head.utf8))
            bytes.append(Data(repeating: 0x78, count: size - head.utf8.count - tail.utf8.count))
            bytes.append(Data((tail + "\n").utf8))
        }
        bytes.append(Data("{\"f1\":3}\n".utf8))
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.stdin { format = "json" }, { on_error = "skip" })
              :map("touch", function(r) r.new = 1; return r end)
              :map("length", function(r) return r.new + #tostring(r.f1) end)
              :to(stream.stdout())
            """, bytes: bytes)
        #expect(outcome.output == "\(limit - head.utf8.count - tail.utf8.count + 1)\n2\n")
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("line 2 is longer than 64 MB"), "\(outcome.errors.prefix(500))")
    }

    /// The value is lost and named, those with a key arrive.
    @Test(arguments: [
        (#"key = "user""#, #"key "user" of the value is nil"#, #"{"id":1}"#),
        (#"key = "user""#, #"key "user" of the value is a table"#, #"{"user":{"id":1}}"#),
        (#"key = "user""#, #"key "user" of the value is a table"#, #"{"user":[],"id":1}"#),
        (#"key = "user""#, #"key "user" of the value is null"#, #"{"user":null}"#),
        (#"key = function(r) return r.user end"#, "the key function returned nil", #"{"id":1}"#),
        (#"key = function(r) return r.user end"#, "the key function returned a table", #"{"user":{}}"#),
        (#"key = function(r) return r.user and r end"#, "the key function returned a table", #"{"user":1}"#),
    ])
    func aValueWithoutAKeyThatCanBeOne_isAnErrorOfTheStage(_ key: String, _ what: String, _ value: String) throws {
        let good = key.contains("and r") ? "" : "{\"user\":\"ann\"}\n"
        for policy in ["skip", "stop"] {
            let outcome = try CommandLine.run(
                """
                local stream = require "stream"
                stream.from(stream.stdin { format = "json" }, { on_error = "\(policy)" })
                  :map("deal", function(r) return r end, { workers = 3, ordered = true, \(key) })
                  :to(stream.stdout { format = "json" })
                """, input: "\(value)\n\(good)")
            #expect(outcome.errors.contains("stage \"deal\" (script.lua:2)"), "\(outcome.errors)")
            #expect(outcome.errors.contains(what), "\(outcome.errors)")
            #expect(outcome.status == (policy == "skip" ? 0 : 1))
            if policy == "skip" { #expect(outcome.output == good) }
        }
    }

    @Test func aPipelineMergedWithItself_givesEachValueTwice() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local p = stream.from(stream.range(1, 1000)):map("same", function(n) return n end)
            stream.from(stream.values {}):merge(p, p):reduce("sum", 0, function(s, n) return s + n end):to(stream.stdout())
            p:merge(p):reduce("sum", 0, function(s, n) return s + n end):to(stream.stdout())
            """)
        #expect(outcome.output == "1001000\n1001000\n", "\(outcome.errors)")
        #expect(outcome.status == 0)
    }

    @Test(arguments: [
        "branch:take(3):to(stream.null_sink())", "branch:to(full)",
        "branch:filter('none', function() return false end):to(full)",
    ])
    func aBranchThatStopsReading_holdsNobodyBack(_ branch: String) throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local full = stream.chan(1)
            full:close()
            stream.from(stream.range(1, 5000))
              :tee(function(branch) \(branch) end)
              :route { { when = function(n) return n % 2 == 0 end, to = function(branch) \(branch) end } }
              :reduce("count", 0, function(c) return c + 1 end)
              :to(stream.stdout())
            """)
        #expect(outcome.output == "2500\n", "\(outcome.errors)")
        #expect(outcome.status == 0)
        #expect(outcome.errors == "")
    }

    /// A table that is reached twice at each of its levels is large when it is written out.
    @Test(arguments: [
        ("{ n }", "stream.json.encode(t)"), ("{ n }", "return t"),
        (#"stream.json.decode('{"a":1,"b":2}')"#, "stream.json.encode(t)"),
    ])
    func aValueThatIsWrittenForever_canBeCancelled(_ leaf: String, _ use: String) throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local p = stream.from(stream.range(1, 3)):map("double", function(n)
              local t = \(leaf)
              for _ = 1, 60 do t = { t, t } end
              \(use)
            end):to(stream.null_sink())
            print(p:wait(0.3))
            p:cancel()
            print(p:wait())
            """)
        #expect(outcome.output == "nil\ttimeout\nnil\tcanceled\n", "\(outcome.errors)")
        #expect(outcome.errors == "")
    }

    /// Messages quote the input, and no terminal obeys it.
    @Test func controlCharactersOfTheInput_areSpelledInMessages() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.stdin { format = "json" }, { on_error = "skip" })
              :map("fail", function(r) error("bad " .. r.a, 0) end, { on_error = "stop" })
              :to(stream.stdout())
            """, input: "{\"a\":\u{1B}[2J}\n{\"a\":\"é\\u001b[31m\\u0007\\u009b\"}\n")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains(#"{"a":\x1b[2J}"#), "\(outcome.errors)")
        #expect(outcome.errors.contains(#"bad é\x1b[31m\x07\x9b"#), "\(outcome.errors)")
        #expect(
            !outcome.errors.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" && $0 != "\t" || $0 == "\u{9b}" })
    }
}

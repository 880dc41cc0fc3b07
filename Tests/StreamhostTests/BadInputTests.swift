// Input that is missing, broken or huge, and output that cannot be written.
import Foundation
import Testing

@Suite struct BadInputTests {
    static let passJSON = """
        local stream = require "stream"
        stream.from(stream.stdin { format = "json" }):to(stream.stdout { format = "json" })
        """
    static let skipJSON = """
        local stream = require "stream"
        stream.from(stream.stdin { format = "json" }, { on_error = "skip" }):to(stream.stdout { format = "json" })
        """
    static let passLines = """
        local stream = require "stream"
        stream.from(stream.stdin()):to(stream.stdout())
        """

    @Test func missingSourceFile_isNamed() throws {
        let outcome = try CommandLine.run(
            "local stream = require 'stream' stream.from(stream.file { path = '/no/such.txt' }):to(stream.stdout())")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("'/no/such.txt'"))
        #expect(outcome.errors.contains("no such file or directory"))
    }

    @Test func directoryAsSource_isNamed() throws {
        let outcome = try CommandLine.run(
            "local stream = require 'stream' stream.from(stream.file { path = '/tmp' }):to(stream.stdout())")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("'/tmp'"))
        #expect(outcome.errors.contains("directory"))
    }

    @Test func sinkInMissingFolder_isNamed() throws {
        let outcome = try CommandLine.run(
            "local stream = require 'stream' stream.from(stream.range(1, 3)):to(stream.file { path = '/no/out.txt' })")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("'/no/out.txt'"))
    }

    @Test func lineThatIsNotJSON_stopsWithItsPlace() throws {
        let outcome = try CommandLine.run(Self.passJSON, input: "{\"a\": 1}\n{\"a\": }\n{\"a\": 3}\n")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("standard input:2:"))
        #expect(outcome.errors.contains("byte 7"))
    }

    @Test func lineThatIsNotJSON_skippedIsLoggedAndTheRestPasses() throws {
        let outcome = try CommandLine.run(Self.skipJSON, input: "{\"a\": 1}\n{\"a\": }\n\n[3]\nnope\n4")
        #expect(outcome.output == "{\"a\": 1}\n[3]\n4\n")
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("standard input:2:"))
        #expect(outcome.errors.contains("standard input:5:"))
        #expect(outcome.errors.components(separatedBy: "skipped").count == 3)
    }

    @Test func binaryAsJSON_isRejected() throws {
        var bytes = Data((0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ $0 >> 8) })
        bytes[0] = 0x7F
        let outcome = try CommandLine.run(Self.passJSON, bytes: bytes)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("standard input:1:"))
        let skipped = try CommandLine.run(Self.skipJSON, bytes: bytes)
        #expect(skipped.status == 0)
        #expect(skipped.errors.contains("standard input:1:"))
    }

    @Test func invalidUTF8InJSON_isRejected() throws {
        var bytes = Data("{\"a\":\"".utf8)
        bytes.append(contentsOf: [0xC3, 0x28])
        bytes.append(contentsOf: "\"}\n7\n".utf8)
        let outcome = try CommandLine.run(Self.passJSON, bytes: bytes)
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("standard input:1:"))
        #expect(outcome.errors.contains("UTF-8"))
        let skipped = try CommandLine.run(Self.skipJSON, bytes: bytes)
        #expect(skipped.status == 0)
        #expect(skipped.output == "7\n")
    }

    @Test func lineOverTheLimit_isRejectedAndASmallerOnePasses() throws {
        let script = """
            local stream = require "stream"
            stream.from(stream.stdin(), { on_error = "skip" }):map("length", function(line) return #line end)
              :to(stream.stdout())
            """
        var bytes = Data("first\n".utf8)
        bytes.append(Data(repeating: 0x78, count: 100_000_000))
        bytes.append(0x0A)
        bytes.append(Data(repeating: 0x79, count: 40_000_000))
        bytes.append(contentsOf: "\nlast\n".utf8)
        let outcome = try CommandLine.run(script, bytes: bytes)
        #expect(outcome.output == "5\n40000000\n4\n")
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("line 2 is longer than 64 MB"))
        let stopped = try CommandLine.run(Self.passLines, bytes: bytes)
        #expect(stopped.status == 1)
        #expect(stopped.errors.contains("line 2 is longer than 64 MB"))
        #expect(stopped.errors.utf8.count < 2000)
    }

    @Test func lines_keepTheirBytes() throws {
        let outcome = try CommandLine.run(Self.passLines, bytes: Data("a\u{0}b\r\n\n  c \nlast".utf8))
        #expect(outcome.output == "a\u{0}b\n\n  c \nlast\n")
        #expect(outcome.status == 0)
    }

    @Test func emptyInput_givesNothing() throws {
        for script in [Self.passLines, Self.passJSON] {
            let outcome = try CommandLine.run(script)
            #expect(outcome.output == "")
            #expect(outcome.errors == "")
            #expect(outcome.status == 0)
        }
    }

    @Test func emptyScript_isDone() throws {
        let outcome = try CommandLine.run("")
        #expect(outcome.output + outcome.errors == "")
        #expect(outcome.status == 0)
    }

    // MARK: Output

    @Test func print_isWholeAndInOrder() throws {
        let outcome = try CommandLine.run("for i = 1, 100000 do print(i) end")
        #expect(outcome.output == (1...100_000).map { "\($0)\n" }.joined())
        #expect(outcome.status == 0)
    }

    @Test func fullDevice_failsTheRun() throws {
        for script in [
            "local stream = require 'stream' stream.from(stream.range(1, 10)):to(stream.stdout())", "print 'text'",
        ] {
            let outcome = try CommandLine.shell("\"$STREAMHOST\" run script.lua > /dev/full", script: script)
            #expect(outcome.status == 1, "\(script)")
            #expect(outcome.errors.lowercased().contains("no space left on device"), "\(script)")
        }
    }

    @Test func closedPipe_endsQuietly() throws {
        for script in [
            "local stream = require 'stream' stream.from(stream.range(1, math.huge)):to(stream.stdout())",
            "for i = 1, 1e9 do print(i // 1 | 0) end",
        ] {
            let outcome = try CommandLine.shell(
                "\"$STREAMHOST\" run script.lua | head -1; echo ${PIPESTATUS[0]}", script: script)
            #expect(outcome.output == "1\n0\n", "\(script)")
            #expect(outcome.errors == "", "\(script)")
        }
    }
}

// A run whose standard output nobody reads: the pipe is full, and signals still end it.
import Foundation
import Testing

@Suite struct UnreadOutputTests {
    enum Script: String, CaseIterable {
        case sink, stage, prints, logs

        var text: String {
            switch self {
            case .sink: "stream.from(stream.range(1, 1 << 40)):to(stream.stdout())"
            case .stage:
                """
                for _ = 1, 2 do
                  stream.from(stream.range(1, 1 << 40)):map("wide", function(v) return ("x"):rep(100) end):to(stream.stdout())
                end
                """
            case .prints: "while true do print(('x'):rep(100)) end"
            case .logs:
                "stream.from(stream.range(1, 1 << 40)):each('logs', function(v) stream.log.info(v) end):to(stream.stdout())"
            }
        }
        var part: String { self == .prints ? "standard output is waiting for a reader" : "the sink stdout is writing" }
    }

    private static func begin(_ script: Script, _ timeout: String, withErrors: Bool) throws -> Running {
        let text = "local stream = require 'stream'\n" + script.text
        let running = try Running(unreadScript: text, options: ["--drain-timeout", timeout], withErrors: withErrors)
        #expect(running.awaitFullPipe())
        return running
    }

    @Test(arguments: Script.allCases, [false, true])
    func drainTimeout_endsIt(_ script: Script, withErrors: Bool) throws {
        let running = try Self.begin(script, "1s", withErrors: withErrors)
        running.send(SIGTERM)
        let outcome = running.finish(within: 30)
        #expect(outcome.status == 143)
        if !withErrors { #expect(outcome.errors.contains(script.part)) }
        #expect(!outcome.errors.contains("does not stop"))
    }

    @Test(arguments: Script.allCases, [false, true])
    func secondSignal_endsItBeforeTheDrainTimeout(_ script: Script, withErrors: Bool) throws {
        let running = try Self.begin(script, "1h", withErrors: withErrors)
        running.send(SIGINT)
        Thread.sleep(forTimeInterval: 0.3)
        running.send(SIGINT)
        let outcome = running.finish(within: 30)
        #expect(outcome.status == 130)
        if !withErrors { #expect(outcome.errors.contains(script.part)) }
        #expect(!outcome.errors.contains("does not stop"))
    }

    /// Guards against a run that left after some seconds, with what it had printed.
    @Test func slowReaderOfARunThatEndsByItself_getsAllOfIt() throws {
        let outcome = try CommandLine.shell(
            "$STREAMHOST run script.lua | (sleep 6; wc -l)", script: "for i = 1, 30000 do print('a line', i) end")
        #expect(outcome.output.trimmingCharacters(in: .whitespaces) == "30000\n")
    }
}

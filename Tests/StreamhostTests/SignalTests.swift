// SIGINT and SIGTERM: sources end, what is under way is delivered, and a script that computes for ever does not stay.
import Foundation
import Testing

@Suite struct SignalTests {
    private static func seconds(_ body: () throws -> Void) rethrows -> Double {
        let began = ProcessInfo.processInfo.systemUptime
        try body()
        return ProcessInfo.processInfo.systemUptime - began
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func loopAtTheTopLevel_endsSoon(_ signal: Int32) throws {
        let running = try Running(script: "print 'begun'\nwhile true do end")
        #expect(running.awaitOutput("begun"))
        let time = Self.seconds {
            running.send(signal)
            #expect(running.finish().status == 128 + signal)
        }
        #expect(time < 10)
    }

    @Test func loopInAStage_endsAtTheSecondSignal() throws {
        let running = try Running(
            script: """
                local stream = require "stream"
                stream.from(stream.range(1, 10)):each("loop", function(v) print("begun") while true do end end)
                  :to(stream.null_sink())
                """)
        #expect(running.awaitOutput("begun"))
        let time = Self.seconds {
            running.send(SIGINT)
            Thread.sleep(forTimeInterval: 0.2)
            running.send(SIGINT)
            #expect(running.finish().status == 130)
        }
        #expect(time < 15)
    }

    @Test func drainTimeout_endsALoopInAStage() throws {
        let running = try Running(
            script: """
                local stream = require "stream"
                stream.from(stream.range(1, 10)):each("loop", function(v) print("begun") while true do end end)
                  :to(stream.null_sink())
                """, options: ["--drain-timeout", "300ms"])
        #expect(running.awaitOutput("begun"))
        let time = Self.seconds {
            running.send(SIGTERM)
            #expect(running.finish().status == 143)
        }
        #expect(time < 15)
    }

    @Test func signal_deliversWhatIsUnderWay() throws {
        let running = try Running(
            script: """
                local stream = require "stream"
                stream.from(stream.generate(function(emit)
                  local i = 0
                  while true do
                    i = i + 1
                    if not emit(i) then print("closed", i - 1) return end
                    stream.sleep(0.002)
                  end
                end)):each("slow", function(v) stream.sleep(0.02) end):to(stream.stdout())
                """)
        #expect(running.awaitOutput("5\n"))
        running.send(SIGINT)
        let outcome = running.finish()
        #expect(outcome.status == 130)
        var lines = outcome.lines
        let count = lines.firstIndex { $0.hasPrefix("closed") }.flatMap { Int(lines.remove(at: $0).dropFirst(7)) }
        #expect(lines == (0..<lines.count).map { String($0 + 1) })
        if let count { #expect(lines.count == count) }
        #expect(
            outcome.errors.hasSuffix("s: drained\n  script.lua:2  \(lines.count) created, \(lines.count) delivered\n"))
    }

    @Test func signal_endsStandardInputAsAtItsEnd() throws {
        let running = try Running(
            script: """
                local stream = require "stream"
                print("begun")
                stream.from(stream.stdin()):reduce("count", 0, function(n) return n + 1 end):to(stream.stdout())
                """)
        #expect(running.awaitOutput("begun"))
        Thread.sleep(forTimeInterval: 0.3)
        running.send(SIGTERM)  // its input is open all the time
        let outcome = running.finish()
        #expect(outcome.status == 143)
        #expect(outcome.output == "begun\n0\n")
    }

    /// Guards against a reader that kept its pipeline waiting until the drain timeout.
    @Test func signal_endsAReaderOfStandardInput_afterWhatCame() throws {
        let running = try Running(
            script: """
                local stream = require "stream"
                stream.from(stream.generate(function(emit)
                  local input = stream.reader(stream.stdin())
                  print("begun")
                  local line, reason
                  repeat
                    line, reason = input:read_line()
                    if line then print(line) end
                  until not line
                  print(reason, stream.context():err())
                end)):to(stream.stdout())
                """)
        #expect(running.awaitOutput("begun"))
        running.write("one\ntwo\nthr")
        #expect(running.awaitOutput("two"))
        let time = Self.seconds {
            running.send(SIGTERM)  // its input is open all the time
            let outcome = running.finish()
            #expect(outcome.status == 143)
            #expect(outcome.output == "begun\none\ntwo\nthr\nclosed\tnil\n")
        }
        #expect(time < 15)
    }

    @Test func sleepAtTheTopLevel_isCancelled() throws {
        let running = try Running(
            script: "local stream = require 'stream' print('begun') print(stream.sleep(100)) print(stream.sleep(100))")
        #expect(running.awaitOutput("begun"))
        running.send(SIGINT)
        let outcome = running.finish()
        #expect(outcome.output == "begun\nnil\tcanceled\nnil\tcanceled\n")
        #expect(outcome.status == 130)
    }
}

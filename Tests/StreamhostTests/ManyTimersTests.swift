// Many timers, and whether they hide what moves.
import Foundation
import Testing

@Suite struct ManyTimersTests {
    /// Guards against a deadlock that was reported while one timer after the other was waited for.
    @Test func timersThatNobodyWaitsFor_makeNoDeadlockOfThoseThatSomeoneDoes() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local idle = {}
            for i = 1, 20000 do idle[i] = stream.after("1h") end
            for i = 1, 200 do stream.after("0.05ms"):recv() end
            print "done"
            """)
        #expect(outcome.output == "done\n")
        #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    }

    @Test func thousandsOfTimers_allFire() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local timers, fired = {}, 0
            for i = 1, 3000 do timers[i] = stream.after(i % 50 / 1000) end
            for _, timer in ipairs(timers) do if timer:recv() then fired = fired + 1 end end
            print(fired)
            """)
        #expect(outcome.output == "3000\n")
        #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    }

    @Test func selectOfNothing_waitsForEver_andTheReportNamesItsLine() throws {
        for cases in ["{}", "{ false, { recv = false } }"] {
            let outcome = try CommandLine.run("local stream = require 'stream'\nstream.select \(cases)")
            #expect(outcome.status == 1)
            #expect(outcome.errors.contains("deadlock"))
            #expect(outcome.errors.contains("script.lua:2: main is "), "\(outcome.errors)")
        }
    }

    @Test func taskThatWaitsForItself_isToldSo_andARingIsADeadlock() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local task
            task = stream.go(function()
              return task:wait()
            end)
            print(task:wait())
            local ring = {}
            for i = 1, 3 do
              ring[i] = stream.go(function() return ring[i % 3 + 1]:wait() end)
            end
            ring[1]:wait()
            """)
        #expect(outcome.output == "nil\tscript.lua:4: a task cannot wait for itself\n")
        #expect(outcome.status == 1)
        #expect(outcome.errors.contains("script.lua:9: main is waiting for the task of script.lua:9 (3 tasks)"))
        #expect(outcome.errors.contains("script.lua:11: main is waiting for the task of script.lua:9"))
    }
}

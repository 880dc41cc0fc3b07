// What a task had that was stopped for good: its `<close>` variables do not run, so the host takes it back.
import Foundation
import Testing

@Suite struct StoppedTaskTests {
    /// A task that computes on after its context has ended, whatever is raised.
    private static let head = """
        local stream = require "stream"
        local limit = stream.concurrency { limit = 3 }
        local function stubborn(before)
          local task
          stream.context():with_timeout("5ms"):run(function()
            task = stream.go(function()
              local permit <close> = limit:acquire()
              before()
              while true do pcall(function() while true do end end) end
            end)
          end)
          return task
        end

        """

    @Test func permitOfAStoppedTask_isTakenBack_whileItsWorkerLives() throws {
        let outcome = try CommandLine.run(
            Self.head + """
                local other <close> = limit:acquire()
                local task = stubborn(function() end)
                print(task:wait()) print(limit:available())
                local w = stream.worker("w", function()
                  local own <close> = limit:acquire()
                  local task = stubborn(function() end)
                  local reason = select(2, task:wait())
                  return reason, limit:available()
                end)
                print(w:start():wait())
                """)
        #expect(outcome.lines == ["nil\tdeadline exceeded", "2", "deadline exceeded\t1"])
        #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    }

    /// Those that wait for the permit get it.
    @Test func permitOfAStoppedTask_goesToWhoWaits() throws {
        let outcome = try CommandLine.run(
            Self.head + """
                local a <close>, b = limit:acquire(), limit:acquire()
                stubborn(function() end)
                stream.sleep(0)
                local permit <close>, reason = limit:acquire()
                print(permit ~= nil, reason)
                """)
        #expect(outcome.output == "true\tnil\n", "\(outcome.errors)")
        #expect(outcome.status == 0)
    }
}

import Testing

@Suite struct StageTaskTests {
    @Test func tasksOfAStage_goOnAfterItsFunction_andTheirValuesArrive() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.range(1, 3))
              :stage("spread", function(input, output)
                for v in input:range() do
                  stream.go(function() stream.sleep(0.01 * v) output:send(v * 10) end)
                end
              end)
              :to(stream.stdout())
            """)
        #expect(outcome.output == "10\n20\n30\n")
        #expect(outcome.errors == "")
        #expect(outcome.status == 0)
    }

    @Test func tasksOfAMap_outliveThePipeline() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local late = stream.chan(0)
            local p = stream.from(stream.range(1, 3))
              :map("starts", function(v)
                stream.go(function() late:send(v) end)
                return v
              end)
              :to(stream.null_sink())
            print(p:wait())
            print(late:recv() + late:recv() + late:recv())
            """)
        #expect(outcome.output == "true\n6\n")
        #expect(outcome.errors == "")
        #expect(outcome.status == 0)
    }

    @Test func tasksOfAFailedStage_areCanceled() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            local p = stream.from(stream.range(1, 3))
              :each("fails", function(v)
                stream.go(function() print(stream.sleep(1000)) end)
                stream.sleep(0.01)
                error("boom")
              end)
              :to(stream.null_sink())
            print((select(2, p:wait()):match("boom")))
            """)
        #expect(outcome.output.split(separator: "\n").sorted() == ["boom", "nil\tcanceled"])
        #expect(outcome.status == 0)
    }
}

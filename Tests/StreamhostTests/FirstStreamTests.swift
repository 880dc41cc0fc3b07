import Testing

@Suite struct FirstStreamTests {
    @Test func jsonFilter_keepsMatchingLinesWithTheirBytes() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.stdin { format = "json" })
              :filter("failed", function(event) return event.status >= 400 end)
              :to(stream.stdout { format = "json" })
            """,
            input: """
                {"status": 200, "path": "/a"}
                {"z": 1.50, "status": 404, "path": "/b"}
                {"status":500}
                """)
        #expect(outcome.output == "{\"z\": 1.50, \"status\": 404, \"path\": \"/b\"}\n{\"status\":500}\n")
        #expect(outcome.errors == "")
        #expect(outcome.status == 0)
    }
}

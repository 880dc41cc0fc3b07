// What `p:stats()` tells while its pipeline runs.
import Testing

@Suite struct LiveStatsTests {
    /// `settled(p, f)`: the counts, once `f` of them holds and the pipeline still runs. Everything that can move has moved
    /// then, so they are exact.
    private static let head = """
        local stream = require 'stream'
        local gate = stream.chan(0)
        local function hold(v) gate:recv() return v end
        local function settled(p, holds)
          local s
          for _ = 1, 2000 do
            s = p:stats()
            if holds(s) then break end
            stream.sleep('5ms')
          end
          return s
        end
        local function tell(s) print(s.created, s.delivered, s.consumed, s.filtered, s.failed, s.dead_lettered, s.returned) end

        """

    private func check(_ script: String, _ expected: [String]) throws {
        let outcome = try CommandLine.run(Self.head + script)
        #expect(outcome.lines == expected, "\(outcome.output)\(outcome.errors)")
    }

    @Test(arguments: [
        "", ", { isolated = false }", ", { workers = 2 }", ", { workers = 2, key = function(v) return v end }",
    ])
    func consumedAndMade(_ options: String) throws {
        // 10 and what is made of them: 20, of which the first is held; the workers of a chain are held with the first value
        let chain = options.contains("isolated")
        try check(
            """
            local p = stream.from(stream.range(1, 10)):flat_map('twice', function(v, emit) emit(v) emit(v) end\(chain ? "" : options))
              :map('hold', hold\(chain ? options : "")):to(stream.null_sink())
            local s = settled(p, function(s) return s.consumed == \(chain ? 0 : 10) and s.created == \(chain ? 11 : 30) end)
            tell(s)
            gate:close()
            p:wait()
            tell(p:stats())
            """, [chain ? "11\t0\t0\t0\t0\t0\t0" : "30\t0\t10\t0\t0\t0\t0", "30\t20\t10\t0\t0\t0\t0"])
    }

    @Test func deadLetters_ofAStage_andOfAKey() throws {
        let letters = "local letters = stream.chan(100)\n"
        for stage in [
            ":map('odd', function(v) if v % 2 == 0 then error('even') end return v end, { on_error = { to = letters } })",
            ":map('odd', { process = function(v) return v end }, "
                + "{ workers = 2, key = function(v) if v % 2 == 1 then return v end end, on_error = { to = letters } })",
        ] {
            try check(
                letters + """
                    local p = stream.from(stream.range(1, 10))\(stage):map('hold', hold):to(stream.null_sink())
                    tell(settled(p, function(s) return s.dead_lettered == 5 end))
                    gate:close()
                    p:wait()
                    tell(p:stats())
                    """, ["10\t0\t0\t0\t0\t5\t0", "10\t5\t0\t0\t0\t5\t0"])
        }
    }

    @Test func deadLettersOfASource() throws {
        let outcome = try CommandLine.run(
            Self.head + """
                local letters = stream.chan(100)
                local p = stream.from(stream.stdin { format = 'json' }, { on_error = { to = letters } })
                  :map('hold', hold):to(stream.null_sink())
                tell(settled(p, function(s) return s.dead_lettered == 1 and s.created == 3 end))
                gate:close()
                p:wait()
                tell(p:stats())
                """, input: "1\n{\n2\n")
        #expect(outcome.lines == ["3\t0\t0\t0\t0\t1\t0", "3\t2\t0\t0\t0\t1\t0"], "\(outcome.output)\(outcome.errors)")
    }

    @Test func arrays_copies_andAGenerator() throws {
        try check(
            """
            local p = stream.from(stream.range(1, 10)):batch { size = 3 }:map('hold', hold):to(stream.null_sink())
            tell(settled(p, function(s) return s.consumed == 10 end))
            local q = stream.from(stream.range(1, 10)):tee(function(b) b:to(stream.null_sink()) end):map('hold', hold):to(stream.null_sink())
            tell(settled(q, function(s) return s.created == 20 and s.delivered == 10 end))
            local r = stream.from(stream.generate(function(emit) for i = 1, 10 do emit(i) end end))
              :filter('odd', function(v) return v % 2 == 1 end, { isolated = false }):map('hold', hold):to(stream.null_sink())
            tell(settled(r, function(s) return s.created == 10 end))
            gate:close()
            for _, p in ipairs { p, q, r } do p:wait() tell(p:stats()) end
            """,
            [
                "14\t0\t10\t0\t0\t0\t0", "20\t10\t0\t0\t0\t0\t0", "10\t0\t0\t5\t0\t0\t0",
                "14\t4\t10\t0\t0\t0\t0", "20\t20\t0\t0\t0\t0\t0", "10\t5\t0\t5\t0\t0\t0",
            ])
    }

    /// Its function has links of the pipeline in hand, or lanes, or channels of the script's.
    @Test func process() throws {
        let body = "function(input, output) for v in input:range() do output:send(v) end end"
        for options in ["", ", { workers = 2, key = function(v) return v end }"] {
            try check(
                """
                local p = stream.from(stream.range(1, 10)):stage('s', \(body)\(options)):map('hold', hold):to(stream.null_sink())
                tell(settled(p, function(s) return s.created == 20 end))
                gate:close()
                p:wait()
                tell(p:stats())
                """, ["20\t0\t10\t0\t0\t0\t0", "20\t10\t10\t0\t0\t0\t0"])
        }
        try check(
            """
            local feed, out = stream.chan(20), stream.chan(20)
            local p = stream.from(feed):stage('s', \(body)):to(out)
            for i = 1, 10 do feed:send(i) end
            local s = settled(p, function(s) return s.delivered == 10 end)
            tell(s)
            print(s.stages[1].received, s.stages[1].emitted)
            feed:close()
            p:wait()
            tell(p:stats())
            """, ["20\t10\t10\t0\t0\t0\t0", "10\t10", "20\t10\t10\t0\t0\t0\t0"])
    }

    @Test func processThatFailed_andGoesOn() throws {
        try check(
            """
            local p = stream.from(stream.range(1, 10)):stage('s', function(input, output)
              for v in input:range() do
                if v == 3 then error('three') end
                output:send(v)
              end
            end, { on_error = { restart = 1 } }):map('hold', hold):to(stream.null_sink())
            tell(settled(p, function(s) return s.created == 19 end))
            gate:close()
            p:wait()
            tell(p:stats())
            """, ["19\t0\t9\t0\t1\t0\t0", "19\t9\t9\t0\t1\t0\t0"])
    }

    /// What a part at the front gave back when nobody wanted more, while those behind it go on.
    @Test func returned() throws {
        try check(
            """
            local feed = stream.chan(0)
            local p = stream.from(feed):skip(1):take(2):map('hold', hold):to(stream.null_sink())
            local feeder = stream.go(function() local n = 0 while feed:send(n, '200ms') do n = n + 1 end return n end)
            local s = settled(p, function(s) return s.returned > 0 end)
            print(s.returned, s.created - s.returned - s.dropped, s.filtered)
            feed:close()
            gate:close()
            p:wait()
            local final = p:stats()
            print(final.returned == s.returned, final.created == s.created, final.filtered, final.delivered)
            """, ["1\t3\t1", "true\ttrue\t1\t2"])
    }
}

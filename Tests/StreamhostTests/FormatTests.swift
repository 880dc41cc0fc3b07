import Foundation
import Testing

private func fails(_ outcome: Outcome, _ text: String, _ location: SourceLocation = #_sourceLocation) {
    #expect(outcome.status == 1, "\(outcome)", sourceLocation: location)
    #expect(outcome.errors == "streamhost: \(text)\n", sourceLocation: location)
}

@Suite struct FormatTests {
    static let csvToCSV = """
        local stream = require "stream"
        stream.from(stream.stdin { format = "csv" }):to(stream.stdout { format = "csv" })
        """

    // MARK: CSV

    @Test func csv_untouchedRecordsKeepTheirFieldsInOrder() throws {
        let outcome = try CommandLine.run(
            Self.csvToCSV, input: "\u{FEFF}b,a,\"c\"\"d\"\r\n1,\"x, y\",\r\n\r\n2,\"l1\r\nl2\",\" \"\r\n")
        #expect(outcome.output == "b,a,\"c\"\"d\"\n1,\"x, y\",\n2,\"l1\r\nl2\", \n")
        #expect(outcome.errors == "")
        #expect(outcome.status == 0)
    }

    @Test func csv_bytesThatAreNotUTF8AreKept() throws {
        // The first record, of which the header comes, is one of those.
        let folder = try ScriptFolder(Self.csvToCSV)
        let input = Data("b,a\n".utf8) + Data([0x63, 0xE9, 0x2C, 0x31, 0x0A]) + Data("x,2\n".utf8)
        try input.write(to: folder.url.appendingPathComponent("in.csv"))
        try
            (Self.csvToCSV.replacingOccurrences(of: "stream.stdout {", with: "stream.file { path = 'out.csv',")
            .replacingOccurrences(of: "stream.stdin {", with: "stream.file { path = 'in.csv',"))
            .write(to: folder.url.appendingPathComponent("script.lua"), atomically: true, encoding: .utf8)
        let outcome = try CommandLine.execute(["run", "script.lua"], folder: folder.url)
        #expect(outcome.status == 0, "\(outcome)")
        #expect(try Data(contentsOf: folder.url.appendingPathComponent("out.csv")) == input)
    }

    @Test func csv_recordsAreTablesToScripts() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.file { path = "people.csv", format = "csv" })
              :filter("adults", function(p) return tonumber(p.age) >= 18 end)
              :map("greet", function(p) return { name = p.name:upper(), age = math.tointeger(p.age) + 1 } end)
              :to(stream.stdout { format = "csv", columns = { "name", "age" } })
            """, files: ["people.csv": "name,age\nAda,36\nTim,9\n\"Li, Bo\",18\n"])
        #expect(outcome.output == "name,age\nADA,37\n\"LI, BO\",19\n")
        #expect(outcome.errors == "")
    }

    @Test func csv_badRecordsFailTheRunOrAreSkipped() throws {
        let files = ["p.csv": "a,b\n1,2\n3\n4,\"5\n6\"\n7,8,9\n\"x"]
        let script = """
            local stream = require "stream"
            stream.from(stream.file { path = "p.csv", format = "csv" }, { on_error = arg[1] })
              :to(stream.stdout { format = "json" })
            """
        let stopped = try CommandLine.run(script, arguments: ["stop"], files: files)
        fails(stopped, "p.csv:3: 1 field, the header has 2")
        let skipped = try CommandLine.run(script, arguments: ["skip"], files: files)
        #expect(skipped.output == "{\"a\":\"1\",\"b\":\"2\"}\n{\"a\":\"4\",\"b\":\"5\\n6\"}\n")
        #expect(
            skipped.errors == """
                streamhost: skipped: p.csv:3: 1 field, the header has 2: 3
                streamhost: skipped: p.csv:6: 3 fields, the header has 2: 7,8,9
                streamhost: skipped: p.csv:7: the quote that opens here is never closed: "x

                """)
        #expect(skipped.status == 0)
    }

    @Test func csv_aHeaderThatCannotBeUsedFailsUnderAnyPolicy() throws {
        for (header, problem) in [
            ("a,b,a", "the header has 'a' twice, as fields 1 and 3"), ("a,", "field 2 of the header has no name"),
        ] {
            let outcome = try CommandLine.run(
                """
                local stream = require "stream"
                stream.from(stream.stdin { format = "csv" }, { on_error = "skip" }):to(stream.null_sink())
                """, input: header + "\n1,2,3\n")
            fails(outcome, "standard input:1: \(problem)")
        }
    }

    @Test func csv_aFieldOutsideTheHeaderFails() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.values { { b = 1, a = 2 }, { a = 3 }, { a = 4, z = 5 } }):to(stream.stdout { format = "csv" })
            """)
        #expect(outcome.output == "a,b\n2,1\n3,\n")
        fails(
            outcome,
            "the sink of script.lua:2: cannot write record 3 as CSV: field 'z' is not in the header; name all fields with "
                + "columns = { ... }, or take it out of the record before")
    }

    @Test func options_mistakesAreNamed() throws {
        for (call, problem) in [
            ("stream.stdin { columns = { 'a' } }", "columns of stream.stdin goes with format = \"csv\""),
            ("stream.stdin { format = 'csv', columns = {} }", "columns of stream.stdin expected a list of names"),
            (
                "stream.stdin { format = 'csv', columns = { 'a', 1 } }",
                "columns of stream.stdin, element 2, expected a string"
            ),
            ("stream.stdin { format = 'csv', columns = { 'a', 'b', 'a' } }", "has 'a' twice, as elements 1 and 3"),
            ("stream.stdin { format = 'csw' }", "unknown format 'csw' (did you mean 'csv'?)"),
            ("stream.stdin { follow = true }", "unknown option of stream.stdin: 'follow'"),
            ("stream.file { path = 'x', follow = 1 }", "follow of stream.file expected true or false"),
            ("stream.file { path = 'x', from = 'end' }", "from of stream.file goes with follow = true"),
            (
                "stream.file { path = 'x', follow = true, from = 'tail' }",
                "from of stream.file expected \"begin\" or \"end\""
            ),
            ("stream.from(stream.file { path = 'x', append = true })", "append is an option of a sink"),
            (
                "stream.from(stream.range(1, 2)):to(stream.file { path = 'x', follow = true })",
                "follow is an option of a source"
            ),
        ] {
            let outcome = try CommandLine.run("local stream = require 'stream'\nlocal x = \(call)")
            #expect(outcome.status == 2, "\(call): \(outcome)")
            #expect(outcome.errors.contains("script.lua:2: ") && outcome.errors.contains(problem), "\(outcome)")
        }
    }

    // MARK: Files that grow

    @Test func follow_endsAtASignalWithWhatWasRead() throws {
        let folder = try ScriptFolder("", files: ["log": "one\ntwo\nbegun"])
        let path = folder.url.appendingPathComponent("log").path
        let running = try Running(
            script: """
                local stream = require "stream"
                stream.from(stream.file { path = "\(path)", follow = true }):to(stream.stdout())
                """)
        #expect(running.awaitOutput("two\n"))
        running.send(SIGTERM)
        let outcome = running.finish()
        #expect(outcome.output == "one\ntwo\n")
        #expect(outcome.errors.hasSuffix("s: drained\n  script.lua:2  2 created, 2 delivered\n"))
        #expect(outcome.status == 143)
    }

    @Test func follow_endsWhenNobodyWantsMore() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require "stream"
            stream.from(stream.file { path = "log", follow = true }):take(2):to(stream.stdout())
            """, files: ["log": "1\n2\n3\n"])
        #expect(outcome.output == "1\n2\n")
        #expect(outcome.status == 0)
    }

    // MARK: Output that cannot be written

    static let numbers = "local stream = require 'stream' stream.from(stream.range(1000, 100000)):to(%)"

    @Test func fullDisk_isToldOnce() throws {
        for (sink, redirection, name) in [
            ("stream.stdout()", "> /dev/full", "standard output"),
            ("stream.file { path = '/dev/full', append = true }", "", "'/dev/full'"),
        ] {
            let outcome = try CommandLine.shell(
                "\"$STREAMHOST\" run script.lua \(redirection)",
                script: Self.numbers.replacingOccurrences(of: "%", with: sink))
            fails(outcome, "cannot write \(name): no space left on device")
        }
    }

    @Test func fileSizeLimit_keepsWhatFits() throws {
        for (sink, redirection, name) in [
            ("stream.stdout()", "> out", "standard output"), ("stream.file { path = 'out' }", "", "'out'"),
        ] {
            let outcome = try CommandLine.shell(
                "(ulimit -f 1; \"$STREAMHOST\" run script.lua \(redirection)); status=$?; cat out; exit $status",
                script: Self.numbers.replacingOccurrences(of: "%", with: sink))
            fails(outcome, "cannot write \(name): file too large")
            // Of a file of its own the sink takes back the line that did not fit.
            let fitting = String((1000...1999).map { "\($0)\n" }.joined().prefix(1024))
            let whole = fitting[...(fitting.lastIndex(of: "\n") ?? fitting.startIndex)]
            #expect(outcome.output == (redirection.isEmpty ? String(whole) : fitting))
            #expect(fitting != whole)
        }
    }

    @Test func files_thatCannotBeOpenedAreNamed() throws {
        for (path, why) in [(".", "is a directory"), ("no/such/out", "no such file or directory")] {
            let outcome = try CommandLine.run(
                Self.numbers.replacingOccurrences(of: "%", with: "stream.file { path = '\(path)' }"))
            fails(outcome, "cannot open '\(path)': \(why)")
        }
    }

    // MARK: Standard descriptors that are closed

    @Test(arguments: [
        (">&-", "cannot write standard output: it is closed"),
        ("<&- >&-", "cannot write standard output: it is closed"),
    ])
    func closedOutput_fails(redirection: String, problem: String) throws {
        for script in [Self.numbers.replacingOccurrences(of: "%", with: "stream.stdout()"), "print 'x'"] {
            fails(try CommandLine.shell("\"$STREAMHOST\" run script.lua \(redirection)", script: script), problem)
        }
    }

    @Test func closedInput_failsWhereItIsRead() throws {
        let reading = try CommandLine.shell("\"$STREAMHOST\" run script.lua <&-", script: Self.csvToCSV)
        fails(reading, "cannot read standard input: bad file descriptor")
        let other = try CommandLine.shell("\"$STREAMHOST\" run script.lua <&- 2>&-", script: "print 'x'")
        #expect(other.output == "x\n")
        #expect(other.status == 0)
    }

    @Test func closedDescriptors_areNotTakenByFiles() throws {
        // A file that took the number 1 would get what is printed.
        let outcome = try CommandLine.shell(
            "\"$STREAMHOST\" run script.lua <&- >&- 2>&-; echo $?; cat out",
            script: """
                local stream = require "stream"
                local p = stream.from(stream.values { "value" }):to(stream.file { path = "out" })
                stream.log.info("logged")
                p:wait()
                print "printed"
                """)
        #expect(outcome.output == "1\nvalue\n")
    }
}

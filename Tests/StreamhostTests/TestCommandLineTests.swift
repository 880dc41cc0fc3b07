// The command line of `streamhost test`: files and folders, options, formats, exit statuses, signals.
import Foundation
import Testing

#if canImport(FoundationXML)
    import FoundationXML
#endif

@Suite struct TestCommandLineTests {
    static let passes = TestRun.head + "test.case('passes', function(t) t.equal(1, 1) end)\n"

    @Test func folders_areSearchedInOrder() throws {
        let files = [
            "b/deep/z_test.lua": Self.passes, "b/a_test.lua": Self.passes, "b/other.lua": "error('not run')",
            "a_test.lua": Self.passes, "b/.hidden/x_test.lua": "error('not run')", "c_test.lua": Self.passes,
        ]
        let all = try TestRun(files: files, ["."])
        let named = ["a_test.lua", "b/a_test.lua", "b/deep/z_test.lua", "c_test.lua"]
        #expect(all.outcome.lines.filter { $0.hasSuffix(".lua") } == named, "\(all.output)")
        #expect(all.status == 0)
        let some = try TestRun(files: files, ["c_test.lua", "b", "b/a_test.lua"])
        #expect(
            some.outcome.lines.filter { $0.hasSuffix(".lua") } == ["c_test.lua", "b/a_test.lua", "b/deep/z_test.lua"])
    }

    @Test func aNamedFile_runsWhateverItsName_withModulesBesideIt() throws {
        let run = try TestRun(
            files: [
                "b/checks.lua": TestRun.head
                    + "local m = require 'parts.m' test.case('m', function(t) t.equal(m.x, 7) end)",
                "b/parts/m.lua": "return { x = 7 }",
            ], ["b/checks.lua"])
        #expect(run.status == 0, "\(run.output)")
    }

    struct Wrong: Sendable, CustomTestStringConvertible {
        let name: String
        var script = TestRun.head
        var arguments = ["x_test.lua"]
        let expected: String
        var testDescription: String { name }
    }

    static let wrong: [Wrong] = [
        Wrong(name: "no file", arguments: [], expected: "Missing expected argument"),
        Wrong(
            name: "a file that is not there", arguments: ["nowhere.lua"],
            expected: "cannot open 'nowhere.lua': no such file"),
        Wrong(name: "a folder without tests", arguments: ["empty"], expected: "there is no *_test.lua in 'empty'"),
        Wrong(name: "no case", expected: "x_test.lua: no case is declared"),
        Wrong(name: "a syntax error", script: "local = 1", expected: "x_test.lua:1: "),
        Wrong(
            name: "a top level that raises", script: TestRun.head + "\nerror('broken')",
            expected: "x_test.lua:3: broken"),
        Wrong(
            name: "a top level that waits for ever", script: TestRun.head + "stream.chan(0):recv()",
            expected: "deadlock: everything waits"),
        Wrong(
            name: "two cases of one name",
            script: TestRun.head + "test.case('a', function() end)\ntest.case('a', function() end)",
            expected: "x_test.lua:3: there is a case \"a\" already, at x_test.lua:2"),
        Wrong(
            name: "no function", script: TestRun.head + "test.case('a', { schedules = 2 })",
            expected: "x_test.lua:2: test.case \"a\" expected a function"),
        Wrong(
            name: "no name", script: TestRun.head + "test.case(function() end)",
            expected: "argument 1 of test.case expected a string"),
        Wrong(
            name: "options last", script: TestRun.head + "test.case('a', function() end, {})",
            expected: "has its options behind the function"),
        Wrong(
            name: "a misspelt option", script: TestRun.head + "test.case('a', { schedule = 2 }, function() end)",
            expected: "x_test.lua:2: unknown option of test.case \"a\": 'schedule' (did you mean 'schedules'?)"),
        Wrong(
            name: "half a schedule", script: TestRun.head + "test.case('a', { schedules = 0.5 }, function() end)",
            expected: "schedules of test.case \"a\" expected a whole number from 1"),
        Wrong(
            name: "a clock", script: TestRun.head + "test.case('a', { clock = 'wall' }, function() end)",
            expected: "expected \"virtual\" or \"real\", got \"wall\""),
        Wrong(
            name: "schedules in real time",
            script: TestRun.head + "test.case('a', { clock = 'real', schedules = 2 }, function() end)",
            expected: "goes with the virtual clock"),
        Wrong(
            name: "a limit", script: TestRun.head + "test.case('a', { limit = '5 parsecs' }, function() end)",
            expected: "limit of test.case \"a\" expected a duration above 0"),
        Wrong(name: "a misspelt function", script: TestRun.head + "test.cas()", expected: "(did you mean 'case'?)"),
        Wrong(
            name: "a seed", arguments: ["x_test.lua", "--seed", "x"], expected: "--seed expects a whole number from 0"),
        Wrong(name: "no schedules", arguments: ["x_test.lua", "--schedules", "0"], expected: "--schedules expects"),
        Wrong(name: "a format", arguments: ["x_test.lua", "--format", "html"], expected: "'text', 'junit' or 'tap'"),
        Wrong(
            name: "a filter", script: passes, arguments: ["x_test.lua", "--filter", "y"],
            expected: "no case's name contains 'y'"),
        Wrong(
            name: "a place for the output", script: passes, arguments: ["x_test.lua", "--output", "no/where.xml"],
            expected: "cannot open 'no/where.xml'"),
    ]

    @Test(arguments: wrong) func aWrongFileOrCommandLine_endsWithTwo(_ test: Wrong) throws {
        let run = try TestRun(files: ["x_test.lua": test.script, "empty/other.lua": ""], test.arguments)
        let all = run.output + run.outcome.errors
        #expect(all.contains(test.expected), "\(all)")
        #expect(run.status == 2)
    }

    @Test func aBrokenFile_keepsNoOtherFromRunning() throws {
        let run = try TestRun(files: ["a_test.lua": "error('a')", "b_test.lua": Self.passes], ["."])
        #expect(run.output.contains("  ok      passes"))
        #expect(run.summary == "1 case: 1 ok, 1 file not loaded")
        #expect(run.status == 2)
    }

    @Test func streamTest_isThereInTestsOnly() throws {
        let outcome = try CommandLine.run("local test = require 'stream.test'")
        #expect(outcome.errors.contains("script.lua:1: module 'stream.test' is there in tests only"))
        #expect(outcome.errors.contains("streamhost test script.lua"))
        #expect(outcome.status == 2)
    }

    static let three = """
        test.case("first of all", function(t) t.equal(1, 1) end)
        test.case("second of all", function(t) t.equal(1, 2) end)
        test.case("third", function(t) t.equal(1, 3) end)
        """

    @Test func filterListAndFailFast() throws {
        let filtered = try TestRun(Self.three, ["--filter", "first of"])
        #expect(filtered.summary == "1 case: 1 ok")
        let listed = try TestRun(Self.three, ["--list", "--filter", "of all"])
        #expect(listed.output == "x_test.lua:2: first of all\nx_test.lua:3: second of all\n")
        #expect(listed.status == 0)
        let fast = try TestRun(Self.three, ["--fail-fast"])
        #expect(fast.summary == "2 cases: 1 ok, 1 failed")
        #expect(fast.status == 1)
    }

    static let odd = """
        test.case("a < b & \\"c\\" # \\27[31m", function(t)
          print("printed <&> \\0")
          t.equal({ "<", "]]>" }, { ">", "\\1" }, "what\\nelse")
        end)
        test.case("fine", function(t) t.equal(1, 1) end)
        """

    @Test func junit_isXMLThatSaysItAll() throws {
        let run = try TestRun(
            files: ["x_test.lua": TestRun.head + Self.odd, "y_test.lua": "error('<broken>')"],
            [".", "--format", "junit", "--seed", "9"])
        #expect(run.status == 2)
        let seen = try #require(Elements(run.output), "\(run.output)")
        #expect(
            seen.names == [
                "testsuites", "testsuite", "testcase", "failure", "system-out", "testcase", "testsuite", "testcase",
                "error",
            ])
        #expect(seen.attributes[0]["tests"] == "3")
        #expect(seen.attributes[0]["failures"] == "1")
        #expect(seen.attributes[0]["errors"] == "1")
        #expect(seen.attributes[1]["name"] == "x_test.lua")
        #expect(seen.attributes[1]["tests"] == "2")
        #expect(seen.attributes[2]["name"] == "a < b & \"c\" # \\u{1B}[31m")
        #expect(seen.attributes[2]["line"] == "2")
        #expect(seen.attributes[3]["message"] == "x_test.lua:4: what")
        #expect(seen.texts[3].contains("at [1]: expected \">\", got \"<\""))
        #expect(seen.texts[3].contains("--seed 0x9"))
        #expect(seen.texts[4] == "printed <&> \\u{0}\n")
        #expect(seen.attributes[8]["message"] == "y_test.lua:1: <broken>")
    }

    @Test func tap_hasAPlanAndDiagnostics() throws {
        let run = try TestRun(Self.odd, ["--format", "tap", "--seed", "9"])
        let lines = run.outcome.lines
        #expect(lines.first == "TAP version 14")
        #expect(lines.contains("not ok 1 - x_test.lua: a < b & \"c\" \\# \\\\u{1B}[31m"), "\(run.output)")
        #expect(lines.contains("  ---") && lines.contains("  ..."))
        #expect(lines.contains("  message: \"x_test.lua:4: what\""))
        #expect(lines.contains("  seed: \"0x9\""))
        #expect(lines.contains("  actual: \"[\\\"<\\\", \\\"]]>\\\"]\""))
        #expect(lines.contains("ok 2 - x_test.lua: fine"))
        #expect(lines.contains("1..2"))
        #expect(run.status == 1)
    }

    @Test func output_goesToAFile_andTextToThePerson() throws {
        let folder = try ScriptFolder("", files: ["x_test.lua": TestRun.head + Self.three])
        let outcome = try CommandLine.execute(
            ["test", ".", "--format", "junit", "--output", "report.xml"], folder: folder.url)
        let report = try String(contentsOf: folder.url.appendingPathComponent("report.xml"), encoding: .utf8)
        #expect(Elements(report)?.names.filter { $0 == "testcase" }.count == 3)
        #expect(outcome.output.contains("  ok      first of all"))
        #expect(outcome.status == 1)
    }

    @Test func theExamples_pass() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../scripts/examples")
        let outcome = try CommandLine.execute(["test", "."], folder: folder)
        #expect(outcome.output.contains("first_seen_test.lua\n  ok      an id passes again after an hour\n"))
        #expect(outcome.status == 0, "\(outcome.output)")
    }

    @Test func aTerminal_getsColours_andProgressWhereItTakesLong() throws {
        let folder = try ScriptFolder(
            "",
            files: [
                "x_test.lua": TestRun.head + """
                    test.case("quick", function(t) t.equal(1, 1) end)
                    test.case("long", { limit = "3s" }, function(t) t.equal(1, 1) while true do end end)
                    """
            ])
        let terminal = try Terminal(["test", "x_test.lua"], folder: folder.url)
        #expect(terminal.finish() == 1)
        #expect(terminal.text.contains("\u{1B}[32mok\u{1B}[0m      quick"))
        #expect(terminal.text.contains("1 of 2: x_test.lua: long"))
        #expect(terminal.text.contains("\u{1B}[31mFAILED\u{1B}[0m  long"))
        let plain = try Terminal(
            ["test", "x_test.lua", "--no-progress", "--filter", "quick"], folder: folder.url,
            variables: ["NO_COLOR": "1"])
        #expect(plain.finish() == 0)
        #expect(!plain.text.contains("\u{1B}"))
    }

    @Test func help_namesTheExitStatuses() throws {
        let outcome = try CommandLine.execute(["test", "--help"])
        #expect(outcome.output.contains("Exit status: 0 all passed; 1 a case failed; 2 "))
        #expect(outcome.status == 0)
    }

    // MARK: What does not end by itself

    @Test(arguments: [
        "while true do end", "for i = 1, 1e18 do end", "while true do pcall(function() while true do end end) end",
        "for i = 1, 1e18 do pcall(error) end", "coroutine.wrap(function() while true do end end)()",
        "stream.go(function() while true do end end) stream.sleep(1)", "while true do stream.sleep(1) end",
        "setmetatable({}, { __index = function() while true do end end }).x()",
        "table.sort({ 1, 2, 3 }, function() while true do end end)",
        "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
        "stream.from(stream.range(1, 3)):map('m', function() while true do end end):collect()",
        "stream.go(function() while true do stream.sleep(1) end end)",
        "stream.from(stream.range(1, math.huge)):to(stream.null_sink()) stream.sleep(1)",
    ]) func anEndlessCase_failsAtItsLimit_andTheNextOneRuns(_ body: String) throws {
        let run = try TestRun(
            """
            test.case("endless", { limit = "300ms" }, function(t)
              t.equal(1, 1)
              \(body)
            end)
            test.case("next", function(t) t.equal(1, 1) end)
            """)
        #expect(run.output.contains("it did not end within 0.3 s of real time"), "\(run.output)")
        #expect(run.summary == "2 cases: 1 ok, 1 failed")
        #expect(run.status == 1)
    }

    @Test func anEndlessTopLevel_isAFileThatDoesNotLoad() throws {
        let run = try TestRun("while true do end")
        #expect(run.output.contains("x_test.lua:2: it did not end within 10 s"))
        #expect(run.status == 2)
    }

    @Test(arguments: [(SIGINT, 130), (SIGTERM, 143)] as [(Int32, Int32)])
    func aSignal_endsItWithWhatIsKnown(_ signal: Int32, _ status: Int32) throws {
        let folder = try ScriptFolder(
            "",
            files: [
                "x_test.lua": TestRun.head + """
                    test.case("quick", function(t) t.equal(1, 1) end)
                    test.case("slow", { limit = "1h" }, function(t) while true do end end)
                    """
            ])
        let running = try Running(["test", "x_test.lua"], folder: folder.url)
        running.feed(Data())
        #expect(running.awaitOutput("quick"))
        Thread.sleep(forTimeInterval: 0.3)  // the slow one says nothing by which to tell that it has begun
        running.send(signal)
        let outcome = running.finish()
        #expect(outcome.status == status)
        #expect(outcome.output.contains("1 case: 1 ok, ended by SIG"))
        #expect(outcome.errors.contains("while this ran: x_test.lua: slow"))
    }

    @Test func aSignalBetweenCases_namesNone() throws {
        let folder = try ScriptFolder(
            "",
            files: [
                "a_test.lua": TestRun.head + "test.case(\"quick\", function(t) t.equal(1, 1) end)",
                "b_test.lua": "while true do end",  // it is read, and no case runs
            ])
        let running = try Running(["test", "a_test.lua", "b_test.lua"], folder: folder.url)
        running.feed(Data())
        #expect(running.awaitOutput("quick"))
        Thread.sleep(forTimeInterval: 0.3)
        running.send(SIGINT)
        let outcome = running.finish()
        #expect(outcome.status == 130 && outcome.output.contains("1 case: 1 ok, ended by SIGINT"))
        #expect(!outcome.errors.contains("while this ran"), "\(outcome.errors)")
    }
}

/// The elements of an XML text in order; nil where it is not well-formed.
private final class Elements: NSObject, XMLParserDelegate {
    private(set) var names: [String] = []
    private(set) var attributes: [[String: String]] = []
    private(set) var texts: [String] = []
    private var open: [Int] = []

    init?(_ text: String) {
        super.init()
        let parser = XMLParser(data: Data(text.utf8))
        parser.delegate = self
        guard parser.parse() else { return nil }
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
        attributes: [String: String]
    ) {
        open.append(names.count)
        names.append(name)
        self.attributes.append(attributes)
        texts.append("")
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) { texts[open.last!] += text }

    func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
        open.removeLast()
    }
}

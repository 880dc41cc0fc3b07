// The line on the terminal that says how a long run goes on.
import Foundation
import Testing

@testable import StreamRuntime
@testable import streamhost

@Suite struct ProgressLineTests {
    @Test(arguments: [
        (0, "0"), (7, "7"), (999, "999"), (1000, "1 000"), (12345, "12 345"), (1_204_331, "1 204 331"), (-1, "0"),
    ]) func numbers_areInGroupsOfThree(_ number: Int, _ text: String) { #expect(Progress.grouped(number) == text) }

    @Test(arguments: [
        (0, "0"), (-3, "0"), (.nan, "0"), (.infinity, "0"), (0.04, "0"), (0.5, "0.5"), (3, "3"), (9.94, "9.9"),
        (9.96, "10"), (12.4, "12"), (999.4, "999"), (999.6, "1 000"), (1234, "1 230"), (401_999, "402 000"),
        (2_345_678_901, "2 350 000 000"),
    ]) func rates_haveThreeDigitsThatCount(_ rate: Double, _ text: String) { #expect(Progress.rounded(rate) == text) }

    @Test func theLine_namesTheFullestQueue_orNone() {
        var progress = RunProgress()
        progress.entered = 1_204_331
        progress.delivered = 26511
        #expect(Progress.text(progress, rate: 402_100, columns: 200) == "1 204 331 in, 26 511 out, 402 000/s")
        progress.fullest = .init(name: #"the queue of "parse""#, count: 255, capacity: 256)
        #expect(
            Progress.text(progress, rate: 402_100, columns: 200)
                == #"1 204 331 in, 26 511 out, 402 000/s, fullest: the queue of "parse" 255/256"#)
    }

    @Test(arguments: [
        ("abc", 3, "abc"), ("abcd", 3, "abc"), ("a\u{1B}[31mb\n", 20, "a?[31mb?"), ("a\u{202E}b", 9, "a?b"),
        ("日本語", 5, "日本"), ("日本語", 6, "日本語"), ("é😀x", 3, "é😀"), ("abc", 0, ""), ("abc", -1, ""),
    ]) func theLine_isCutToTheColumns_andCannotControlTheTerminal(_ text: String, _ columns: Int, _ cut: String) {
        #expect(Progress.cut(text, columns) == cut)
    }

    @Test func theRate_isOfTheLastSecond() {
        var meter = RateMeter()
        #expect(meter.rate == 0)
        meter.add(1000, at: 0)
        #expect(meter.rate == 0)
        meter.add(1050, at: 500_000_000)
        #expect(meter.rate == 100)
        // Ten times as fast for three seconds: what was before is forgotten.
        for tenth in 1...30 { meter.add(1050 + 100 * tenth, at: 500_000_000 + Int64(tenth) * 100_000_000) }
        #expect(meter.rate == 1000)
        meter.add(4050, at: 9_500_000_000)
        #expect(meter.rate < 20)
    }

    @Test(arguments: [(nil, false), ("", false), ("dumb", false), ("xterm-256color", true)] as [(String?, Bool)])
    func someTerminals_cannotShowIt(_ term: String?, _ can: Bool) { #expect(Progress.canShow(term: term) == can) }
}

@Suite struct ProgressTests {
    private static let copy = """
        local stream = require "stream"
        stream.from(stream.stdin()):map("copy", function(v) return v end):to(stream.stdout())
        """
    private static let soon = ["run", "--progress-delay", "10ms", "script.lua"]

    @Test func longRun_showsProgressThatMakesWayForOutput() throws {
        let folder = try ScriptFolder(Self.copy)
        let terminal = try Terminal(Self.soon, folder: folder.url)
        try #require(terminal.wait { $0.contains("0 in, 0 out, 0/s") })
        try terminal.send("one\ntwo\n")
        try #require(terminal.wait { $0.contains("\n") && $0.contains("2 in, 2 out") })
        // Above it stands what the run has written.
        let shown = Terminal.screen(terminal.text)
        #expect(shown.dropLast() == ["one", "two"])
        #expect(shown.last?.hasPrefix("2 in, 2 out, ") == true)
        try terminal.send("three\n")
        try terminal.endInput()
        #expect(terminal.finish() == 0)
        #expect(Terminal.screen(terminal.text) == ["one", "two", "three", ""])
    }

    @Test func messagesOnStandardError_areNotMixedWithIt() throws {
        let folder = try ScriptFolder(
            """
            local stream = require "stream"
            stream.from(stream.stdin()):each("look", function(v)
              if v == "bad" then error("no " .. v) end
              stream.log.info(v)
            end):to(stream.null_sink())
            """)
        let terminal = try Terminal(Self.soon, folder: folder.url)
        try #require(terminal.wait { $0.contains("0 in, 0 out") })
        try terminal.send("fine\n")
        try #require(terminal.wait { $0.contains("1 in, 1 out") })
        try terminal.send("bad\n")
        #expect(terminal.finish() == 1)
        let lines = Terminal.screen(terminal.text.replacing("\u{1B}[31m", with: "").replacing("\u{1B}[0m", with: ""))
        #expect(lines.count >= 3 && lines.last == "")
        #expect(lines.first?.contains("fine") == true)
        #expect(lines.dropFirst().first?.hasPrefix("streamhost: stage \"look\" (script.lua:2): ") == true)
        #expect(!lines.contains { $0.contains(" in, ") })
    }

    @Test func outputInAPipe_isLeftAlone() throws {
        let folder = try ScriptFolder(Self.copy)
        let terminal = try Terminal(Self.soon, folder: folder.url, as: .errors)
        try #require(terminal.wait { $0.contains("0 in, 0 out") })
        try terminal.send("one\n")
        try #require(terminal.wait { $0.contains("1 in, 1 out") })
        try terminal.endInput()
        #expect(terminal.readOutput() == "one\n")
        #expect(terminal.finish() == 0)
        #expect(Terminal.screen(terminal.text) == [""])
    }

    @Test func stoppedTerminal_doesNotKeepTheRun() throws {
        let folder = try ScriptFolder(Self.copy)
        let terminal = try Terminal(Self.soon, folder: folder.url, as: .errors)
        try #require(terminal.wait { $0.contains("0 in, 0 out") })
        terminal.type("\u{13}")
        try terminal.send("one\n")
        usleep(500_000)  // several looks
        try terminal.endInput()
        #expect(terminal.readOutput() == "one\n")
        #expect(terminal.finish() == 0)
        #expect(!terminal.text.contains("1 in"))
    }

    @Test func narrowTerminal_getsAShorterLine() throws {
        let folder = try ScriptFolder(Self.copy)
        let terminal = try Terminal(Self.soon, folder: folder.url, columns: 12)
        try #require(terminal.wait { $0.contains("0 in, 0 out\u{1B}[K") })
        try terminal.endInput()
        #expect(terminal.finish() == 0)
        #expect(!terminal.text.contains("/s"))
    }

    /// The line is drawn only where one begins: a writer in the middle of its line is not disturbed.
    @Test func unfinishedLine_isNotWrittenOver() throws {
        let folder = try ScriptFolder(
            """
            local stream = require "stream"
            stream.from(stream.stdin { format = "bytes" }):to(stream.stdout { format = "bytes" })
            """)
        let terminal = try Terminal(Self.soon, folder: folder.url)
        try #require(terminal.wait { $0.contains("0 in, 0 out") })
        try terminal.send("half a")
        try #require(terminal.wait { $0.contains("half a") })
        let before = terminal.text
        usleep(500_000)
        #expect(terminal.text == before)
        try terminal.send(" line\n")
        try #require(terminal.wait { $0.contains("2 in, 2 out") })
        try terminal.endInput()
        #expect(terminal.finish() == 0)
        #expect(Terminal.screen(terminal.text) == ["half a line", ""])
    }

    @Test func interruptedRun_leavesACleanLine() throws {
        let folder = try ScriptFolder("local stream = require 'stream'\nstream.sleep(3600)\n")
        let terminal = try Terminal(Self.soon, folder: folder.url)
        try #require(terminal.wait { $0.contains("0 in, 0 out") })
        terminal.signal(SIGTERM)
        #expect(terminal.finish() == 143)
        #expect(Terminal.screen(terminal.text) == [""])
    }

    /// A run of 0.3 s, and a display that would come after 1 ms.
    @Test(
        arguments: [
            (["--no-progress"], [:], 1), ([], ["TERM": "dumb"], 1), ([], ["TERM": ""], 1),
            ([], [:], 300_000),
        ] as [([String], [String: String], Int)])
    func nothingIsShown(_ options: [String], _ variables: [String: String], _ milliseconds: Int) throws {
        let folder = try ScriptFolder("local stream = require 'stream'\nstream.sleep('300ms')\nprint('done')\n")
        let terminal = try Terminal(
            ["run"] + options + ["--progress-delay", "\(milliseconds)ms", "script.lua"], folder: folder.url,
            variables: variables)
        #expect(terminal.finish() == 0)
        #expect(terminal.text == "done\r\n")
    }

    @Test func nothingIsShown_whereStandardErrorIsNoTerminal() throws {
        let folder = try ScriptFolder("local stream = require 'stream'\nstream.sleep('300ms')\nprint('done')\n")
        let outcome = try CommandLine.execute(
            ["run", "--progress-delay", "1ms", "script.lua"], folder: folder.url)
        #expect(outcome.errors == "")
        #expect(outcome.output == "done\n")
    }

    /// What a person types at the terminal is not written over.
    @Test func nothingIsShown_whereTheScriptReadsTheTerminal() throws {
        let folder = try ScriptFolder(
            Self.copy.replacing("return v", with: "if v == 'a' then stream.sleep('700ms') end return v"))
        let terminal = try Terminal(
            ["run", "--progress-delay", "400ms", "script.lua"], folder: folder.url, as: .all)
        terminal.type("a\n")
        try #require(terminal.wait { $0 == "a\r\na\r\n" })
        terminal.type("\u{4}")  // the input's end
        #expect(terminal.finish() == 0)
        #expect(terminal.text == "a\r\na\r\n")
    }

    @Test func colours_areLeftOutWhereTheyAreNotWanted() throws {
        let folder = try ScriptFolder("error('wrong')\n")
        for (variables, isColoured) in [([:], true), (["NO_COLOR": "1"], false), (["TERM": "dumb"], false)] {
            let terminal = try Terminal(["run", "script.lua"], folder: folder.url, variables: variables)
            #expect(terminal.finish() == 1)
            #expect(terminal.text.contains("script.lua:1: wrong"))
            #expect(terminal.text.contains("\u{1B}") == isColoured, "\(variables)")
        }
    }
}

// Mistakes in a script or on the command line: status 2, one message that names the place.
import Foundation
import Testing

@Suite struct ScriptMistakeTests {
    @Test func syntaxError_namesFileAndLine() throws {
        let outcome = try CommandLine.run("local a = 1\nprint('never')\nlocal = 3\n")
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("script.lua:3:"))
        #expect(outcome.output == "")
    }

    /// Script, what its message must contain.
    static let mistakes: [(String, [String])] = [
        ("stream.from(stream.stdin()):mapp('a', print)", ["script.lua:2:", "'mapp'", "did you mean 'map'?"]),
        ("stream.slep(1)", ["script.lua:2:", "'slep'", "did you mean 'sleep'?"]),
        (
            "stream.from(stream.range(1, 2)):map('a', function(v) return v end, { worker = 2 })",
            ["script.lua:2:", "'worker'", "did you mean 'workers'?"]
        ),
        ("stream.from(stream.stdin { formt = 'json' })", ["script.lua:2:", "'formt'", "did you mean 'format'?"]),
        ("stream.from(stream.stdin { format = 'jsn' })", ["script.lua:2:", "'jsn'", "did you mean 'json'?"]),
        (
            "stream.from(stream.range(1, 2)):map('double', 42)",
            ["script.lua:2:", "double", "expected a function", "42"]
        ),
        ("stream.from(stream.range(1, 2)):map('double')", ["script.lua:2:", "double", "expected a function", "nil"]),
        ("stream.from(stream.range(1, 2)):stage('s', { proces = print })", ["script.lua:2:", "'process'", "'proces'"]),
        ("stream.from(stream.range(1, 2)):map('s', { process = print, setup = 1 })", ["script.lua:2:", "setup"]),
        ("stream.from(stream.range(1, 2)):map('s', print, { workers = 0 })", ["script.lua:2:", "workers", "0"]),
        ("stream.from(stream.range(1, 2)):map('s', print, { workers = 1.5 })", ["script.lua:2:", "workers", "1.5"]),
        ("stream.from(stream.range(1, 2)):map('s', print, { queue = -1 })", ["script.lua:2:", "queue", "-1"]),
        (
            "stream.from(stream.range(1, 2)):map('s', print, { on_error = 'ignore' })",
            ["script.lua:2:", "on_error", "ignore"]
        ),
        ("stream.from(stream.range(1, 2)):take(-1)", ["script.lua:2:", "take", "-1"]),
        ("stream.from(stream.range(1, 2, 0))", ["script.lua:2:", "step"]),
        ("stream.from(nil)", ["script.lua:2:", "source", "nil"]),
        ("stream.from(stream.range(1, 2)):to(nil)", ["script.lua:2:", "sink", "nil"]),
        ("stream.from(stream.stdout())", ["script.lua:2:", "source"]),
        ("stream.from(stream.range(1, 2)):to(stream.stdin())", ["script.lua:2:", "sink"]),
        ("stream.chan(-1)", ["script.lua:2:", "capacity", "-1"]),
        ("stream.chan()", ["script.lua:2:", "capacity", "nil"]),
        ("stream.sleep('soon')", ["script.lua:2:", "duration", "soon"]),
        ("stream.sleep(-1)", ["script.lua:2:", "-1"]),
        ("stream.go(42)", ["script.lua:2:", "function", "number"]),
        ("stream.file()", ["script.lua:2:", "path"]),
        ("local c = stream.chan(1); c:close(); c:close()", ["script.lua:2:", "close"]),
        ("local c = stream.chan(1); c:send(nil)", ["script.lua:2:", "cannot send value: nil"]),
        (
            "stream.chan(1):send({ a = { b = coroutine.create(print) } })",
            ["script.lua:2:", "cannot send value.a.b: a coroutine"]
        ),
        (
            "stream.chan(1):send({ callback = print })",
            ["script.lua:2:", "cannot send value.callback: a function stays in the worker that made it"]
        ),
        (
            "local t = { a = {} } t.a.back = t stream.chan(1):send(t)",
            ["script.lua:2:", "cannot send value.a.back: a cycle"]
        ),
        (
            "local t = {} for _ = 1, 300 do t = { t } end stream.chan(1):send(t)",
            ["script.lua:2:", "nested deeper than 200"]
        ),
    ]

    @Test(arguments: mistakes.indices)
    func mistake_namesPlaceAndWhatWasExpected(_ index: Int) throws {
        let (script, parts) = Self.mistakes[index]
        let outcome = try CommandLine.run("local stream = require 'stream'\n" + script + "\nprint('never')")
        #expect(outcome.status == 2, "\(script): \(outcome.errors)")
        for part in parts { #expect(outcome.errors.contains(part), "\(script): \(outcome.errors)") }
        #expect(outcome.output == "", "\(script)")
    }

    @Test func missingScript_isNamed() throws {
        let outcome = try CommandLine.execute(["run", "/nonexistent/missing.lua"])
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("/nonexistent/missing.lua"))
        #expect(outcome.errors.contains("no such file or directory"))
    }

    @Test func directoryAsScript_isNamed() throws {
        let outcome = try CommandLine.execute(["run", "/tmp"])
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("/tmp"))
        #expect(outcome.errors.contains("directory"))
    }

    @Test func help_mentionsExitStatus() throws {
        for arguments in [["--help"], ["run", "--help"]] {
            let outcome = try CommandLine.execute(arguments)
            #expect(outcome.status == 0)
            #expect(outcome.output.lowercased().contains("exit status"), "\(arguments)")
            #expect(outcome.errors == "")
        }
    }

    @Test func version_namesLua() throws {
        let outcome = try CommandLine.execute(["--version"])
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("Lua 5.4.4"))
    }

    @Test func wrongCommandLine_hasStatusTwo() throws {
        for arguments in [["frobnicate"], ["run"], ["--frobnicate"], ["run", "--drain-timeout", "soon", "x.lua"]] {
            let outcome = try CommandLine.execute(arguments)
            #expect(outcome.status == 2, "\(arguments): \(outcome.errors)")
            #expect(outcome.errors != "")
            #expect(outcome.output == "")
        }
    }

    @Test func arguments_standInArg() throws {
        let outcome = try CommandLine.run(
            "print(#arg, arg[0], arg[1], arg[2], arg[3]) print(...)", arguments: ["one", "--two", "drei und vier"])
        #expect(outcome.output == "3\tscript.lua\tone\t--two\tdrei und vier\none\t--two\tdrei und vier\n")
        #expect(outcome.status == 0)
    }

    // MARK: Modules

    @Test func require_findsModulesBesideTheScriptOnce() throws {
        let outcome = try CommandLine.run(
            "local b = require 'a.b' print(b.name, require 'a.b' == b, require 'c'.name)",
            files: [
                "a/b.lua": "print('loaded', ...) return { name = 'a.b' }", "c/init.lua": "return { name = 'c' }",
            ])
        #expect(outcome.lines.first?.hasPrefix("loaded\ta.b") == true)
        #expect(outcome.lines.dropFirst() == ["a.b\ttrue\tc"])
        #expect(outcome.status == 0)
    }

    @Test func missingModule_namesWhatWasLookedFor() throws {
        let outcome = try CommandLine.run("print 'begin'\nlocal m = require 'a.missing'")
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("script.lua:2:"))
        #expect(outcome.errors.contains("module 'a.missing' not found"))
        #expect(outcome.errors.contains("a/missing.lua"))
        #expect(outcome.output == "begin\n")
    }

    @Test func modulesThatRequireEachOther_endWithAMessage() throws {
        let outcome = try CommandLine.run(
            "require 'a'", files: ["a.lua": "require 'b' return 1", "b.lua": "require 'a' return 2"])
        #expect(outcome.status != 0 && outcome.status <= 2)
        #expect(outcome.errors.contains("loop"))
        #expect(outcome.errors.contains("'a'"))
    }

    @Test func syntaxErrorInModule_namesItsFile() throws {
        let outcome = try CommandLine.run("require 'a'", files: ["a.lua": "\n\nlocal x = = 2"])
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains("a.lua:3:"))
    }
}

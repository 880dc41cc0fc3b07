// `streamhost test`.
import ArgumentParser
import Glibc
import StreamTesting

struct TestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Runs the cases of test scripts, in virtual time and under seeds.",
        discussion: """
            A test script declares cases:

              local stream, test = require "stream", require "stream.test"
              test.case("a tick a second", function(t)
                local ticks = stream.ticker("1s")
                t.near(ticks:recv(), 1, 1e-9)
              end)

            Folders are searched for files called *_test.lua. Each case runs on a clock that moves only when every task \
            waits; a seed decides the order in which tasks and workers run, math.random, and the order of pairs. A case \
            with { schedules = n } runs under n seeds. A failure prints its seed; with --seed it happens again.

            Exit status: 0 all passed; 1 a case failed; 2 the command line is wrong, a file does not load or has no case, \
            or no case has such a name; 130 / 143 ended by SIGINT / SIGTERM.
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case text, junit, tap
    }

    @Option(help: ArgumentHelp("Runs each case under this seed (decimal, or 0x and hex).", valueName: "n"))
    var seed: String?

    @Option(help: ArgumentHelp("How many seeds each case runs under, in place of its own number.", valueName: "n"))
    var schedules: Int?

    @Option(help: ArgumentHelp("Runs only cases whose names contain this text.", valueName: "text"))
    var filter: String?

    @Option(help: "How results are written: text, junit (XML) or tap.")
    var format = Format.text

    @Option(
        help: ArgumentHelp("Writes the results to a file; standard output gets them as text.", valueName: "file"),
        completion: .file())
    var output: String?

    @Flag(help: "Stops at the first case that fails.")
    var failFast = false

    @Flag(help: "Lists the cases and runs none.")
    var list = false

    @Flag(help: "Shows no progress on the terminal. By default a run of more than two seconds does.")
    var noProgress = false

    @Argument(
        help: ArgumentHelp("Test scripts, and folders that are searched for *_test.lua.", valueName: "file-or-folder"),
        completion: .file(extensions: ["lua"]))
    var paths: [String]

    func validate() throws {
        if let seed, Self.number(seed) == nil {
            throw ValidationError("--seed expects a whole number from 0, such as 7 or 0x5eed, got '\(seed)'.")
        }
        if let schedules, schedules < 1 {
            throw ValidationError("--schedules expects a whole number from 1, got \(schedules).")
        }
    }

    /// Decimal, or hexadecimal behind 0x.
    static func number(_ text: String) -> UInt64? {
        let lower = text.lowercased()
        guard text.first != "+" else { return nil }
        return lower.hasPrefix("0x") ? UInt64(lower.dropFirst(2), radix: 16) : UInt64(text)
    }

    func run() throws {
        var options = TestSuite.Options()
        options.seed = seed.flatMap(Self.number)
        options.schedules = schedules
        options.filter = filter
        options.stopsAtFailure = failFast
        let runner = TestCommandRunner(
            suite: TestSuite(options: options), format: format, output: output, showsProgress: !noProgress)
        _exit(runner.run(paths, list: list))
    }
}

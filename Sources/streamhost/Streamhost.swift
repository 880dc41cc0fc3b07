// The command line.
import ArgumentParser
import Glibc
import StreamHost

struct Streamhost: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "streamhost",
        abstract: "Runs Lua scripts as stages of streams: isolated workers, bounded queues, backpressure.",
        discussion: """
            A script reads a source, transforms its values in stages and writes a sink:

              local stream = require "stream"
              stream.from(stream.stdin { format = "json" })
                :filter("failed", function(event) return event.status >= 400 end)
                :to(stream.stdout { format = "json" })

            Exit status: 0 done; 1 the run failed; 2 the script or the command line is wrong; 130 / 143 ended by \
            SIGINT / SIGTERM.
            """,
        version: "streamhost 0.1.0 (\(Host.luaVersion))",
        subcommands: [RunCommand.self, TestCommand.self, CompletionsCommand.self])
}

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs a script to its end.",
        discussion: """
            Values and print go to standard output, everything else to standard error.
            At the first SIGINT or SIGTERM sources end and what is under way is still delivered; at the second, or after \
            --drain-timeout, everything that waits is cancelled, and two seconds later what goes on is stopped; at the \
            third the process leaves at once.

            Exit status: 0 done; 1 the run failed; 2 the script or the command line is wrong; 130 / 143 ended by \
            SIGINT / SIGTERM.
            """)

    @Option(help: ArgumentHelp("How long a drain may take after a signal.", valueName: "duration"))
    var drainTimeout = Self.defaultDrainTimeout

    @Option(
        help: ArgumentHelp(
            "Writes what became of the values, and what did not end in time, as JSON; - is standard error.",
            valueName: "file"), completion: .file())
    var report: String?

    @Flag(help: "Shows no progress on the terminal. By default a run of more than two seconds does.")
    var noProgress = false

    @Option(help: ArgumentHelp("How long a run lasts before its progress shows.", visibility: .hidden))
    var progressDelay = Self.defaultProgressDelay

    @Option(
        help: ArgumentHelp("How long a script computes before others have their turn.", visibility: .hidden))
    var slice: String?
    @OptionGroup(title: "Limits") var limits: LimitOptions

    @Argument(help: "The script.", completion: .file(extensions: ["lua"]))
    var script: String

    @Argument(
        parsing: .captureForPassthrough, help: "What the script finds in `arg`: all that follows it, options too.",
        completion: .file())
    var arguments: [String] = []

    private static let defaultDrainTimeout = "30s", defaultProgressDelay = "2s"

    /// `run SCRIPT ARGUMENT...` without options, as nearly all runs are: reading that needs no parser, which takes more
    /// time than all else until the script's first line. Returns if the command line is another one.
    static func runIfPlain(_ arguments: [String]) {
        guard arguments.count >= 3, arguments[1] == "run", !arguments[2].hasPrefix("-") else { return }
        let status = ScriptRunner(
            drainTimeout: Quantity.nanoseconds(defaultDrainTimeout)!,
            progress: Progress(delay: Quantity.nanoseconds(defaultProgressDelay)!)
        ).run(arguments[2], arguments: Array(arguments[3...]))
        _exit(status)
    }

    func validate() throws {
        if Quantity.nanoseconds(drainTimeout) == nil {
            throw ValidationError(
                "--drain-timeout expects a duration such as \"30s\" or \"2m\", got '\(drainTimeout)'.")
        }
        if Quantity.nanoseconds(progressDelay) == nil {
            throw ValidationError("--progress-delay expects a duration such as \"2s\", got '\(progressDelay)'.")
        }
        if let slice, Quantity.nanoseconds(slice) == nil {
            throw ValidationError("--slice expects a duration such as \"8ms\", got '\(slice)'.")
        }
    }

    func run() throws {
        var host = limits.host
        host.slice = slice.flatMap { Quantity.nanoseconds($0) }
        let status = ScriptRunner(
            drainTimeout: Quantity.nanoseconds(drainTimeout)!, host: host,
            progress: noProgress ? nil : Progress(delay: Quantity.nanoseconds(progressDelay)!), reportPath: report
        ).run(script, arguments: arguments)
        // Everything has been written; whatever still waits for input (standard input, say) goes with the process.
        _exit(status)
    }
}

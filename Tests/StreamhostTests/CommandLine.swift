// Runs the built binary as a user would.
import Foundation
import Testing

/// What one run of `streamhost` printed and how it ended.
struct Outcome {
    var output: String
    var errors: String
    var status: Int32

    var lines: [String] { output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init) }
}

enum CommandLine {
    /// Seconds that a run may take; then it is killed, and the test fails.
    static let timeLimit = 60.0

    /// The binary beside the tests' own bundle, or the one that STREAMHOST_BINARY names.
    static let binary: URL = {
        // A run that ends before it has read its input shall not end the tests.
        signal(SIGPIPE, SIG_IGN)
        if let path = ProcessInfo.processInfo.environment["STREAMHOST_BINARY"] { return URL(fileURLWithPath: path) }
        // The bundle is the folder of the tests' executable on Linux, and lies in it elsewhere.
        let bundle = Bundle.main.bundleURL
        let candidates = [bundle, bundle.deletingLastPathComponent()].map { $0.appendingPathComponent("streamhost") }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0.path) } ?? candidates[0]
    }()

    /// Runs a script given as text; its name in messages is `script.lua`, in a folder of its own.
    static func run(
        _ script: String, input: String = "", arguments: [String] = [], files: [String: String] = [:]
    ) throws -> Outcome {
        try run(script, bytes: Data(input.utf8), arguments: arguments, files: files)
    }

    static func run(
        _ script: String, bytes: Data, arguments: [String] = [], files: [String: String] = [:]
    ) throws -> Outcome {
        let folder = try ScriptFolder(script, files: files)
        return try execute(["run", "script.lua"] + arguments, bytes: bytes, folder: folder.url)
    }

    static func execute(_ arguments: [String], bytes: Data = Data(), folder: URL? = nil) throws -> Outcome {
        let running = try Running(arguments, folder: folder)
        running.feed(bytes)
        return running.finish()
    }

    /// Runs a line of bash in which `$STREAMHOST` is the binary, beside a script given as text.
    static func shell(_ line: String, script: String, files: [String: String] = [:]) throws -> Outcome {
        let folder = try ScriptFolder(script, files: files)
        let running = try Running(
            ["-c", line], binary: URL(fileURLWithPath: "/bin/bash"), folder: folder.url,
            variables: ["STREAMHOST": binary.path])
        running.feed(Data())
        return running.finish()
    }
}

/// A folder with `script.lua` and other files, removed when nobody holds it any more.
final class ScriptFolder {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("streamhost-\(UUID().uuidString)")

    init(_ script: String, files: [String: String] = [:]) throws {
        for (name, text) in files.merging(["script.lua": script], uniquingKeysWith: { $1 }) {
            let file = url.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
    }

    deinit { try? FileManager.default.removeItem(at: url) }
}

/// A run that goes on: it can be fed and signalled, and what it prints can be awaited.
final class Running {
    private let process = Process()
    private let input = Pipe()
    private let output = Collected()
    private let errors = Collected()
    private let folder: ScriptFolder?
    private let exited = DispatchSemaphore(value: 0)

    init(
        _ arguments: [String], binary: URL = CommandLine.binary, folder: URL? = nil, variables: [String: String] = [:]
    ) throws {
        self.folder = nil
        try start(binary, arguments, folder, variables)
    }

    /// A script given as text, in a folder of its own.
    init(script: String, options: [String] = []) throws {
        let folder = try ScriptFolder(script)
        self.folder = folder
        try start(CommandLine.binary, ["run"] + options + ["script.lua"], folder.url, [:])
    }

    private func start(
        _ binary: URL, _ arguments: [String], _ folder: URL?, _ variables: [String: String],
        _ errorsUnread: Bool = false
    ) throws {
        let outPipe = Pipe(), errPipe = Pipe()
        process.executableURL = binary
        process.arguments = arguments
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging(variables) { $1 }
        process.standardInput = input
        // As a file handle: `run` would close this end of a pipe, and nobody could ask whether it is full.
        process.standardOutput = unread.map { $0.fileHandleForWriting as Any } ?? outPipe
        process.standardError = errorsUnread ? unread!.fileHandleForWriting as Any : errPipe
        process.terminationHandler = { [exited] _ in exited.signal() }
        try process.run()
        if unread != nil { try? outPipe.fileHandleForWriting.close() }
        if errorsUnread { try? errPipe.fileHandleForWriting.close() }
        output.read(outPipe.fileHandleForReading)
        errors.read(errPipe.fileHandleForReading)
    }

    /// A script whose standard output, and standard error too if wanted, is a pipe that nobody reads. Both its ends are
    /// held here: no other process has to end before this run is known to have ended.
    init(unreadScript script: String, options: [String], withErrors: Bool) throws {
        let folder = try ScriptFolder(script)
        self.folder = folder
        unread = Pipe()
        try start(CommandLine.binary, ["run"] + options + ["script.lua"], folder.url, [:], withErrors)
    }
    private var unread: Pipe?

    /// Waits until it has filled what nobody reads; false: the time limit passed.
    func awaitFullPipe() -> Bool {
        guard let unread else { return false }
        let descriptor = unread.fileHandleForWriting.fileDescriptor
        let deadline = Date(timeIntervalSinceNow: CommandLine.timeLimit)
        while Date() < deadline {
            var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            if poll(&polled, 1, 0) == 0 { return true }
            usleep(5000)
        }
        return false
    }

    /// Gives it all its input, in the background, and ends the input.
    func feed(_ data: Data) {
        let handle = input.fileHandleForWriting
        Thread {
            try? handle.write(contentsOf: data)
            try? handle.close()
        }.start()
    }

    /// Gives it some of its input, which stays open.
    func write(_ text: String) { input.fileHandleForWriting.write(Data(text.utf8)) }

    func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    /// Waits until it has printed `text`; false: it ended, or the time limit passed.
    func awaitOutput(_ text: String) -> Bool { output.wait(CommandLine.timeLimit) { $0.contains(text) } }

    /// Waits for its end; kills it at the time limit, and then the test fails.
    func finish(within deadline: Double = CommandLine.timeLimit, file: SourceLocation = #_sourceLocation) -> Outcome {
        let isWhole =
            unread == nil
            ? output.waitForEnd(deadline) && errors.waitForEnd(deadline)
            : exited.wait(timeout: .now() + deadline) == .success
        if !isWhole {
            kill(process.processIdentifier, SIGKILL)
            Issue.record("the run did not end within \(deadline) s", sourceLocation: file)
        }
        process.waitUntilExit()
        if unread != nil { _ = errors.waitForEnd(deadline) }
        return Outcome(output: output.text, errors: errors.text, status: process.terminationStatus)
    }
}

/// What a thread reads from a pipe.
private final class Collected: @unchecked Sendable {  // `condition` guards the rest
    private let condition = NSCondition()
    private var data = Data()
    private var isAtEnd = false

    func read(_ handle: FileHandle) {
        Thread { [self] in
            while true {
                let chunk = handle.availableData
                condition.lock()
                data.append(chunk)
                if chunk.isEmpty { isAtEnd = true }
                condition.broadcast()
                condition.unlock()
                if chunk.isEmpty { return }
            }
        }.start()
    }

    var text: String {
        condition.lock()
        defer { condition.unlock() }
        return String(decoding: data, as: UTF8.self)
    }

    func waitForEnd(_ seconds: Double) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        let deadline = Date(timeIntervalSinceNow: seconds)
        while !isAtEnd { if !condition.wait(until: deadline) { return isAtEnd } }
        return true
    }

    func wait(_ seconds: Double, until holds: (String) -> Bool) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        let deadline = Date(timeIntervalSinceNow: seconds)
        while !holds(String(decoding: data, as: UTF8.self)) {
            if isAtEnd || !condition.wait(until: deadline) { return false }
        }
        return true
    }
}

// Runs the built binary as a user would.
import Foundation
import Testing

/// What one run of `streamhost` printed and how it ended.
struct Outcome {
    var output: String
    var errors: String
    var status: Int32
}

enum CommandLine {
    /// The binary beside the tests' own bundle, or the one that STREAMHOST_BINARY names.
    static let binary: URL = {
        if let path = ProcessInfo.processInfo.environment["STREAMHOST_BINARY"] { return URL(fileURLWithPath: path) }
        return Bundle.main.bundleURL.deletingLastPathComponent().appendingPathComponent("streamhost")
    }()

    /// Runs a script given as text; its name in messages is `script.lua`, in a folder of its own.
    static func run(
        _ script: String, input: String = "", arguments: [String] = [], files: [String: String] = [:]
    ) throws -> Outcome {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("streamhost-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, text) in files {
            let file = folder.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        try script.write(to: folder.appendingPathComponent("script.lua"), atomically: true, encoding: .utf8)
        return try execute(["run", "script.lua"] + arguments, input: input, folder: folder)
    }

    static func execute(_ arguments: [String], input: String = "", folder: URL? = nil) throws -> Outcome {
        let process = Process()
        process.executableURL = binary
        process.arguments = arguments
        process.currentDirectoryURL = folder
        let inPipe = Pipe(), outPipe = Pipe(), errPipe = Pipe()
        process.standardInput = inPipe
        process.standardOutput = outPipe
        process.standardError = errPipe
        try process.run()
        let feeder = Thread {
            try? inPipe.fileHandleForWriting.write(contentsOf: Data(input.utf8))
            try? inPipe.fileHandleForWriting.close()
        }
        feeder.start()
        let errors = Collected()
        let reader = Thread {
            errors.set(errPipe.fileHandleForReading.readDataToEndOfFile())
        }
        reader.start()
        let output = outPipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            output: String(decoding: output, as: UTF8.self), errors: String(decoding: errors.wait(), as: UTF8.self),
            status: process.terminationStatus)
    }
}

private final class Collected: @unchecked Sendable {  // the semaphore orders the one write before the one read
    private var data = Data()
    private let done = DispatchSemaphore(value: 0)
    func set(_ data: Data) {
        self.data = data
        done.signal()
    }
    func wait() -> Data {
        done.wait()
        return data
    }
}

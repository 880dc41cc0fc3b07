// A pseudo-terminal in which a test runs the binary, and what its screen shows.
import Foundation
import Glibc
import Testing

/// The far end of a pseudo-terminal: what was written to it, and a run that writes there.
final class Terminal: @unchecked Sendable {  // `condition` guards what the reading thread appends
    /// Which descriptors of the run are the terminal.
    enum Part { case errors, outputAndErrors, all }

    private let master: Int32
    private let process = Process()
    private let input = Pipe(), output = Pipe()
    private let condition = NSCondition()
    private var written: [UInt8] = []
    private var isAtEnd = false

    init(
        _ arguments: [String], folder: URL, as part: Part = .outputAndErrors, columns: UInt16 = 80,
        variables: [String: String] = [:]
    ) throws {
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var number: Int32 = 0, unlock: Int32 = 0
        try #require(ioctl(master, 0x4004_5431, &unlock) == 0, "TIOCSPTLCK")
        try #require(ioctl(master, 0x8004_5430, &number) == 0, "TIOCGPTN")
        let slave = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(slave >= 0)
        defer { close(slave) }
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        try #require(ioctl(slave, UInt(TIOCSWINSZ), &size) == 0)
        let handle = FileHandle(fileDescriptor: slave, closeOnDealloc: false)
        process.executableURL = CommandLine.binary
        process.arguments = arguments
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging(["TERM": "xterm", "NO_COLOR": ""]) { $1 }
            .merging(variables) { $1 }
        if part == .all { process.standardInput = handle } else { process.standardInput = input }
        if part == .errors { process.standardOutput = output } else { process.standardOutput = handle }
        process.standardError = handle
        try process.run()
        Thread { [self] in read() }.start()
    }

    deinit { close(master) }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(master, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            condition.lock()
            if count > 0 { written += buffer[..<count] } else { isAtEnd = true }  // EIO: nobody has it open
            condition.broadcast()
            condition.unlock()
            if count <= 0 { return }
        }
    }

    /// All bytes that were written, as text.
    var text: String {
        condition.lock()
        defer { condition.unlock() }
        return String(decoding: written, as: UTF8.self)
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func send(_ text: String) throws { try input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }

    func endInput() throws { try input.fileHandleForWriting.close() }

    /// What a person types.
    func type(_ text: String) {
        var text = text
        text.withUTF8 { _ = write(master, $0.baseAddress, $0.count) }
    }

    /// What the run writes to standard output where that is no terminal.
    func readOutput() -> String {
        String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    }

    /// Waits until what was written makes `holds` true; false: it ended, or the time limit passed.
    func wait(until holds: (String) -> Bool) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        let deadline = Date(timeIntervalSinceNow: CommandLine.timeLimit)
        while !holds(String(decoding: written, as: UTF8.self)) {
            if isAtEnd || !condition.wait(until: deadline) { return false }
        }
        return true
    }

    /// Waits for the run's end, and for all it wrote; returns its exit status.
    func finish() -> Int32 {
        let deadline = Date(timeIntervalSinceNow: CommandLine.timeLimit)
        condition.lock()
        while !isAtEnd { if !condition.wait(until: deadline) { break } }
        let isWhole = isAtEnd
        condition.unlock()
        if !isWhole {
            kill(process.processIdentifier, SIGKILL)
            Issue.record("the run did not end in time")
        }
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// The lines that the screen shows after `text`, the last one without an end included: a carriage return goes to
    /// the line's beginning, `ESC [ K` erases from there on, other text goes over what stood there.
    static func screen(_ text: String) -> [String] {
        var lines: [[Character]] = [[]]
        var column = 0
        var rest = Substring(text)
        while let character = rest.popFirst() {
            switch character {
            case "\r": column = 0
            case "\n": lines.append(.init(repeating: " ", count: column))
            case "\r\n":
                lines.append([])
                column = 0
            case "\u{1B}" where rest.hasPrefix("[K"):
                rest = rest.dropFirst(2)
                lines[lines.count - 1].removeSubrange(min(column, lines[lines.count - 1].count)...)
            default:
                if column < lines[lines.count - 1].count {
                    lines[lines.count - 1][column] = character
                } else {
                    lines[lines.count - 1].append(character)
                }
                column += 1
            }
        }
        return lines.map { String($0) }
    }
}

// A file, standard output or standard error as a sink.
import CMessage
import Glibc
import StreamCore

/// Writes values as lines, as JSON or as bytes, to a file of its own or through a writer that others share.
///
/// It gathers up to 64 KB, and writes whole values. A value that the format cannot write is an error; what was
/// gathered before it still goes out at `close`.
public final class FileSink: HostSink, @unchecked Sendable {  // one thread calls all but `cancel`
    private let path: String?
    private let isAppending: Bool
    private let format: TextFormat
    private let shared: OutputWriter?
    private var writer: OutputWriter?
    private var owned: Int32 = -1
    private let canceller = OutputWriter.Canceller()
    private var gathered = ByteWriter(capacity: 72 << 10)
    private var hasFailed = false

    private static let gatheredBytes = 64 << 10
    private static let keptBytes = 1 << 20

    /// Through `writer`, which stays open.
    public init(writer: OutputWriter, format: TextFormat) {
        path = nil
        isAppending = false
        self.format = format
        shared = writer
        self.writer = writer
    }

    /// The file at `path`: made (mode 0644) or emptied when the run opens it, or with `append` written at its end.
    public init(path: String, append: Bool = false, format: TextFormat) {
        self.path = path
        isAppending = append
        shared = nil
        self.format = format
    }

    public func open() throws(ConnectorError) {
        guard let path else { return }
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (isAppending ? O_APPEND : O_TRUNC)
        while true {
            owned = Glibc.open(path, flags, 0o644)
            if owned >= 0 { break }
            let number = errno
            // A pipe that nobody reads yet refuses to be opened without blocking, which `cancel` could not end.
            guard number == EINTR || number == ENXIO && Self.isPipe(path) && !canceller.isCancelled else {
                throw ConnectorError("cannot open '\(path)': \(systemError(number))")
            }
            var polled = pollfd(fd: canceller.event.descriptor, events: Int16(POLLIN), revents: 0)
            poll(&polled, 1, 20)
        }
        writer = OutputWriter(descriptor: owned, name: "'\(path)'")
    }

    private static func isPipe(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }

    public func write(_ message: MessagePointer) throws(ConnectorError) {
        do throws(MessageTextProblem) {
            switch format {
            case .lines:
                try MessageText.appendLine(message, to: &gathered)
                gathered.append(UInt8(ascii: "\n"))
            case .json:
                try MessageText.appendJSON(message, to: &gathered)
                gathered.append(UInt8(ascii: "\n"))
            case .bytes:
                guard message.pointee.kind == UInt8(MSG_STRING) else {
                    let value = MessageText.describe(message, limit: 60)
                    throw MessageTextProblem(description: "cannot write \(value) as bytes: not a string")
                }
                let length = UnsafeRawPointer(message).load(fromByteOffset: Int(MSG_HEADER_SIZE), as: UInt32.self)
                gathered.append(UnsafeRawPointer(message) + Int(MSG_TEXT_OFFSET), Int(length))
            }
        } catch {
            throw ConnectorError(error.description)
        }
        if gathered.count >= Self.gatheredBytes { try flush() }
    }

    public func flush() throws(ConnectorError) {
        guard let writer, gathered.count > 0, !hasFailed else { return }
        defer { gathered.removeAll(keepingCapacity: gathered.count <= Self.keptBytes) }
        do throws(ConnectorError) {
            try writer.write(gathered.bytes, canceller: canceller)
        } catch {
            hasFailed = true  // told once: `close` does not try again
            throw error
        }
    }

    public func close() throws(ConnectorError) {
        var failure: ConnectorError?
        do throws(ConnectorError) { try flush() } catch { failure = error }
        if owned >= 0, let path {
            let status = Glibc.close(owned)
            let number = errno
            owned = -1
            writer = nil
            if status != 0, number != EINTR {
                failure = failure ?? ConnectorError("cannot write '\(path)': \(systemError(number))")
            }
        }
        if let failure { throw failure }
    }

    public func cancel() {
        canceller.event.raise()
        shared?.cancel(canceller)  // may wait for its turn; a writer of its own only polls
    }
}

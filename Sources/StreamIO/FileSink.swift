// A file, standard output or standard error as a sink.
import CMessage
import Glibc
import StreamCore

/// Writes values as lines, as JSON, as CSV or as bytes, to a file of its own or through a writer that others share.
///
/// It gathers up to 64 KB, and writes whole values: to a file in one call, so that lines that two processes append do
/// not mix (a call that the system cuts short is continued). A value that the format cannot write is an error; what
/// was gathered before it still goes out at `close`.
public final class FileSink: HostSink, @unchecked Sendable {  // one thread calls all but `cancel`
    private let path: String?
    private let isAppending: Bool
    private let format: TextFormat
    private let shared: OutputWriter?
    private var writer: OutputWriter?
    private let keep: (@Sendable (UnsafeRawBufferPointer) -> Void)?
    private var owned: Int32 = -1
    private let canceller = OutputWriter.Canceller()
    private var gathered = ByteWriter(capacity: 72 << 10)
    /// Where in `gathered` each value ends.
    private var ends: [Int] = []
    private var hasFailed = false
    private let columns: [String]
    private var csv = CSVWriter()
    /// Values that were gathered and could not be written, or not whole.
    public private(set) var lost = 0

    private static let gatheredBytes = 64 << 10
    private static let keptBytes = 1 << 20

    /// Through `writer`, which stays open.
    /// - Parameter columns: the header of CSV; none: the first record's fields.
    public init(writer: OutputWriter, format: TextFormat, columns: [String] = []) {
        self.columns = columns
        path = nil
        isAppending = false
        self.format = format
        shared = writer
        self.writer = writer
        keep = nil
    }

    /// To `keep`, which gets whole values and must not block.
    public init(
        format: TextFormat, columns: [String] = [], keep: @escaping @Sendable (UnsafeRawBufferPointer) -> Void
    ) {
        self.columns = columns
        path = nil
        isAppending = false
        self.format = format
        shared = nil
        self.keep = keep
    }

    /// The file at `path`: made (mode 0644) or emptied when the run opens it, or with `append` written at its end.
    ///
    /// Appended lines begin a line, also where the file ends without a line end; CSV goes on under the file's header.
    public init(path: String, append: Bool = false, format: TextFormat, columns: [String] = []) {
        self.columns = columns
        self.path = path
        isAppending = append
        shared = nil
        keep = nil
        self.format = format
    }

    public func open() throws(ConnectorError) {
        if let path { try open(path) }
        if format == .csv, !csv.hasColumns, !columns.isEmpty {
            csv.setColumns(columns.map { Array($0.utf8) }, isWritten: false)
        }
        csv.appendHeader(to: &gathered)
    }

    private func open(_ path: String) throws(ConnectorError) {
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
        if isAppending, format != .bytes { try goOn(path) }
    }

    /// Looks at what stands in the file that is appended to.
    private func goOn(_ path: String) throws(ConnectorError) {
        var status = stat()
        guard fstat(owned, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 else { return }
        let reading = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard reading >= 0 else {
            if format != .csv { return }  // may be written and not read
            throw ConnectorError("cannot append to '\(path)': its header cannot be read: \(systemError(errno))")
        }
        defer { Glibc.close(reading) }
        if format == .csv { try takeHeader(path, reading) }
        var last: UInt8 = 0
        if pread(reading, &last, 1, status.st_size - 1) == 1, last != UInt8(ascii: "\n") {
            gathered.append(UInt8(ascii: "\n"))
        }
    }

    /// The columns are those of the CSV file that is appended to.
    private func takeHeader(_ path: String, _ reading: Int32) throws(ConnectorError) {
        var records = CSVReader()
        if let problem = FileHeader.read(reading, &records) {
            throw ConnectorError("cannot append to '\(path)': line \(problem.line): \(problem.problem)")
        }
        guard !records.header.isEmpty else { return }
        if !columns.isEmpty, records.header != columns.map({ Array($0.utf8) }) {
            let found = records.header.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ", ")
            let given = columns.joined(separator: ", ")
            throw ConnectorError("cannot append to '\(path)': its header is \(found), and the columns are \(given)")
        }
        csv.setColumns(records.header, isWritten: true)
    }

    /// Takes back the part of a value at which the disk was full. Not where others may append meanwhile.
    private func removePart(_ written: Int) {
        guard owned >= 0, !isAppending, format != .bytes else { return }
        let whole = ends.last { $0 <= written } ?? 0
        let end = lseek(owned, 0, SEEK_CUR)
        if end >= written { _ = ftruncate(owned, end - (written - whole)) }
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
            case .csv: try csv.append(message, to: &gathered)
            case .bytes:
                guard message.pointee.kind == UInt8(MSG_STRING) else {
                    let value = MessageText.describe(message, limit: 60)
                    throw MessageTextProblem(description: "cannot write \(value) as bytes: not a string")
                }
                let length = UnsafeRawPointer(message).load(fromByteOffset: Int(MSG_HEADER_SIZE), as: UInt32.self)
                gathered.append(UnsafeRawPointer(message) + Int(MSG_TEXT_OFFSET), Int(length))
            }
        } catch {
            throw ConnectorError(error.description, concernsValue: true)
        }
        ends.append(gathered.count)
        guard gathered.count >= Self.gatheredBytes else { return }
        do throws(ConnectorError) { try flush() } catch {
            lost -= 1  // this one, which was not taken
            throw error
        }
    }

    public func flush() throws(ConnectorError) {
        guard gathered.count > 0, !hasFailed, writer != nil || keep != nil else { return }
        defer {
            gathered.removeAll(keepingCapacity: gathered.count <= Self.keptBytes)
            ends.removeAll(keepingCapacity: true)
        }
        keep?(gathered.bytes)
        guard let writer else { return }
        var written = 0
        do throws(ConnectorError) {
            try writer.write(gathered.bytes, canceller: canceller, written: &written)
        } catch {
            hasFailed = true  // told once: `close` does not try again
            lost += ends.count { $0 > written }
            removePart(written)
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

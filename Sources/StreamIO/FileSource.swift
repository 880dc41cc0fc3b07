// A file, a pipe or standard input as a source.
import CMessage
import Glibc
import StreamCore

/// Reads a file or a descriptor and sends its lines, its JSON texts or its chunks.
///
/// - `lines`: one `MSG_STRING` a line, without its end.
/// - `json`: one `MSG_JSON` a line, with its bytes but for white space around it; blank lines and a byte order mark at
///   the begin are skipped. A line that is not JSON is offered to the outlet's `reject`.
/// - `csv`: one record a message, as `CSVReader` makes them. What is no record is offered to `reject`; a header that
///   cannot be used fails the source.
/// - `bytes`: one `MSG_STRING` a read, of at most 64 KB.
///
/// A line longer than the limit is offered to `reject` too. `stop` ends a wait for input at once; whole lines that were
/// read by then are still sent, a line of which the end was not read is not.
public final class FileSource: HostSource, @unchecked Sendable {  // all state but the event belongs to `run`
    private enum Place {
        case path(String)
        case descriptor(Int32)
    }

    private let place: Place
    private let name: String
    let format: TextFormat
    private let limit: Int
    private let columns: [String]
    let following: Following?
    let stopped = StopEvent()
    private let checker = JSONChecker()
    /// Opened by `open`, for `run`.
    private var opened: Int32 = -1

    static let chunkSize = 64 << 10
    static let fileChunkSize = 256 << 10
    private static let shownBytes = 200

    /// The file at `path`, which is opened when `run` begins; also a named pipe or a device.
    /// - Parameters:
    ///   - columns: the names of the fields of CSV; none: the first record's.
    ///   - following: goes on at the end of the file, see `Following`.
    public init(
        path: String, format: TextFormat, lineLimit: Int = LineSplitter.defaultLimit, columns: [String] = [],
        following: Following? = nil
    ) {
        place = .path(path)
        name = path
        self.format = format
        limit = lineLimit
        self.columns = columns
        self.following = following
    }

    /// An open descriptor, which stays open; its flags, which others may share, stay as they are.
    public init(
        descriptor: Int32 = STDIN_FILENO, name: String = "standard input", format: TextFormat,
        lineLimit: Int = LineSplitter.defaultLimit, columns: [String] = []
    ) {
        place = .descriptor(descriptor)
        self.name = name
        self.format = format
        limit = lineLimit
        self.columns = columns
        following = nil
    }

    /// The name as it stands in a sentence: a path in quotes.
    var quotedName: String {
        if case .path(let path) = place { "'\(path)'" } else { name }
    }

    public func stop() { stopped.raise() }

    deinit { if opened >= 0 { close(opened) } }

    public func open() throws(ConnectorError) {
        guard case .path(let path) = place, following == nil else { return }
        let descriptor = try open(path)
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            close(descriptor)
            throw ConnectorError("cannot read \(quotedName): \(systemError(EISDIR))")
        }
        opened = descriptor
    }

    private func open(_ path: String) throws(ConnectorError) -> Int32 {
        // Not blocking: the opening of a pipe that nobody writes yet shall not wait; the poll() after it does.
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw ConnectorError("cannot open \(quotedName): \(systemError(errno))") }
        return descriptor
    }

    public func run(_ outlet: Outlet) throws(ConnectorError) {
        guard !stopped.isRaised else { return }
        switch place {
        case .descriptor(let descriptor): try read(descriptor, outlet)
        case .path(let path):
            if let following { return try follow(path, following, outlet) }
            let descriptor = opened >= 0 ? opened : try open(path)
            opened = -1
            defer { close(descriptor) }
            try read(descriptor, outlet)
        }
    }

    /// The state of reading one file.
    struct Decoder: ~Copyable {
        var lines: LineSplitter
        var records: CSVReader
        /// Begun within the file: line numbers are counted from there.
        var isRelative = false
    }

    func makeDecoder() -> Decoder {
        Decoder(lines: LineSplitter(limit: limit), records: CSVReader(columns: columns, limit: limit))
    }

    func read(_ descriptor: Int32, _ outlet: Outlet) throws(ConnectorError) {
        var status = stat()
        let isRegular = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        let size = isRegular && format != .bytes ? Self.fileChunkSize : Self.chunkSize
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        defer { buffer.deallocate() }
        var decoder = makeDecoder()
        while !stopped.isRaised {
            guard isRegular || waitForInput(descriptor, outlet) else { return }
            let count = Glibc.read(descriptor, buffer, size)
            if count < 0 {
                let error = errno
                if error == EINTR || error == EAGAIN { continue }
                throw ConnectorError("cannot read \(quotedName): \(systemError(error))")
            }
            guard count > 0 else {
                return try finish(&decoder, outlet)
            }
            guard try send(UnsafeRawBufferPointer(start: buffer, count: count), &decoder, outlet) else { return }
            if isRegular { outlet.flush() }
            if outlet.isClosed { return }
        }
    }

    /// Sends what ends in this chunk. False: nobody wants more.
    func send(
        _ chunk: UnsafeRawBufferPointer, _ decoder: inout Decoder, _ outlet: Outlet
    ) throws(ConnectorError) -> Bool {
        switch format {
        case .bytes: return outlet.send(text: chunk, kind: UInt8(MSG_STRING))
        case .csv:
            decoder.records.begin(chunk)
            while let item = decoder.records.next() {
                guard try send(item, decoder, outlet) else { return false }
            }
        case .lines, .json:
            decoder.lines.begin(chunk)
            while let item = decoder.lines.next() {
                guard try send(item, decoder.lines.lineNumber, decoder.isRelative, outlet) else { return false }
            }
        }
        return true
    }

    /// Sends the last line, if it had no end.
    func finish(_ decoder: inout Decoder, _ outlet: Outlet) throws(ConnectorError) {
        if format == .csv, let item = decoder.records.finish() { _ = try send(item, decoder, outlet) }
        if let item = decoder.lines.finish() {
            _ = try send(item, decoder.lines.lineNumber, decoder.isRelative, outlet)
        }
    }

    /// Waits until a read would not block; what was gathered is sent before. False: stopped.
    private func waitForInput(_ descriptor: Int32, _ outlet: Outlet) -> Bool {
        var isFlushed = false
        while true {
            var polled = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: stopped.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&polled, 2, isFlushed ? -1 : 0)
            if polled[1].revents != 0 || stopped.isRaised { return false }
            if ready < 0 && errno != EINTR && errno != EAGAIN { return true }  // read() will say what is wrong
            if ready > 0 { return true }
            if !isFlushed {
                outlet.flush()
                isFlushed = true
                if outlet.isClosed { return false }
            }
        }
    }

    /// Sends a line or what is wrong with it. False: nobody wants more.
    private func send(
        _ item: LineSplitter.Item, _ number: Int, _ isRelative: Bool, _ outlet: Outlet
    ) throws(ConnectorError) -> Bool {
        let line: UnsafeRawBufferPointer
        switch item {
        case .tooLong(let start):
            let problem = LineSplitter.problem(line: number, limit: limit, isRelative: isRelative)
            try reject("\(name): \(problem)", start, isCut: true, outlet)
            return !outlet.isClosed
        case .line(let whole): line = whole
        }
        guard format == .json else { return outlet.send(text: line, kind: UInt8(MSG_STRING)) }
        let hasMark =
            number == 1 && !isRelative && line.count >= 3 && line[0] == 0xEF && line[1] == 0xBB && line[2] == 0xBF
        let text = UnsafeRawBufferPointer(rebasing: hasMark ? line[3...] : line[...])
        let trimmed = Self.trim(text)
        guard !trimmed.isEmpty else { return true }
        if var problem = checker.check(trimmed) {
            problem.position += trimmed.baseAddress! - line.baseAddress!  // the line's positions
            let number = isRelative ? "+\(number)" : "\(number)"
            try reject("\(name):\(number): not JSON: \(problem)", trimmed, isCut: false, outlet)
            return !outlet.isClosed
        }
        return checker.send(trimmed, to: outlet)
    }

    private func send(
        _ item: CSVReader.Item, _ decoder: borrowing Decoder, _ outlet: Outlet
    ) throws(ConnectorError) -> Bool {
        switch item {
        case .json(let text): return outlet.send(text, index: decoder.records.index)
        case .table(let message): return outlet.send(message)
        case .bad(let line, let problem, let text):
            let place = "\(name):\(decoder.isRelative ? "+" : "")\(line)"
            try reject("\(place): \(problem)", text, isCut: false, outlet)
            return !outlet.isClosed
        case .failed(let line, let problem): throw ConnectorError("\(name):\(line): \(problem)")
        }
    }

    private func reject(
        _ problem: String, _ text: UnsafeRawBufferPointer, isCut: Bool, _ outlet: Outlet
    ) throws(ConnectorError) {
        var shown = min(text.count, Self.shownBytes)
        if shown < text.count {
            while shown > 0, text[shown] & 0xC0 == 0x80 { shown -= 1 }  // not inside a character
        }
        let dots = isCut || shown < text.count ? "..." : ""
        guard
            outlet.reject(
                problem, text: String(decoding: text[..<shown], as: UTF8.self) + dots, whole: isCut ? nil : text)
        else {
            throw ConnectorError(problem)
        }
    }

    private static func trim(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var start = 0, end = text.count
        while start < end, isSpace(text[start]) { start += 1 }
        while start < end, isSpace(text[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: text[start..<end])
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }
}

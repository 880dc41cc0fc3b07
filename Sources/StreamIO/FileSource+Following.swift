// Files that grow: as `tail -F`.
import Glibc
import StreamCore

extension FileSource {
    /// What to do at the end of a file: wait for more, also in the file that comes in its place.
    ///
    /// - A last line without its end is held until its end comes, or another file does: then it is the last line.
    /// - A file that another one replaces (renamed or removed, and made anew) is read to its end, and on while something
    ///   comes, for `grace`; then the new one is from its begin. Each file of CSV has its own header.
    /// - A file that has become shorter is read from its begin. One that was cut and has grown past where it was read to
    ///   before that was seen looks as if it had only grown.
    /// - A path that names nothing is waited for, from the begin on too.
    public struct Following: Sendable {
        /// Begins behind the last line that is there.
        public var fromEnd: Bool
        /// Milliseconds.
        public var grace: Int
        /// Gets a sentence where the file does something that a person may want to know.
        public var note: @Sendable (String) -> Void

        public init(fromEnd: Bool = false, grace: Int = 500, note: @escaping @Sendable (String) -> Void) {
            self.fromEnd = fromEnd
            self.grace = grace
            self.note = note
        }
    }

    func follow(_ path: String, _ following: Following, _ outlet: Outlet) throws(ConnectorError) {
        let first = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        if first < 0 {
            guard errno == ENOENT else { throw ConnectorError("cannot open \(quotedName): \(systemError(errno))") }
        } else {
            var status = stat()
            fstat(first, &status)
            switch status.st_mode & S_IFMT {
            case S_IFREG: break
            case S_IFDIR:
                close(first)
                throw ConnectorError("cannot follow \(quotedName): is a directory")
            default:  // a pipe or a device has an end of its own, if any
                defer { close(first) }
                return try read(first, outlet)
            }
        }
        let watcher = PathWatcher(path: path, first: first < 0 ? nil : first, note: following.note)
        watcher.start()
        defer { watcher.stop() }
        let events = FileEvents()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.fileChunkSize, alignment: 16)
        defer { buffer.deallocate() }
        var fromEnd = following.fromEnd && first >= 0
        while !stopped.isRaised, !outlet.isClosed {
            guard let file = watcher.current else {
                outlet.flush()
                waitForInput(stopped.descriptor, watcher.changed.descriptor, -1, milliseconds: -1)
                watcher.changed.drain()
                continue
            }
            events.watchFile(file.descriptor)
            var decoder = makeDecoder()
            var position = 0
            if fromEnd { position = try skipToEnd(file.descriptor, &decoder) }
            fromEnd = false
            let isOver = try readOn(file.descriptor, from: position, &decoder, watcher, events, buffer, outlet)
            guard isOver else { return }
            watcher.finishCurrent()
        }
    }

    /// Reads one file until another one has replaced it: true. False: stopped, or nobody wants more.
    private func readOn(
        _ descriptor: Int32, from begin: Int, _ decoder: inout Decoder, _ watcher: PathWatcher, _ events: FileEvents,
        _ buffer: UnsafeMutableRawBufferPointer, _ outlet: Outlet
    ) throws(ConnectorError) -> Bool {
        let size = format == .bytes ? Self.chunkSize : Self.fileChunkSize
        let grace = following?.grace ?? 0
        var position = begin
        var hasBeenAtEnd = false
        var lastGrowth = 0
        while !stopped.isRaised {
            // Asked before the read: what that does not find was not there a moment after the replacement.
            let replacedAt = watcher.current?.replacedAt
            let now = monotonicMilliseconds()
            let count = pread(descriptor, buffer.baseAddress, size, position)
            if count < 0 {
                let error = errno
                if error == EINTR { continue }
                throw ConnectorError("cannot read \(quotedName): \(systemError(error))")
            }
            if count > 0 {
                position += count
                if hasBeenAtEnd { lastGrowth = now }
                let chunk = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                guard try send(chunk, &decoder, outlet) else { return false }
                outlet.flush()
                if outlet.isClosed { return false }
                continue
            }
            var status = stat()
            if fstat(descriptor, &status) == 0, status.st_size < position {
                following?.note("\(quotedName) was truncated; reading it from its begin")
                try finish(&decoder, outlet)
                outlet.flush()
                decoder = makeDecoder()
                position = 0
                continue
            }
            hasBeenAtEnd = true
            var wait = Int(PathWatcher.interval)
            if let replacedAt {
                let left = max(replacedAt, lastGrowth) + grace - now
                if left <= 0 {
                    try finish(&decoder, outlet)
                    outlet.flush()
                    return !outlet.isClosed
                }
                wait = min(wait, left)
            }
            waitForInput(
                stopped.descriptor, watcher.changed.descriptor, events.descriptor, milliseconds: Int32(wait))
            watcher.changed.drain()
            events.drain()
        }
        return false
    }

    /// Where the lines that are there end. CSV needs the file's header all the same.
    private func skipToEnd(_ descriptor: Int32, _ decoder: inout Decoder) throws(ConnectorError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return 0 }
        let size = Int(status.st_size)
        if format == .bytes { return size }
        let end = FileHeader.endOfLines(descriptor, size: size)
        guard end > 0 else { return 0 }
        if format == .csv {
            if let (line, problem) = FileHeader.read(descriptor, &decoder.records) {
                throw ConnectorError("\(quotedName), line \(line): \(problem)")
            }
            // Not even the header is whole yet: all of it is to come.
            guard !decoder.records.header.isEmpty else {
                decoder = makeDecoder()
                return 0
            }
            decoder.records.restart()
        }
        decoder.isRelative = true
        return end
    }
}

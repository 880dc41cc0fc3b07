import CMessage
import Glibc
import StreamCore
import StreamIO
import Testing

private func send(_ texts: [String], kind: Int = MSG_STRING, to sink: FileSink) throws {
    for text in texts { try withMessage(text, kind: kind) { try sink.write($0) } }
}

private func failure(_ body: () throws -> Void) -> String? {
    do { try body() } catch { return "\(error)" }
    return nil
}

@Suite("File sink")
struct FileSinkTests {
    @Test(
        "values in each format",
        arguments: [
            (TextFormat.lines, "a\0\n7\n{\"a\": 1}\n"), (.json, "\"a\\u0000\"\n7\n{\"a\": 1}\n"), (.bytes, "a\0b"),
        ])
    func formats(format: TextFormat, expected: String) throws {
        let file = TemporaryPath("old old old old old old old old")
        defer { file.remove() }
        let sink = FileSink(path: file.path, format: format)
        try sink.open()
        try send(["a\0"], to: sink)
        if format == .bytes {
            try send(["b"], to: sink)
        } else {
            try withNumber(7, kind: MSG_INTEGER) { try sink.write($0) }
            try send(["{\"a\": 1}"], kind: MSG_JSON, to: sink)
        }
        try sink.close()
        #expect(file.content == expected)
    }

    @Test("a file is made with mode 0644, or appended to")
    func append() throws {
        let file = TemporaryPath("old\n")
        defer { file.remove() }
        for _ in 0..<2 {
            let sink = FileSink(path: file.path, append: true, format: .lines)
            try sink.open()
            try send(["new"], to: sink)
            try sink.close()
        }
        #expect(file.content == "old\nnew\nnew\n")
        unlink(file.path)
        let before = umask(0o022)
        let sink = FileSink(path: file.path, format: .lines)
        try sink.open()
        umask(before)
        try sink.close()
        var status = stat()
        #expect(stat(file.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o644)
    }

    @Test("what the format cannot write is an error; what came before still goes out")
    func cannotWrite() throws {
        let file = TemporaryPath()
        defer { file.remove() }
        let sink = FileSink(path: file.path, format: .json)
        try sink.open()
        try send(["a"], to: sink)
        #expect(
            failure { try withNumber(Double.nan.bitPattern, kind: MSG_FLOAT) { try sink.write($0) } }
                == "cannot write value as JSON: nan")
        try sink.close()
        #expect(file.content == "\"a\"\n")
        let bytes = FileSink(path: file.path, format: .bytes)
        try bytes.open()
        #expect(
            failure { try withNumber(7, kind: MSG_INTEGER) { try bytes.write($0) } }
                == "cannot write 7 as bytes: not a string")
        try bytes.close()
    }

    @Test("a path that cannot be opened is named, and closing after that does nothing")
    func cannotOpen() throws {
        for (path, why) in [("/tmp", "is a directory"), ("/no/such/x.log", "no such file or directory")] {
            let sink = FileSink(path: path, format: .lines)
            #expect(failure { try sink.open() } == "cannot open '\(path)': \(why)")
            try sink.close()
        }
    }

    @Test("a full disk is named once")
    func fullDisk() throws {
        let sink = FileSink(path: "/dev/full", append: true, format: .lines)
        try sink.open()
        try send(["a"], to: sink)
        #expect(failure { try sink.flush() } == "cannot write '/dev/full': no space left on device")
        #expect(failure { try sink.close() } == nil)
    }

    @Test("what could not be written is not delivered, and the account balances")
    func fullDiskCounts() {
        let scheduler = ThreadScheduler(ThreadScheduler.Configuration(threads: 1))
        for path in ["/dev/full", "/dev/null"] {
            // 100 bytes each: some fail within a write, when 64 KB are gathered, and some are left.
            let channel = Channel(capacity: 2000)
            let counts = Box<(delivered: Int, left: Int)?>(nil)
            withMessage(String(repeating: "x", count: 99)) { message in
                for _ in 0..<2000 { _ = channel.trySend(message) }
            }
            channel.close()
            start(
                FileSink(path: path, append: true, format: .lines), from: channel, scheduler: scheduler,
                context: Context(scheduler: scheduler)
            ) { counts.set(($1.delivered, $1.left + $1.lost)) }
            let ended = eventually { counts.get != nil }
            #expect(ended)
            let isFull = path == "/dev/full"
            #expect(counts.get?.delivered == (isFull ? 0 : 2000))
            #expect(counts.get?.left == (isFull ? 2000 : 0))
        }
    }

    @Test("of values that were written in part those that are not whole are lost")
    func partlyWritten() throws {
        let (reading, writing) = makePipe()
        #expect(fcntl(writing, 1031, 4096) == 4096)  // F_SETPIPE_SZ
        let sink = FileSink(writer: OutputWriter(descriptor: writing, name: "standard output"), format: .lines)
        try sink.open()
        try send(Array(repeating: "123456789", count: 1000), to: sink)
        let isOver = Box(false)
        pthread_detach(
            spawn(stack: 256 << 10) {
                try? sink.flush()
                isOver.set(true)
            })
        let isFull = eventually {
            var count: Int32 = 0
            return ioctl(reading, UInt(FIONREAD), &count) == 0 && count == 4096
        }
        #expect(isFull)
        close(reading)
        let ended = eventually { isOver.get }
        #expect(ended)
        #expect(sink.lost == 1000 - 409)
        close(writing)
    }

    @Test("lines are appended behind a whole line")
    func appendToBegunLine() throws {
        for (format, expected) in [(TextFormat.lines, "old\nnew\n"), (.bytes, "oldnew")] {
            let file = TemporaryPath("old")
            defer { file.remove() }
            let sink = FileSink(path: file.path, append: true, format: format)
            try sink.open()
            try send(["new"], to: sink)
            try sink.close()
            #expect(file.content == expected)
        }
    }

    @Test("two sinks that append to one file do not mix inside a line")
    func twoAppend() throws {
        let file = TemporaryPath()
        defer { file.remove() }
        let left = Box(2)
        for letter in ["a", "b"] {
            pthread_detach(
                spawn(stack: 256 << 10) { [path = file.path] in
                    let sink = FileSink(path: path, append: true, format: .lines)
                    try? sink.open()
                    for i in 0..<3000 {
                        try? send([String(repeating: letter, count: 50 + i % 50)], to: sink)
                        if i % 7 == 0 { try? sink.flush() }
                    }
                    try? sink.close()
                    left.update { $0 -= 1 }
                })
        }
        let ended = eventually { left.get == 0 }
        #expect(ended)
        let lines = file.content.split(separator: "\n")
        #expect(lines.count == 6000)
        #expect(lines.allSatisfy { Set($0).count == 1 && (50..<100).contains($0.count) })
    }

    @Test("values are gathered until flush or 64 KB")
    func gathers() throws {
        let file = TemporaryPath()
        defer { file.remove() }
        let sink = FileSink(path: file.path, format: .lines)
        try sink.open()
        try send(["a"], to: sink)
        #expect(file.content == "")
        try sink.flush()
        #expect(file.content == "a\n")
        try send([String(repeating: "b", count: 65536)], to: sink)
        #expect(file.content.utf8.count == 65539)
        try sink.close()
    }

    @Test("a closed pipe ends the sink that a channel feeds")
    func closedPipe() {
        let (reading, writing) = makePipe()
        close(reading)
        let scheduler = ThreadScheduler(ThreadScheduler.Configuration(threads: 1))
        let channel = Channel(capacity: 10)
        let writer = OutputWriter(descriptor: writing, name: "standard output", scheduler: scheduler)
        let ended = Box<ConnectorError?>(nil)
        start(
            FileSink(writer: writer, format: .lines), from: channel, scheduler: scheduler,
            context: Context(scheduler: scheduler)
        ) { failure, _ in ended.set(failure) }
        withMessage("a") { _ = channel.trySend($0) }
        #expect(eventually { ended.get != nil })
        #expect(ended.get?.isBrokenPipe == true)
        #expect(ended.get?.description == "standard output: broken pipe")
        close(writing)
    }

    @Test("cancelling the context ends a sink that blocks on a full pipe; its writer lives on")
    func cancelWhileBlocked() {
        let (reading, writing) = makePipe()
        fill(writing)
        let scheduler = ThreadScheduler(ThreadScheduler.Configuration(threads: 1))
        let channel = Channel(capacity: 10)
        let context = Context(scheduler: scheduler)
        let writer = OutputWriter(descriptor: writing, name: "standard output", scheduler: scheduler)
        let isOver = Box(false)
        start(
            FileSink(writer: writer, format: .lines), from: channel, scheduler: scheduler, context: context
        ) { _, _ in isOver.set(true) }
        withMessage("a") { _ = channel.trySend($0) }
        usleep(30_000)
        #expect(!isOver.get)
        context.cancel()
        #expect(eventually { isOver.get })
        #expect(!writer.isCancelled)
        #expect(writer.failure == nil)
        close(reading)
        close(writing)
    }

    @Test("a named pipe without a reader is waited for; cancel ends that")
    func namedPipe() {
        let place = TemporaryPath()
        defer { place.remove() }
        unlink(place.path)
        mkfifo(place.path, 0o600)
        let sink = FileSink(path: place.path, format: .lines)
        let isOver = Box(false)
        pthread_detach(
            spawn(stack: 256 << 10) {
                try? sink.open()
                try? sink.close()
                isOver.set(true)
            })
        usleep(30_000)
        #expect(!isOver.get)
        sink.cancel()
        #expect(eventually { isOver.get })
    }
}

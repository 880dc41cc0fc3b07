import CMessage
import Glibc
import StreamCore
import StreamIO
import Testing

/// A source that runs into a channel.
private final class Run: Sendable {
    let channel: Channel
    let scheduler = ThreadScheduler(ThreadScheduler.Configuration(threads: 1))
    let failure = Box<String?>(nil)
    let isDone = Box(false)
    let rejected = Box<[String]>([])

    /// - Parameter skipping: what cannot be read is skipped.
    init(_ source: FileSource, skipping: Bool = false, capacity: Int = 100_000) {
        channel = Channel(capacity: capacity)
        let context = Context(scheduler: scheduler)
        let outlet = Outlet(channel: channel, scheduler: scheduler, context: context) { [rejected] problem, text in
            rejected.update { $0.append("\(problem) <\(text)>") }
            return skipping
        }
        start(source, outlet, scheduler: scheduler) { [channel, failure, isDone] error in
            failure.set(error?.description)
            channel.close()
            isDone.set(true)
        }
    }

    /// What is in the channel.
    func take() -> [String] {
        var texts: [String] = []
        while case .batch(let batch) = channel.takeBatch(1000, nil) {
            channel.credit(batch.count, bytes: batch.byteCount, all: true)
            while let message = batch.first {
                texts.append(text(of: message))
                batch.removeFirst()
            }
        }
        return texts
    }

    /// What comes until the source ends.
    func finish() -> [String] {
        var texts: [String] = []
        let ended = eventually {
            let isLast = isDone.get
            texts += take()
            return isLast
        }
        #expect(ended, "the source does not end")
        return texts
    }
}

@Suite("File source")
struct FileSourceTests {
    @Test(
        "a file's values in each format",
        arguments: [
            (TextFormat.lines, "a\r\n\n\0b", ["a", "", "\0b"]),
            (.lines, "", []),
            (.lines, "\u{FEFF}a\n", ["\u{FEFF}a"]),
            (.json, "\u{FEFF}{\"a\": 1}\r\n\n \t\r\n  [1.0] \n2", ["{\"a\": 1}", "[1.0]", "2"]),
            (.json, "\u{FEFF}", []),
            (.bytes, "a\nb", ["a\nb"]),
            (.bytes, "", []),
        ] as [(TextFormat, String, [String])])
    func formats(format: TextFormat, content: String, expected: [String]) {
        let file = TemporaryPath()
        defer { file.remove() }
        let descriptor = open(file.path, O_WRONLY)
        _ = Array(content.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
        let run = Run(FileSource(path: file.path, format: format))
        #expect(run.finish() == expected)
        #expect(run.failure.get == nil)
        #expect(run.rejected.get.isEmpty)
    }

    @Test("a large file comes whole through a small channel, lines across chunks too")
    func largeFile() {
        let lines = (0..<30_000).map { "line \($0) " + String(repeating: "x", count: $0 % 97) }
        let file = TemporaryPath(lines.joined(separator: "\r\n"))
        defer { file.remove() }
        let run = Run(FileSource(path: file.path, format: .lines), capacity: 10)
        #expect(run.finish() == lines)
    }

    @Test("bytes come in chunks of at most 64 KB")
    func chunks() {
        let file = TemporaryPath(String(repeating: "x", count: 150_000))
        defer { file.remove() }
        #expect(Run(FileSource(path: file.path, format: .bytes)).finish().map(\.count) == [65536, 65536, 18928])
    }

    @Test("what cannot be opened or read is named")
    func unreadable() {
        let missing = Run(FileSource(path: "/tmp/no such.log", format: .lines))
        #expect(missing.finish().isEmpty)
        #expect(missing.failure.get == "cannot open '/tmp/no such.log': no such file or directory")
        let folder = Run(FileSource(path: "/tmp", format: .lines))
        #expect(folder.finish().isEmpty)
        #expect(folder.failure.get == "cannot read '/tmp': is a directory")
        let closed = Run(FileSource(descriptor: 9999, format: .lines))
        #expect(closed.finish().isEmpty)
        #expect(closed.failure.get == "cannot read standard input: bad file descriptor")
    }

    @Test("a line that is not JSON is rejected with its place; the source goes on, or fails with it, by the policy")
    func notJSON() {
        let file = TemporaryPath("1\n\n  {\"a\": 1, \"bb\": }\n2\n")
        defer { file.remove() }
        let problem = "\(file.path):3: not JSON: byte 18: expected a value"
        let skipping = Run(FileSource(path: file.path, format: .json), skipping: true)
        #expect(skipping.finish() == ["1", "2"])
        #expect(skipping.rejected.get == [problem + " <{\"a\": 1, \"bb\": }>"])
        #expect(skipping.failure.get == nil)
        let stopping = Run(FileSource(path: file.path, format: .json))
        #expect(stopping.finish() == ["1"])
        #expect(stopping.failure.get == problem)
    }

    @Test("a rejected text is shortened, not inside a character")
    func shortened() {
        let file = TemporaryPath(String(repeating: "é", count: 300))
        defer { file.remove() }
        let run = Run(FileSource(path: file.path, format: .json), skipping: true)
        _ = run.finish()
        #expect(run.rejected.get[0].hasSuffix("<" + String(repeating: "é", count: 100) + "...>"))
    }

    @Test("a line over the limit is rejected and skipped")
    func overLimit() {
        let file = TemporaryPath("ab\n12345\ncd\n")
        defer { file.remove() }
        let run = Run(FileSource(path: file.path, format: .lines, lineLimit: 4), skipping: true)
        #expect(run.finish() == ["ab", "cd"])
        #expect(run.rejected.get == ["\(file.path): line 2 is longer than 4 bytes <12345...>"])
    }

    @Test("a pipe's values are handed on before it waits for more, and its flags stay as they are")
    func pipeFlushes() {
        let (reading, writing) = makePipe()
        let flags = fcntl(reading, F_GETFL)
        let run = Run(FileSource(descriptor: reading, format: .lines))
        _ = write(writing, "one\ntwo\nthr", 11)
        #expect(eventually { run.channel.count == 2 })
        #expect(run.take() == ["one", "two"])
        #expect(fcntl(reading, F_GETFL) == flags)
        _ = write(writing, "ee", 2)
        close(writing)
        #expect(run.finish() == ["three"])
        #expect(fcntl(reading, F_GETFL) == flags)
        close(reading)
    }

    @Test("stop ends a wait for input at once; whole lines were sent, a begun one is not")
    func stopWhileWaiting() {
        let (reading, writing) = makePipe()
        let source = FileSource(descriptor: reading, format: .lines)
        let run = Run(source)
        _ = write(writing, "one\ntw", 6)
        #expect(eventually { run.channel.count == 1 })
        usleep(20_000)
        #expect(!run.isDone.get)
        let began = seconds()
        source.stop()
        source.stop()
        #expect(run.finish() == ["one"])
        #expect(seconds() - began < 1)
        #expect(run.failure.get == nil)
        close(reading)
        close(writing)
    }

    @Test("a source that was stopped before it ran sends nothing")
    func stopBefore() {
        let file = TemporaryPath("a\n")
        defer { file.remove() }
        let source = FileSource(path: file.path, format: .lines)
        source.stop()
        #expect(Run(source).finish().isEmpty)
    }

    @Test("a named pipe is waited for until someone writes, and the wait can be stopped")
    func namedPipe() {
        let place = TemporaryPath()
        defer { place.remove() }
        unlink(place.path)
        mkfifo(place.path, 0o600)
        let stopped = FileSource(path: place.path, format: .lines)
        let waiting = Run(stopped)
        usleep(20_000)
        #expect(!waiting.isDone.get)
        stopped.stop()
        #expect(waiting.finish().isEmpty)

        let run = Run(FileSource(path: place.path, format: .lines))
        let writing = open(place.path, O_WRONLY)
        _ = write(writing, "a\nb\n", 4)
        close(writing)
        #expect(run.finish() == ["a", "b"])
    }
}

import CMessage
import Glibc
import StreamCore
import StreamIO
import Testing

/// A source that follows a path in a folder of its own.
private final class Follower {
    let folder: String
    let path: String
    let source: FileSource
    let notes = Box<[String]>([])
    let rejected = Box<[String]>([])
    let failure = Box<String?>(nil)
    private let channel = Channel(capacity: 100_000)
    private let scheduler = ThreadScheduler(ThreadScheduler.Configuration(threads: 1))
    private let isDone = Box(false)
    private(set) var values: [String] = []

    init(_ content: String? = nil, format: TextFormat = .lines, fromEnd: Bool = false, grace: Int = 20) {
        var template = Array("/tmp/streamio-follow-XXXXXX".utf8CString)
        mkdtemp(&template)
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        path = folder + "/log"
        if let content { put(content, path) }
        source = FileSource(
            path: path, format: format,
            following: FileSource.Following(fromEnd: fromEnd, grace: grace) { [notes] note in
                notes.update { $0.append(note) }
            })
    }

    func start() -> Self {
        let outlet = Outlet(channel: channel, scheduler: scheduler, context: Context(scheduler: scheduler)) {
            [rejected] problem, _ in
            rejected.update { $0.append(problem) }
            return true
        }
        StreamCore.start(source, outlet, scheduler: scheduler) { [failure, isDone] error in
            failure.set(error?.description)
            isDone.set(true)
        }
        return self
    }

    /// Waits until these values, and no others, have come.
    func expect(_ expected: [String], _ location: SourceLocation = #_sourceLocation) {
        _ = eventually {
            take()
            return values.count >= expected.count
        }
        #expect(values == expected, sourceLocation: location)
    }

    func expectNote(_ text: String, _ location: SourceLocation = #_sourceLocation) {
        let isThere = eventually { notes.get.contains { $0.hasSuffix(text) } }
        #expect(isThere, "notes: \(notes.get)", sourceLocation: location)
    }

    func take() {
        while case .batch(let batch) = channel.takeBatch(1000, nil) {
            channel.credit(batch.count, bytes: batch.byteCount, all: true)
            while let message = batch.first {
                values.append(text(of: message))
                batch.removeFirst()
            }
        }
    }

    /// Stops it, and waits for its end.
    func stop(_ location: SourceLocation = #_sourceLocation) {
        source.stop()
        let ended = eventually { isDone.get }
        #expect(ended, "it does not end", sourceLocation: location)
        take()
    }

    var hasEnded: Bool { isDone.get }

    deinit {
        for name in ["log", "log.1"] { unlink(folder + "/" + name) }
        rmdir(folder)
    }
}

/// Appends to a file, which is made.
private func put(_ text: String, _ path: String) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    put(text, descriptor)
    close(descriptor)
}

private func put(_ text: String, _ descriptor: Int32) {
    var bytes = Array(text.utf8)
    #expect(write(descriptor, &bytes, bytes.count) == bytes.count)
}

/// How many descriptors of this process are files that have, or had, this name.
private func openFiles(_ path: String) -> Int {
    (0..<1024).count { descriptor in
        var target = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/fd/\(descriptor)", &target, target.count)
        guard length > 0 else { return false }
        return String(decoding: target[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self).hasPrefix(path)
    }
}

@Suite("Following a file")
struct FollowTests {
    @Test("what is there, what comes, and a begun line when its end comes")
    func grows() {
        let follower = Follower("one\ntw").start()
        follower.expect(["one"])
        put("o\nthree\n", follower.path)
        follower.expect(["one", "two", "three"])
        put("begun", follower.path)
        follower.stop()
        #expect(follower.values == ["one", "two", "three"])
        #expect(follower.failure.get == nil)
        #expect(follower.notes.get == [])
    }

    @Test("from the end: none of the whole lines that are there, all that come")
    func fromEnd() {
        let follower = Follower("one\ntwo\nthr", fromEnd: true).start()
        // Nothing tells when it has begun: lines are appended until one comes.
        var appended = ["three"]
        put("ee\n", follower.path)
        let began = eventually {
            appended.append("\(appended.count)")
            put(appended.last! + "\n", follower.path)
            follower.take()
            return !follower.values.isEmpty
        }
        #expect(began)
        follower.expect(Array(appended.suffix(from: appended.firstIndex(of: follower.values.first ?? "") ?? 0)))
        follower.stop()
    }

    @Test("a file that does not exist is waited for")
    func notThereYet() {
        let follower = Follower(format: .json).start()
        follower.expectNote("does not exist; waiting for it")
        put("{\"a\":1}\n", follower.path)
        follower.expect(["{\"a\":1}"])
        follower.expectNote("has appeared")
        follower.stop()
    }

    @Test("renamed: the old file to its end and what still comes to it, then the new one")
    func renamed() {
        let follower = Follower("1\n", grace: 1000).start()
        follower.expect(["1"])
        let old = open(follower.path, O_WRONLY | O_APPEND)
        rename(follower.path, follower.folder + "/log.1")
        put("2\n", old)
        put("4\n", follower.path)
        put("3\nbegun", old)
        close(old)
        follower.expect(["1", "2", "3", "begun", "4"])
        put("5\n", follower.path)
        follower.expect(["1", "2", "3", "begun", "4", "5"])
        follower.stop()
    }

    @Test("many rotations by rename and by unlink, each as soon as the file before was seen: no line lost or doubled")
    func manyRotations() {
        for remove in [false, true] {
            let follower = Follower("0.0\n", grace: 0).start()
            var expected = ["0.0"]
            for round in 1...40 {
                follower.expect(expected)
                for i in 0..<round % 5 {
                    put("\(round).late.\(i)\n", follower.path)
                    expected.append("\(round).late.\(i)")
                }
                if remove { unlink(follower.path) } else { rename(follower.path, follower.folder + "/log.1") }
                put("\(round).a\n\(round).b\n", follower.path)
                expected += ["\(round).a", "\(round).b"]
            }
            follower.expect(expected)
            follower.stop()
        }
    }

    @Test("rotations while the reader is held up are not missed")
    func heldUp() {
        let follower = Follower("0\n", grace: 1000).start()
        follower.expect(["0"])
        // In its grace the reader stays with the first file; the others are held open meanwhile.
        for round in 1...5 {
            unlink(follower.path)
            put("\(round)\n", follower.path)
            let isHeld = eventually { openFiles(follower.path) == round + 1 }
            #expect(isHeld)
        }
        #expect(follower.values == ["0"])
        follower.expect(["0", "1", "2", "3", "4", "5"])
        follower.stop()
    }

    @Test("truncated: what was read is not read again, what comes is; a begun line was the last")
    func truncated() {
        let follower = Follower().start()
        var expected: [String] = []
        for round in 1...20 {
            let lines = (0..<10).map { "\(round).\($0)" }
            // Read at once with the lines in front of it, so it is held when those have come.
            put(lines.joined(separator: "\n") + (round == 20 ? "\nbegun" : "\n"), follower.path)
            expected += lines
            follower.expect(expected)
            truncate(follower.path, 0)
            let seen = eventually { follower.notes.get.filter { $0.contains("was truncated") }.count == round }
            #expect(seen)
        }
        put("x\n", follower.path)
        _ = eventually {
            follower.take()
            return follower.values.last == "x"
        }
        #expect(follower.values == expected + ["begun", "x"])
        follower.stop()
    }

    @Test("a file that vanishes: one word, and on when it comes back")
    func vanishes() {
        let follower = Follower("1\n").start()
        follower.expect(["1"])
        unlink(follower.path)
        follower.expectNote("has vanished; waiting for it to come back")
        usleep(300_000)
        #expect(follower.notes.get.count == 1)
        put("2\n", follower.path)
        follower.expect(["1", "2"])
        follower.expectNote("has appeared")
        follower.stop()
    }

    @Test("each file of CSV has its own header")
    func csv() {
        let follower = Follower("a,b\n1,2\n", format: .csv).start()
        follower.expect([#"{"a":"1","b":"2"}"#])
        put("3,\"x\n", follower.path)
        put("y\"\n", follower.path)
        follower.expect([#"{"a":"1","b":"2"}"#, #"{"a":"3","b":"x\ny"}"#])
        rename(follower.path, follower.folder + "/log.1")
        put("b\n4\n5,6\n", follower.path)
        follower.expect([#"{"a":"1","b":"2"}"#, #"{"a":"3","b":"x\ny"}"#, #"{"b":"4"}"#])
        #expect(follower.rejected.get == ["\(follower.path):3: 2 fields, the header has 1"])
        rename(follower.path, follower.folder + "/log.1")
        put("c,c\n", follower.path)
        #expect(eventually { follower.hasEnded })
        #expect(follower.failure.get == "\(follower.path):1: the header has 'c' twice, as fields 1 and 2")
    }

    @Test("CSV from the end has the file's header; its lines are counted from there")
    func csvFromEnd() {
        let follower = Follower("a,b\n1,2\n", format: .csv, fromEnd: true).start()
        let began = eventually {
            put("3\n4,5\n", follower.path)
            follower.take()
            return !follower.values.isEmpty
        }
        #expect(began)
        follower.stop()
        #expect(Set(follower.values) == [#"{"a":"4","b":"5"}"#])
        #expect(follower.rejected.get.first == "\(follower.path):+1: 1 field, the header has 2")
    }

    @Test("what cannot be followed: a folder is an error, a pipe has its own end")
    func notAFile() {
        let follower = Follower()
        mkdir(follower.path, 0o755)
        _ = follower.start()
        #expect(eventually { follower.hasEnded })
        #expect(follower.failure.get == "cannot follow '\(follower.path)': is a directory")
        rmdir(follower.path)

        let piped = Follower()
        mkfifo(piped.path, 0o600)
        _ = piped.start()
        put("a\n", piped.path)
        #expect(eventually { piped.hasEnded })
        piped.expect(["a"])
    }
}

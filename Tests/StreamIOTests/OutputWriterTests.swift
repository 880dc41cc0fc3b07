import Glibc
import StreamCore
import StreamIO
import Testing

extension OutputWriter {
    func put(_ text: String) throws(ConnectorError) {
        let bytes = Array(text.utf8)
        let result: Result<Void, ConnectorError> = bytes.withUnsafeBytes { bytes in
            Result { () throws(ConnectorError) in try write(bytes) }
        }
        try result.get()
    }
    func queue(_ text: String) { Array(text.utf8).withUnsafeBytes { enqueue($0) } }
}

@Suite("Output writer")
struct OutputWriterTests {
    private let second: Int64 = 1_000_000_000

    @Test("writes and enqueued lines of one party keep their order")
    func order() throws {
        let file = TemporaryPath()
        defer { file.remove() }
        let descriptor = open(file.path, O_WRONLY)
        let writer = OutputWriter(descriptor: descriptor, name: "standard output")
        var expected = ""
        for i in 0..<500 {
            let line = "line \(i)\n"
            expected += line
            if i % 3 == 0 { try writer.put(line) } else { writer.queue(line) }
        }
        #expect(writer.drain(timeout: 10 * second))
        #expect(writer.pendingBytes == 0)
        close(descriptor)
        #expect(file.content == expected)
    }

    @Test("lines of several parties do not mix, and each party's keep their order")
    func parties() throws {
        let (reading, writing) = makePipe()
        let writer = OutputWriter(descriptor: writing, name: "standard output")
        let left = Box(4)
        for party in 0..<4 {
            pthread_detach(
                spawn(stack: 256 << 10) {
                    for i in 0..<2000 {
                        let line = "\(party) \(i) " + String(repeating: "x", count: i % 50) + "\n"
                        if party < 2 { try? writer.put(line) } else { writer.queue(line) }
                    }
                    left.update { $0 -= 1 }
                })
        }
        let text = Box("")
        let isRead = Box(false)
        pthread_detach(
            spawn(stack: 256 << 10) {
                text.set(readAll(reading))
                isRead.set(true)
            })
        #expect(eventually { left.get == 0 })
        #expect(writer.drain(timeout: 10 * second))
        close(writing)
        #expect(eventually { isRead.get })
        close(reading)
        var next = [0, 0, 0, 0]
        for line in text.get.split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            guard words.count == 3, let party = Int(words[0]), let i = Int(words[1]) else {
                Issue.record("a mixed line: \(line)")
                return
            }
            #expect(next[party] == i)
            #expect(words[2].count == i % 50)
            next[party] = i + 1
        }
        #expect(next == [2000, 2000, 2000, 2000])
    }

    @Test("a closed pipe is a quiet end, remembered, told once; later lines are dropped")
    func brokenPipe() {
        let (reading, writing) = makePipe()
        close(reading)
        let writer = OutputWriter(descriptor: writing, name: "standard output")
        let told = Box<[String]>([])
        writer.onFailure = { error in told.update { $0.append(error.description) } }
        for _ in 0..<2 {
            #expect {
                try writer.put("a\n")
            } throws: { error in
                (error as? ConnectorError)?.isBrokenPipe == true
                    && "\(error)" == "standard output: broken pipe"
            }
        }
        #expect(writer.isBroken)
        writer.queue("b\n")
        #expect(writer.pendingBytes == 0)
        #expect(told.get == ["standard output: broken pipe"])
        #expect(!writer.drain(timeout: 0))
        close(writing)
    }

    @Test("a full device is an error, also for enqueued lines")
    func fullDevice() {
        let descriptor = open("/dev/full", O_WRONLY)
        let writer = OutputWriter(descriptor: descriptor, name: "standard output")
        let told = Box(0)
        writer.onFailure = { _ in told.update { $0 += 1 } }
        writer.queue("a\n")
        #expect(eventually { writer.failure != nil })
        #expect(writer.failure?.description == "cannot write standard output: no space left on device")
        #expect(!writer.isBroken)
        #expect(writer.pendingBytes == 0)
        #expect(eventually { told.get == 1 })
        #expect(throws: ConnectorError.self) { try writer.put("b\n") }
        #expect(told.get == 1)
        close(descriptor)
    }

    @Test("enqueue does not block on a full pipe; marks are told as it drains; pending bytes are an activity")
    func marks() {
        let (reading, writing) = makePipe()
        let before = fill(writing)
        let scheduler = ThreadScheduler(ThreadScheduler.Configuration(threads: 1))
        let quiescent = Box(0)
        scheduler.onQuiescent = { quiescent.update { $0 += 1 } }
        let writer = OutputWriter(descriptor: writing, name: "standard output", scheduler: scheduler)
        let line = String(repeating: "x", count: 999) + "\n"
        for _ in 0..<1000 { writer.queue(line) }
        #expect(writer.pendingBytes == 1_000_000)
        #expect(!scheduler.isQuiescent)
        let told = Box<[Int]>([])
        for mark in [500_000, 1, 2_000_000] {
            writer.whenDrained(below: mark) { told.update { $0.append(mark) } }
        }
        #expect(told.get == [2_000_000])
        #expect(!writer.drain(timeout: 20_000_000))
        let isRead = Box(0)
        pthread_detach(spawn(stack: 256 << 10) { isRead.set(readAll(reading).utf8.count) })
        #expect(writer.drain(timeout: 10 * second))
        #expect(eventually { quiescent.get == 1 })
        #expect(scheduler.isQuiescent)
        #expect(told.get == [2_000_000, 500_000, 1])
        close(writing)
        #expect(eventually { isRead.get == before + 1_000_000 })
        close(reading)
    }

    @Test("cancel ends a write that blocks, one that waits for it, and what is pending")
    func cancelWhileBlocked() {
        let (reading, writing) = makePipe()
        fill(writing)
        let scheduler = ThreadScheduler(ThreadScheduler.Configuration(threads: 1))
        let writer = OutputWriter(descriptor: writing, name: "standard output", scheduler: scheduler)
        let errors = Box<[String]>([])
        for _ in 0..<2 {
            pthread_detach(
                spawn(stack: 256 << 10) {
                    do throws(ConnectorError) { try writer.put("a\n") } catch {
                        errors.update { $0.append(error.description) }
                    }
                })
        }
        writer.queue("b\n")
        usleep(30_000)
        #expect(errors.get.isEmpty)
        #expect(!scheduler.isQuiescent)
        writer.cancel()
        #expect(eventually { errors.get.count == 2 })
        #expect(errors.get[0] == "cannot write standard output: canceled")
        #expect(eventually { writer.pendingBytes == 0 && scheduler.isQuiescent })
        writer.queue("c\n")
        #expect(writer.pendingBytes == 0)
        close(reading)
        close(writing)
    }

    @Test("one party that gives up leaves the others their turn, and no torn line")
    func cancelOneParty() throws {
        let (reading, writing) = makePipe()
        let writer = OutputWriter(descriptor: writing, name: "standard output")
        let canceller = OutputWriter.Canceller()
        let line = String(repeating: "x", count: 150_000) + "\n"
        let isOver = Box(false)
        pthread_detach(
            spawn(stack: 256 << 10) {
                let bytes = Array((line + line).utf8)
                bytes.withUnsafeBytes { try? writer.write($0, canceller: canceller) }
                isOver.set(true)
            })
        usleep(30_000)
        #expect(!isOver.get)
        writer.cancel(canceller)
        #expect(eventually { isOver.get })
        writer.queue("next\n")
        let text = Box<String?>(nil)
        pthread_detach(spawn(stack: 256 << 10) { text.set(readAll(reading)) })
        #expect(writer.drain(timeout: 10 * second))
        try writer.put("last\n")
        close(writing)
        #expect(eventually { text.get != nil })
        #expect(text.get == line + "next\nlast\n")
        close(reading)
    }
}

// Runs test scripts under signals, writes what comes of them, and turns it into an exit status.
import Glibc
import StreamCore
import StreamHost
import StreamIO
import StreamTesting

/// What `streamhost test` does once its command line is read.
final class TestCommandRunner: @unchecked Sendable {  // `lock` guards what is written and counted
    private let suite: TestSuite
    private let lock = Lock()
    private let out = OutputWriter(descriptor: 1, name: "standard output")
    private let status: StatusLine?
    private let outputPath: String?
    private var file: OutputWriter?
    private var formats: [(format: any TestFormat, toFile: Bool)] = []
    private var result: SuiteResult
    /// The file whose cases run.
    private var current: FileResult?
    private var running = "", schedule = "", total = 0
    private let began = TestCommandRunner.now
    private var failure: String?

    init(suite: TestSuite, format: TestCommand.Format, output: String?, showsProgress: Bool) {
        self.suite = suite
        outputPath = output
        result = SuiteResult(seed: suite.baseSeed)
        status = showsProgress && Progress.canShow(term: Self.variable("TERM")) ? StatusLine(descriptor: 2) : nil
        if let status, status.isOn(1) { out.statusLine = status }
        let isColoured = isatty(1) == 1 && Self.variable("TERM") != "dumb" && (Self.variable("NO_COLOR") ?? "").isEmpty
        let human = HumanFormat(coloured: isColoured)
        if output != nil { formats.append((human, false)) }
        switch format {
        case .text: formats.append((output == nil ? human : HumanFormat(), output != nil))
        case .junit: formats.append((JUnitFormat(), output != nil))
        case .tap: formats.append((TAPFormat(), output != nil))
        }
    }

    /// Returns the exit status.
    func run(_ paths: [String], list: Bool) -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        watchSignals()
        let files: [String]
        switch TestFiles.find(paths) {
        case .failure(let problem):
            report(problem.description)
            return 2
        case .success(let found): files = found
        }
        if list { return self.list(files) }
        if let outputPath {
            let descriptor = open(outputPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else {
                report("cannot open '\(outputPath)': \(String(cString: strerror(errno)).lowercased())")
                return 2
            }
            file = OutputWriter(descriptor: descriptor, name: "'\(outputPath)'")
        }
        if !TestSuite.fixesTableOrder {
            report("note: of this Lua library the order of pairs cannot be fixed: a seed does not repeat it")
        }
        if status != nil { showProgress() }
        write { $0.begin() }
        let outcome = suite.run(files) { self.take($0) }
        status?.end()
        lock.withLock { result.nanoseconds = outcome.nanoseconds }
        write { $0.end(outcome, interruption: nil) }
        if let failure {
            report(failure)
            return 1
        }
        if outcome.cases == 0, outcome.broken == 0 {
            report("no case's name contains '\(suite.options.filter ?? "")': see --list")
            return 2
        }
        return outcome.broken > 0 ? 2 : outcome.failed > 0 ? 1 : 0
    }

    // MARK: Events

    private func take(_ event: TestSuite.Event) {
        switch event {
        case .fileBegan(let path, let cases):
            lock.withLock {
                current = FileResult(path: path)
                total += cases
            }
            write { $0.file(path, cases: cases) }
        case .caseBegan(let path, let name):
            lock.withLock {
                running = "\(path): \(name)"
                schedule = ""
            }
        case .scheduleEnded(let number, let count):
            if count > 1 { lock.withLock { schedule = " (\(number) of \(count))" } }
        case .caseEnded(let ended):
            lock.withLock {
                current?.cases.append(ended)
                running = ""
            }
            write { $0.result(ended) }
        case .fileEnded(let ended):
            lock.withLock {
                result.files.append(ended)
                current = nil
            }
            write { $0.fileEnd(ended) }
        }
    }

    /// Writes what each format makes; the order of calls is that of the results.
    private func write(_ make: (inout any TestFormat) -> String) {
        lock.withLock { writeLocked(make) }
    }

    private func writeLocked(_ make: (inout any TestFormat) -> String) {
        for index in formats.indices {
            var text = make(&formats[index].format)
            guard !text.isEmpty, let writer = formats[index].toFile ? file : out else { continue }
            text.withUTF8 { bytes in
                do throws(ConnectorError) { try writer.write(UnsafeRawBufferPointer(bytes)) } catch {
                    // Nobody reads it: the exit status still tells.
                    if !error.isBrokenPipe { failure = failure ?? error.description }
                }
            }
        }
    }

    // MARK: The list

    private func list(_ files: [String]) -> Int32 {
        var isBroken = false, found = 0
        for path in files {
            switch suite.declarations(in: path) {
            case .failure(let problem):
                report(problem.description)
                isBroken = true
            case .success(let declarations):
                var text = ""
                for declaration in declarations where suite.matches(declaration.name) {
                    found += 1
                    text += "\(declaration.place): \(declaration.name.printable.replacing("\n", with: " "))\n"
                }
                text.withUTF8 { try? out.write(UnsafeRawBufferPointer($0)) }
            }
        }
        if found == 0, !isBroken { report("no case's name contains '\(suite.options.filter ?? "")'") }
        return isBroken || found == 0 ? 2 : 0
    }

    // MARK: Signals

    /// The first SIGINT or SIGTERM ends it: what is known by then is written.
    private func watchSignals() {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &signals, nil)  // every later thread inherits it
        spawnDetached(stack: 256 << 10) { [self] in
            var signals = sigset_t(), received: Int32 = 0
            sigemptyset(&signals)
            sigaddset(&signals, SIGINT)
            sigaddset(&signals, SIGTERM)
            sigwait(&signals, &received)
            // A second one does not wait for whoever reads the results.
            spawnDetached(stack: 64 << 10) {
                var again = sigset_t(), number: Int32 = 0
                sigemptyset(&again)
                sigaddset(&again, SIGINT)
                sigaddset(&again, SIGTERM)
                sigwait(&again, &number)
                _exit(128 + number)
            }
            status?.end()
            let name = received == SIGINT ? "SIGINT" : "SIGTERM"
            let running = lock.withLock {
                let running = self.running
                if let current {
                    result.files.append(current)
                    writeLocked { $0.fileEnd(current) }
                }
                result.nanoseconds = Self.now - began
                let soFar = result
                writeLocked { $0.end(soFar, interruption: name) }
                return running
            }
            if !running.isEmpty { report("ended by \(name) while this ran: \(running)") }
            _exit(128 + received)
        }
    }

    // MARK: Progress

    private func showProgress() {
        guard let status else { return }
        spawnDetached(stack: 256 << 10) { [self] in
            while true {
                var time = timespec(tv_sec: 0, tv_nsec: 200_000_000)
                nanosleep(&time, nil)
                if Self.now - began < 2_000_000_000 { continue }
                let text = lock.withLock {
                    let done = result.cases + (current?.cases.count ?? 0)
                    return running.isEmpty ? "\(done) of \(total)" : "\(done) of \(total): \(running)\(schedule)"
                }
                guard status.show(Progress.cut(text, status.columns - 1)) else { return }
            }
        }
    }

    private static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private func report(_ text: String) {
        let line = "streamhost: " + text.printable + "\n"
        _ = line.utf8CString.withUnsafeBytes { Glibc.write(2, $0.baseAddress!, $0.count - 1) }
    }
}

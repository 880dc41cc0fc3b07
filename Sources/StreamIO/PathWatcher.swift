// What a path names, over time.
import Glibc
import StreamCore

/// Opens every file that comes to a path, on a thread of its own, and holds it open until it was read: also while its
/// reader is held up, no rotation is missed (but one that lasts less than the thread takes to wake up).
final class PathWatcher: @unchecked Sendable {  // `lock` guards the files; the rest is the thread's
    private let path: String
    private let folder: String
    private let note: @Sendable (String) -> Void
    /// Readable when there is another file.
    let changed = WakePipe()
    private let ended = StopEvent()
    private var thread: pthread_t?

    private let lock = Lock()
    /// The file that is read, and those that took its place, with the time when they did.
    private var files: [(descriptor: Int32, since: Int)] = []

    private var newest: (device: dev_t, file: ino_t)?
    private var missingSince: Int?
    private var isNoted = false
    private var isCrowded = false

    /// Looks at the path when nothing is told.
    static let interval: Int32 = 100
    /// A path that names nothing for so long is worth a word; between a rename and what follows it, it is not.
    private static let patience = 500
    private static let mostFiles = 128

    /// - Parameter first: the file that the path names now, or nil: it is waited for.
    init(path: String, first: Int32?, note: @escaping @Sendable (String) -> Void) {
        self.path = path
        self.note = note
        folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        if let first {
            files = [(first, monotonicMilliseconds())]
            newest = Self.identity(first)
        } else {
            isNoted = true
            note("'\(path)' does not exist; waiting for it")
        }
    }

    func start() { thread = spawn(stack: 256 << 10) { [self] in run() } }

    /// Ends the thread and closes all files.
    func stop() {
        ended.raise()
        if let thread { pthread_join(thread, nil) }
        thread = nil
        for file in lock.withLock({ files }) { close(file.descriptor) }
        lock.withLock { files = [] }
    }

    /// The file to be read, and the time since when there is another one in its place.
    var current: (descriptor: Int32, replacedAt: Int?)? {
        lock.withLock { files.first.map { ($0.descriptor, files.count > 1 ? files[1].since : nil) } }
    }

    /// The current file was read to its end.
    func finishCurrent() { close(lock.withLock { files.removeFirst().descriptor }) }

    // MARK: The thread

    private func run() {
        let events = FileEvents()
        while !ended.isRaised {
            if !events.isWatching { events.watchFolder(folder) }
            look()
            waitForInput(ended.descriptor, events.descriptor, -1, milliseconds: Self.interval)
            events.drain()
        }
    }

    private func look() {
        var status = stat()
        guard stat(path, &status) == 0 else { return missing(errno) }
        if let newest, newest == (status.st_dev, status.st_ino) { return found() }
        guard status.st_mode & S_IFMT == S_IFREG else { return missing(0) }
        guard lock.withLock({ files.count }) < Self.mostFiles else {
            if !isCrowded {
                note("'\(path)' was replaced \(Self.mostFiles) times while it was read; lines may be missed")
            }
            isCrowded = true
            return
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { return missing(errno) }
        let identity = Self.identity(descriptor)
        if let newest, let identity, newest == identity {  // as it was again
            close(descriptor)
            return found()
        }
        newest = identity
        isCrowded = false
        if isNoted { note("'\(path)' has appeared") }
        found()
        lock.withLock { files.append((descriptor, monotonicMilliseconds())) }
        changed.wake()
    }

    private func found() {
        missingSince = nil
        isNoted = false
    }

    /// It names nothing that can be read, because of that error; 0: no regular file.
    private func missing(_ number: Int32) {
        let now = monotonicMilliseconds()
        let since = missingSince ?? now
        missingSince = since
        guard !isNoted, now - since >= Self.patience else { return }
        isNoted = true
        switch number {
        case ENOENT: note("'\(path)' has vanished; waiting for it to come back")
        case 0: note("'\(path)' is no regular file any more; waiting for one")
        default: note("cannot open '\(path)': \(systemError(number)); waiting for it")
        }
    }

    private static func identity(_ descriptor: Int32) -> (device: dev_t, file: ino_t)? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? (status.st_dev, status.st_ino) : nil
    }
}

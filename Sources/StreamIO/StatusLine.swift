// One line at the bottom of a terminal, rewritten in place, that makes way for other text.
import Glibc

/// A line that a terminal shows below what is written to it. Writers of the same terminal write through `write`, which
/// takes the line away first; whoever owns the line shows it again, a few times a second, so that much output costs
/// nothing more.
///
/// It is shown only where a line begins: a writer that is in the middle of one finishes it undisturbed.
public final class StatusLine: @unchecked Sendable {  // `mutex` guards all state
    private let descriptor: Int32
    private let device: dev_t
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var isShown = false
    private var isAtLineStart = true
    private var isOver = false

    /// Nil: `descriptor` is no terminal.
    public init?(descriptor: Int32) {
        guard let device = Self.terminal(descriptor) else { return nil }
        self.descriptor = descriptor
        self.device = device
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    private static func terminal(_ descriptor: Int32) -> dev_t? {
        var status = stat()
        guard isatty(descriptor) == 1, fstat(descriptor, &status) == 0 else { return nil }
        return status.st_rdev
    }

    /// Whether `other` writes to the same terminal.
    public func isOn(_ other: Int32) -> Bool { Self.terminal(other) == device }

    /// How many columns the terminal has now; 80 where it does not say.
    public var columns: Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Shows `text` in place of what was shown. It must be shorter than the terminal is wide, and without control
    /// characters. Does nothing while a line of other text is unfinished, while the terminal is stopped, or in the
    /// background.
    /// - Returns: false after `end`.
    @discardableResult
    public func show(_ text: String) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if isOver { return false }
        guard isAtLineStart, isInForeground, hasRoom else { return true }
        // The rest of a longer text is erased after the new one is there: less to flicker.
        put("\r" + text + "\u{1B}[K")
        isShown = true
        return true
    }

    /// Takes the line away for good. Gives up where the terminal is stopped: the end does not wait for a person.
    public func end() {
        var deadline = timespec()
        clock_gettime(CLOCK_REALTIME, &deadline)
        deadline.tv_sec += 1
        guard pthread_mutex_timedlock(mutex, &deadline) == 0 else { return }
        isOver = true
        if hasRoom { erase() }
        pthread_mutex_unlock(mutex)
    }

    /// `write(2)` to the same terminal: returns what it returned, with its `errno`.
    func write(_ target: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        pthread_mutex_lock(mutex)
        erase()
        let written = Glibc.write(target, bytes, count)
        let number = errno
        if written > 0 { isAtLineStart = bytes.load(fromByteOffset: written - 1, as: UInt8.self) == 0x0A }
        pthread_mutex_unlock(mutex)
        errno = number
        return written
    }

    private func erase() {
        guard isShown else { return }
        isShown = false
        put("\r\u{1B}[K")
    }

    private func put(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0 && errno != EINTR { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(max(0, count)))
            }
        }
    }

    private var isInForeground: Bool {
        let group = tcgetpgrp(descriptor)  // -1: not this process's own terminal
        return group <= 0 || group == getpgrp()
    }

    private var hasRoom: Bool {
        var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&polled, 1, 0) == 1 && polled.revents & Int16(POLLOUT) != 0
    }
}

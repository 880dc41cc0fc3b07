// What wakes those who follow a file.
import Glibc

/// Changes of files, as inotify tells them. Where there is none (no more instances, another file system), `descriptor`
/// is -1 or stays silent: whoever waits for it also looks from time to time.
final class FileEvents {
    /// For poll(): readable when something has changed.
    let descriptor: Int32
    private var watch: Int32 = -1

    init() { descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC)) }

    deinit { if descriptor >= 0 { close(descriptor) } }

    var isWatching: Bool { watch >= 0 }

    /// From now on, names that come, go and change in a folder.
    func watchFolder(_ path: String) {
        guard descriptor >= 0 else { return }
        let names = UInt32(IN_CREATE) | UInt32(IN_MOVED_TO) | UInt32(IN_MOVED_FROM) | UInt32(IN_DELETE)
        watch = inotify_add_watch(descriptor, path, names)
    }

    /// From now on, writes to an open file, whatever its name is by now; no longer those to the file before.
    func watchFile(_ file: Int32) {
        guard descriptor >= 0 else { return }
        if watch >= 0 { inotify_rm_watch(descriptor, watch) }
        watch = inotify_add_watch(descriptor, "/proc/self/fd/\(file)", UInt32(IN_MODIFY))
    }

    /// Forgets what was told so far.
    func drain() {
        guard descriptor >= 0 else { return }
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while Glibc.read(descriptor, buffer.baseAddress, 4096) > 0 {}
        }
    }
}

/// A pipe by which one thread wakes another one from poll(), again and again.
final class WakePipe: Sendable {
    let descriptor: Int32
    private let writing: Int32

    init() {
        (descriptor, writing) = wakePipe()
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        close(writing)
    }

    func wake() {
        var byte: UInt8 = 0
        _ = Glibc.write(writing, &byte, 1)
    }

    func drain() {
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
            while Glibc.read(descriptor, buffer.baseAddress, 64) > 0 {}
        }
    }
}

/// Waits until one of the descriptors is readable, or that many milliseconds.
func waitForInput(_ a: Int32, _ b: Int32, _ c: Int32, milliseconds: Int32) {
    var polled = (
        pollfd(fd: a, events: Int16(POLLIN), revents: 0), pollfd(fd: b, events: Int16(POLLIN), revents: 0),
        pollfd(fd: c, events: Int16(POLLIN), revents: 0)
    )
    _ = withUnsafeMutableBytes(of: &polled) {
        poll($0.baseAddress!.assumingMemoryBound(to: pollfd.self), 3, milliseconds)
    }
}

/// Milliseconds on the monotonic clock.
func monotonicMilliseconds() -> Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

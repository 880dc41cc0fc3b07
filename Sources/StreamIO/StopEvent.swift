// What ends a wait in poll(): a descriptor that stays readable once the event was raised.
import Glibc
import Synchronization

/// Raised once, from any thread or signal handler; those who poll `descriptor` see it from then on.
final class StopEvent: Sendable {
    /// For poll(): readable when raised. -1 where the system has no more descriptors: then a wait ends by itself only.
    let descriptor: Int32
    private let writing: Int32
    private let raised = Atomic<Bool>(false)

    init() {
        (descriptor, writing) = wakePipe()
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        close(writing)
    }

    var isRaised: Bool { raised.load(ordering: .acquiring) }

    func raise() {
        guard !raised.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let error = errno  // a signal handler leaves it as it was
        var byte: UInt8 = 0
        _ = Glibc.write(writing, &byte, 1)
        errno = error
    }
}

/// The two ends of a pipe that wakes who polls the first one; -1 where the system has no more descriptors. (Glibc's
/// module has no eventfd() and no pipe2().)
func wakePipe() -> (reading: Int32, writing: Int32) {
    var ends: (Int32, Int32) = (-1, -1)
    _ = withUnsafeMutableBytes(of: &ends) { pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self)) }
    for end in [ends.0, ends.1] where end >= 0 {
        _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    return ends
}

/// The system's words for an error number, as they stand in a sentence: "no such file or directory".
func systemError(_ number: Int32) -> String {
    guard let text = strerror(number) else { return "error \(number)" }
    let words = String(cString: text)
    return words.prefix(1).lowercased() + words.dropFirst()
}

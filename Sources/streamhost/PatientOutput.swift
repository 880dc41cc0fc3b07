// A descriptor to which is told how a run has ended.
import Glibc

/// Writes to a descriptor as slowly as it is read, until the process shall end: what is not read then, for a second
/// in all, is not written.
final class PatientOutput {
    private let descriptor: Int32
    private let isHurried: () -> Bool
    private var waited = 0
    private static let pause: Int32 = 50
    private static let patience = 1000  // milliseconds

    /// - Parameter isHurried: whether the process shall end.
    init(_ descriptor: Int32, isHurried: @escaping () -> Bool) {
        self.descriptor = descriptor
        self.isHurried = isHurried
    }

    /// Returns what is wrong with the descriptor (`errno`), or 0; a reader that does not read is no error.
    @discardableResult
    func write(_ text: String) -> Int32 {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            guard waitForRoom() else { return 0 }
            // A pipe that is ready takes so much without blocking.
            let part = bytes.prefix(4096)
            let count = part.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
            if count <= 0 && errno != EINTR && errno != EAGAIN { return errno }
            bytes = bytes.dropFirst(max(0, count))
        }
        return 0
    }

    private func waitForRoom() -> Bool {
        while true {
            var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            if poll(&polled, 1, Self.pause) != 0 { return true }  // or the write says what is wrong
            if isHurried() { waited += Int(Self.pause) }
            if waited >= Self.patience { return false }
        }
    }
}

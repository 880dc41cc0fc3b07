import Glibc
import StreamCore

/// A small file read whole: scripts and modules.
public enum TextFile {
    /// The most a script may have. Lua 5.4.4 recurses in C when it words an error about a long chain of fields: the
    /// scheduler's stacks hold what this many bytes can nest.
    static let limit = 1 << 20

    /// The bytes of the file, or a sentence that names the path and what is wrong.
    public static func read(_ path: String) -> Result<[UInt8], ConnectorError> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return .failure(problem("open", path, errno)) }
        defer { close(descriptor) }
        var status = stat()
        fstat(descriptor, &status)
        if status.st_mode & S_IFMT == S_IFDIR { return .failure(problem("read", path, EISDIR)) }
        var bytes: [UInt8] = []
        while bytes.count <= limit {
            let start = bytes.count
            bytes.append(contentsOf: repeatElement(0, count: 1 << 16))
            let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + start, 1 << 16) }
            bytes.removeLast((1 << 16) - max(0, count))
            if count == 0 { return .success(bytes) }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN {
                    var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                    poll(&wait, 1, -1)
                    continue
                }
                return .failure(problem("read", path, errno))
            }
        }
        return .failure(ConnectorError("cannot read '\(path)': larger than \(limit >> 20) MB"))
    }

    private static func problem(_ verb: String, _ path: String, _ code: Int32) -> ConnectorError {
        let text = String(cString: strerror(code))
        return ConnectorError("cannot \(verb) '\(path)': \(text.prefix(1).lowercased() + text.dropFirst())")
    }
}

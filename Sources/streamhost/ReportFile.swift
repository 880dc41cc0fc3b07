// Where the report of a run goes.
import Glibc
import StreamHost

/// A file that is emptied before the script starts and written once, at the end; `-` is standard error.
final class ReportFile: Sendable {
    private let descriptor: Int32
    private let path: String

    init(path: String) throws(Host.Problem) {
        self.path = path
        if path == "-" {
            descriptor = 2
            return
        }
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        if descriptor < 0 {
            throw Host.Problem(Self.describe(path, errno))
        }
    }

    /// - Parameter isHurried: the process shall end: a reader that does not read is not waited for.
    /// - Returns: why it could not be written: a full disk, say; nil: it was.
    func write(_ text: String, isHurried: @escaping () -> Bool) -> String? {
        let problem = PatientOutput(descriptor, isHurried: isHurried).write(text)
        return problem == 0 ? nil : Self.describe(path, problem)
    }

    private static func describe(_ path: String, _ problem: Int32) -> String {
        "--report: cannot write \(path): \(String(cString: strerror(problem)))"
    }
}

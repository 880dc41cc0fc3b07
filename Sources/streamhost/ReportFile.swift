// Where the report of a run goes.
import Glibc
import StreamHost

/// A file that is emptied before the script starts and written once, at the end; `-` is standard error.
final class ReportFile: Sendable {
    private let descriptor: Int32

    init(path: String) throws(Host.Problem) {
        if path == "-" {
            descriptor = 2
            return
        }
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        if descriptor < 0 {
            throw Host.Problem("--report: cannot write \(path): \(String(cString: strerror(errno)))")
        }
    }

    /// - Parameter isHurried: the process shall end: a reader that does not read is not waited for.
    func write(_ text: String, isHurried: @escaping () -> Bool) {
        PatientOutput(descriptor, isHurried: isHurried).write(text)
    }
}

// A line about a run at the bottom of standard error's terminal.
import Glibc
import StreamIO

/// Shows a line below what a run writes to standard error's terminal, and to standard output where that is the same
/// terminal. All of it from any thread.
public struct RunStatus: Sendable {
    private let line: StatusLine

    /// Nil: standard error is no terminal.
    init?(output: OutputWriter, errors: OutputWriter) {
        guard let line = StatusLine(descriptor: 2) else { return nil }
        self.line = line
        errors.statusLine = line
        if line.isOn(1) { output.statusLine = line }
    }

    /// Columns of the terminal, now.
    public var columns: Int { line.columns }

    /// Shows `text`, shorter than the terminal is wide and without control characters, in place of what was shown. It
    /// goes away when the run writes something. False: it is over.
    public func show(_ text: String) -> Bool { line.show(text) }

    /// Takes the line away for good.
    public func end() { line.end() }

    /// A script reads what is typed at this terminal: it is not written over.
    func endWhereTyped() { if line.isOn(0) { line.end() } }
}

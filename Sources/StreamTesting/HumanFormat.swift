// Results for people.
import StreamRuntime

/// A line a case; what failed with its place, its seed, and the command line that repeats it.
public struct HumanFormat: TestFormat {
    private let isColoured: Bool

    public init(coloured: Bool = false) { isColoured = coloured }

    private func paint(_ text: String, _ code: String) -> String {
        isColoured ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }

    public func begin() -> String { "" }

    /// A file of which no case is run is passed over in silence: `--filter` on a folder leaves many.
    public func file(_ path: String, cases: Int) -> String { cases == 0 ? "" : title(path) }

    private func title(_ path: String) -> String { paint(printable(path), "1") + "\n" }

    public func result(_ result: CaseResult) -> String {
        var name = printable(result.name.replacing("\n", with: " "))
        var notes: [String] = []
        if result.hasFailed {
            name += " (\(printable(result.declaration.place)))"
            if result.seed != nil, result.schedules > 1 { notes.append("schedule \(result.schedules)") }
        } else if result.schedules > 1 {
            notes.append("\(result.schedules) schedules")
        }
        if result.nanoseconds >= 100_000_000 { notes.append(roundedSeconds(result.nanoseconds)) }
        let note = notes.isEmpty ? "" : paint(", " + notes.joined(separator: ", "), "2")
        guard result.hasFailed else { return "  \(paint("ok", "32"))      \(name)\(note)\n" }
        var text = "  \(paint("FAILED", "31"))  \(name)\(note)\n"
        for failure in result.failures {
            for line in failure.lines { text += "      \(printable(line))\n" }
        }
        if !result.printed.isEmpty {
            text += "    it printed:\n"
            var lines = result.printed.split(separator: "\n", omittingEmptySubsequences: false)
            if lines.last?.isEmpty ?? false { lines.removeLast() }
            for line in lines { text += "      | \(printable(String(line)))\n" }
        }
        return text + "    again: \(printable(result.repetition))\n"
    }

    public func fileEnd(_ result: FileResult) -> String {
        if let problem = result.problem {
            let lines = problem.split(separator: "\n").map { "      \(printable(String($0)))\n" }.joined()
            let title = result.cases.isEmpty ? title(result.path) : ""
            return "\(title)  \(paint("ERROR", "31"))   this file does not load\n\(lines)"
        }
        return ""
    }

    public func end(_ result: SuiteResult, interruption: String?) -> String {
        var parts = ["\(counted(result.cases, "case")): \(result.cases - result.failed) ok"]
        if result.failed > 0 { parts.append(paint("\(result.failed) failed", "31")) }
        if result.broken > 0 { parts.append(paint("\(counted(result.broken, "file")) not loaded", "31")) }
        if let interruption { parts.append(paint("ended by \(interruption)", "31")) }
        let schedules = result.schedules == result.cases ? "" : "\(counted(result.schedules, "schedule")), "
        return "\n\(parts.joined(separator: ", ")) (\(schedules)\(roundedSeconds(result.nanoseconds)), "
            + "seed \(hex(result.seed)))\n"
    }
}

private func counted(_ count: Int, _ what: String) -> String { "\(count) \(what)\(count == 1 ? "" : "s")" }

/// `0.31 s`, `12.4 s`.
func roundedSeconds(_ nanoseconds: Int64) -> String {
    let hundredths = (nanoseconds + 5_000_000) / 10_000_000
    let digits = String(100 + hundredths % 100).dropFirst()
    return "\(hundredths / 100).\(digits) s"
}

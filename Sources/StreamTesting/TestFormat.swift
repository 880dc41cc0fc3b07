// How results are written.
import StreamRuntime

/// Writes a suite's results piece by piece, as they come.
public protocol TestFormat {
    mutating func begin() -> String
    mutating func file(_ path: String, cases: Int) -> String
    mutating func result(_ result: CaseResult) -> String
    mutating func fileEnd(_ result: FileResult) -> String
    /// - Parameter interruption: the name of the signal that ended it early.
    mutating func end(_ result: SuiteResult, interruption: String?) -> String
}

extension TestFailure {
    /// The message, and behind it what a comparison found, a line each. The place stands in front.
    public var lines: [String] {
        let hasPlace = !place.isEmpty && !message.hasPrefix(place + ": ")
        var lines = ((hasPlace ? "\(place): " : "") + message).split(
            separator: "\n", omittingEmptySubsequences: false
        ).map(String.init)
        lines += differences.map { "  \($0)" }
        if let expected { lines.append("  expected: \(expected)") }
        if let actual { lines.append("  got:      \(actual)") }
        return lines
    }

    /// One line.
    public var summary: String { lines.first ?? "" }
}

/// Text with the characters that control a terminal, or that XML forbids, written as escapes; line ends and tabs stay.
func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isForbidden) else { return text }
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        if isForbidden(scalar) {
            let digits = String(scalar.value, radix: 16, uppercase: true)
            result.append(contentsOf: "\\u{\(digits)}".unicodeScalars)
        } else {
            result.append(scalar)
        }
    }
    return String(result)
}

private func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09, 0x0A: false
    case 0..<0x20, 0x7F..<0xA0, 0xFFFE, 0xFFFF, 0x2028, 0x2029: true
    default: false
    }
}

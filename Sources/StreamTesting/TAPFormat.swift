// Results in the Test Anything Protocol, version 14.
import StreamRuntime

/// A line a case, and of one that failed a YAML block. The plan follows at the end.
public struct TAPFormat: TestFormat {
    private var number = 0

    public init() {}

    public func begin() -> String { "TAP version 14\n" }
    public func file(_ path: String, cases: Int) -> String { "# \(line(path))\n" }

    public mutating func result(_ result: CaseResult) -> String {
        number += 1
        let title = "\(number) - \(description("\(result.path): \(result.name)"))"
        guard result.hasFailed else { return "ok \(title)\n" }
        var fields: [(String, String)] = [
            ("message", quoted(result.failures[0].summary)), ("severity", "fail"),
            ("at", quoted(result.failures[0].place.isEmpty ? result.declaration.place : result.failures[0].place)),
            ("case", quoted(result.declaration.place)),
        ]
        if let expected = result.failures[0].expected { fields.append(("expected", quoted(expected))) }
        if let actual = result.failures[0].actual { fields.append(("actual", quoted(actual))) }
        if let seed = result.seed { fields.append(("seed", quoted(hex(seed)))) }
        fields.append(("again", quoted(result.repetition)))
        fields.append(("details", list(result.failures.flatMap(\.lines))))
        if !result.printed.isEmpty { fields.append(("printed", quoted(result.printed))) }
        return "not ok \(title)\n" + block(fields)
    }

    public mutating func fileEnd(_ result: FileResult) -> String {
        guard let problem = result.problem else { return "" }
        number += 1
        let fields = [("message", quoted(problem)), ("severity", "error")]
        return "not ok \(number) - \(description("\(result.path): the file loads"))\n" + block(fields)
    }

    public func end(_ result: SuiteResult, interruption: String?) -> String {
        if let interruption { return "Bail out! ended by \(interruption)\n" }
        return "1..\(number)\n# seed \(hex(result.seed))\n"
    }

    private func block(_ fields: [(name: String, value: String)]) -> String {
        "  ---\n" + fields.map { "  \($0.name): \($0.value)\n" }.joined() + "  ...\n"
    }

    private func list(_ lines: [String]) -> String { "[" + lines.map(quoted).joined(separator: ", ") + "]" }

    private func line(_ text: String) -> String { printable(text.replacing("\n", with: " ")) }

    /// A number sign would begin a directive.
    private func description(_ text: String) -> String {
        line(text).replacing("\\", with: "\\\\").replacing("#", with: "\\#")
    }

    /// A scalar in double quotes, as YAML and JSON write it.
    private func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            default:
                let value = scalar.value
                if value < 0x20 || (0x7F..<0xA0).contains(value) || value == 0x2028 || value == 0x2029 {
                    let digits = String(value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}

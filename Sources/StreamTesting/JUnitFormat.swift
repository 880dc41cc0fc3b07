// Results as the XML that CI servers read.
import StreamRuntime

/// One `testsuite` a file, one `testcase` a case; a file that does not load is an `error` in a suite of its own.
public struct JUnitFormat: TestFormat {
    private var suites = ""

    public init() {}

    public func begin() -> String { "" }
    public func file(_ path: String, cases: Int) -> String { "" }
    public func result(_ result: CaseResult) -> String { "" }

    public mutating func fileEnd(_ result: FileResult) -> String {
        let failed = result.cases.count(where: \.hasFailed), errors = result.problem == nil ? 0 : 1
        suites += "  <testsuite"
        suites += attribute("name", result.path) + attribute("tests", "\(result.cases.count + errors)")
        suites += attribute("failures", "\(failed)") + attribute("errors", "\(errors)") + attribute("skipped", "0")
        suites += attribute("time", decimal(result.nanoseconds)) + ">\n"
        if let problem = result.problem {
            suites +=
                "    <testcase" + attribute("name", "the file loads") + attribute("classname", className(result.path))
            suites += attribute("file", result.path) + attribute("time", decimal(result.nanoseconds)) + ">\n"
            let summary = String(problem.prefix { $0 != "\n" })
            suites += "      <error\(attribute("message", summary))>\(escaped(problem))</error>\n    </testcase>\n"
        }
        for result in result.cases { suites += element(result) }
        suites += "  </testsuite>\n"
        return ""
    }

    private func element(_ result: CaseResult) -> String {
        let place = result.declaration.place
        var text = "    <testcase" + attribute("name", result.name) + attribute("classname", className(result.path))
        text += attribute("file", result.path)
        if let line = place.split(separator: ":").last, line.allSatisfy(\.isNumber) {
            text += attribute("line", String(line))
        }
        text += attribute("time", decimal(result.nanoseconds))
        guard result.hasFailed else { return text + "/>\n" }
        text += ">\n"
        let lines = result.failures.flatMap(\.lines) + ["again: \(result.repetition)"]
        text += "      <failure" + attribute("message", result.failures[0].summary) + attribute("type", "failure")
        text += ">\(escaped(lines.joined(separator: "\n")))</failure>\n"
        if !result.printed.isEmpty { text += "      <system-out>\(escaped(result.printed))</system-out>\n" }
        return text + "    </testcase>\n"
    }

    public func end(_ result: SuiteResult, interruption: String?) -> String {
        var text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites"
        text += attribute("name", "streamhost test") + attribute("tests", "\(result.cases + result.broken)")
        text += attribute("failures", "\(result.failed)") + attribute("errors", "\(result.broken)")
        text += attribute("time", decimal(result.nanoseconds)) + ">\n"
        if let interruption { text += "  <!-- ended by \(interruption) -->\n" }
        return text + suites + "</testsuites>\n"
    }

    /// `checks/queue_test.lua` as CI servers group by: `checks.queue_test`.
    private func className(_ path: String) -> String {
        let trimmed = path.hasSuffix(".lua") ? String(path.dropLast(4)) : path
        return trimmed.split(separator: "/").filter { $0 != "." && $0 != ".." }.joined(separator: ".")
    }

    private func attribute(_ name: String, _ value: String) -> String {
        // A reader makes spaces of line ends and tabs in attributes, unless they are references.
        let value = escaped(value).replacing("\n", with: "&#10;").replacing("\t", with: "&#9;")
        return " \(name)=\"\(value)\""
    }

    private func escaped(_ text: String) -> String {
        printable(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }

    private func decimal(_ nanoseconds: Int64) -> String {
        let milliseconds = (nanoseconds + 500_000) / 1_000_000
        return "\(milliseconds / 1000).\(String(1000 + milliseconds % 1000).dropFirst())"
    }
}

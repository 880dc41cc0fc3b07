// From how a run ended to what failed.
import StreamCore
import StreamRuntime

extension CaseRun {
    /// - Parameters:
    ///   - result: nil: the run has not ended, although everything was cancelled.
    ///   - leaked: what had to be cancelled, if that was asked for.
    ///   - waiting: what has not ended.
    ///   - cut: places of the pipelines that had not ended when the body returned.
    func judge(
        _ test: TestCase, _ run: Run, _ result: RunResult?, late: TestFailure?, leaked: [String], waiting: [String],
        cut: [String]
    ) -> [TestFailure] {
        let asserted = test.failures
        var failures = asserted
        for message in result?.failures ?? run.failures {
            // What an assertion raised in a task or a stage is the failure of that too.
            if asserted.contains(where: { message.contains("\($0.place): \($0.message)") }) { continue }
            if !asserted.isEmpty, message.hasPrefix("deadlock") { continue }
            failures.append(TestFailure(message: message, place: Self.place(in: message)))
        }
        if let late { failures.append(late) }
        if !leaked.isEmpty {
            failures.append(list("leaked: it had to be cancelled at the end of the case", leaked))
        }
        if result == nil, late == nil || !waiting.isEmpty {
            failures.append(list("it goes on although the case's context was cancelled", waiting))
        }
        if failures.isEmpty, declaration != nil, test.checks == 0 {
            var message = "it asserts nothing: a case that cannot fail shows nothing"
            if let place = cut.first {
                message +=
                    "\n  the pipeline of \(place) was cancelled when the body returned: wait for it, with :wait() or "
                    + "stream.run()"
            }
            failures.append(TestFailure(message: message))
        }
        return failures
    }

    private func list(_ title: String, _ places: [String]) -> TestFailure {
        var failure = TestFailure(message: ([title] + places).joined(separator: "\n  "))
        if places.count == 1 { failure.place = Self.place(in: places[0]) }
        return failure
    }

    /// `script.lua:12` at the begin of a message; empty: it names no line.
    static func place(in message: String) -> String {
        let line = message.prefix { $0 != "\n" }
        guard let end = line.firstRange(of: ": ")?.lowerBound else { return "" }
        let place = line[..<end]
        guard let colon = place.lastIndex(of: ":"), place.index(after: colon) < place.endIndex else { return "" }
        return place[place.index(after: colon)...].allSatisfy(\.isNumber) ? String(place) : ""
    }
}

// What a worker says of its tasks: how they failed, and where they wait.
import LuaVM

extension Worker {
    /// The error on top of the task's stack, with the way there.
    func describeFailure(_ task: LuaTask) -> ScriptFailure {
        var failure = failure(task.stack, -1)
        // A mistake names its line; the way there would only show the library's own functions.
        if failure.isMisuse {
            failure.traceback = ""
        } else if failure.traceback.isEmpty {
            failure.traceback = vm.traceback(task.stack)
        }
        return failure
    }

    /// The error value at `index`, in words. A message handler may have put the traceback behind it.
    func failure(_ stack: LuaStack, _ index: Int32) -> ScriptFailure {
        let mark = "\nstack traceback:"
        var message: String, traceback = ""
        if let text = stack.string(index) {
            message = text
            if let range = text.lastRange(of: mark) {
                message = String(text[..<range.lowerBound])
                traceback = String(text[range.lowerBound...].dropFirst())
                let bottom = "\n\t[C]: in ?"  // the host's own call
                if traceback.hasSuffix(bottom) { traceback.removeLast(bottom.count) }
            }
        } else {
            message = "an error that is no string: \(stack.describe(index))"
        }
        let isMisuse = lastMisuse.map { message.hasSuffix($0) } ?? false
        return ScriptFailure(message: message, traceback: traceback, isMisuse: isMisuse)
    }

    /// Its tasks with where they wait, for the report of a deadlock.
    var waiting: [String] {
        orderedTasks.map { task in
            let place = task.stack.place
            let what: String
            if let ports = task.ports, case .none = task.wait {
                what = ports.description
            } else {
                what = task.wait.description
            }
            return "\(place.isEmpty ? task.origin : place): \(name) is \(what)"
        }.sorted()
    }
}

extension String {
    fileprivate func lastRange(of text: String) -> Range<String.Index>? {
        let pattern = Array(text.utf8), bytes = Array(utf8)
        guard bytes.count >= pattern.count else { return nil }
        var start = bytes.count - pattern.count
        while start >= 0 {
            if bytes[start..<start + pattern.count].elementsEqual(pattern) {
                let lower = utf8.index(utf8.startIndex, offsetBy: start)
                return lower..<utf8.index(lower, offsetBy: pattern.count)
            }
            start -= 1
        }
        return nil
    }
}

// The warning about captured variables that a stage assigns: it changes its own copy, which nobody else sees.
import LuaVM
import StreamCore

extension StageGroup {
    /// Parts of a stage that may assign captured variables: `setup` makes what the stage's worker has for itself, and
    /// after `teardown` nobody asks.
    private static let silent: Set = ["setup", "teardown", "initial"]

    /// Warns of the captured variables that the stage's functions assign; `first` is the stack index of the first of
    /// `StageWorker.roots`. What `setup` assigns too is the worker's own on purpose.
    func warnOfAssignments(_ stack: LuaStack, first: Int32) {
        var assigning: [Int32] = [], owners: [Int32] = []
        for (index, name) in StageWorker.roots.enumerated() {
            let position = first + Int32(index)
            if name == "setup" { owners.append(position) }
            if !Self.silent.contains(name) { assigning.append(position) }
        }
        for found in stack.assignments(by: assigning, except: owners) { run.warn(of: found) }
    }
}

/// Lines that a run has said once.
struct SaidOnce {
    /// A script that makes ever new functions shall not make ever more lines.
    private static let most = 1000
    private var said: Set<String> = []

    /// True: `line` is new.
    mutating func isNew(_ line: String) -> Bool { said.count < Self.most && said.insert(line).inserted }
}

extension Run {
    fileprivate func warn(of found: LuaAssignment) {
        logOnce(
            "warning: \(found.file): line \(found.line): '\(found.name)' changes only in this stage's copy; "
                + "use reduce, a metric or :to(function)")
    }
}

// The warning about captured variables that a stage assigns: it changes its own copy, which nobody else sees.
import LuaVM
import StreamCore

extension Run {
    /// Parts of a stage that may assign captured variables: `setup` makes what the stage's worker has for itself, and
    /// after `teardown` nobody asks. A fold's first state is a value, not a part.
    private static let silent: Set = ["setup", "teardown", "initial"]

    /// Warns of the captured variables that functions assign: those in the tables that `codes` refer to, of stages that
    /// share their workers. What a `setup` assigns too is the worker's own on purpose.
    func warnOfAssignments(by codes: [Int32], in worker: Worker) {
        let stack = worker.vm.main
        let before = stack.top
        defer { stack.setTop(before) }
        var assigning: [Int32] = [], owners: [Int32] = []
        for code in codes {
            guard stack.ensure(16) else { return }
            stack.push(reference: code)
            let table = stack.top
            for name in parts(stack, table) {
                guard stack.ensure(16) else { return }
                stack.getField(table, name)
                assigning.append(stack.top)
            }
            stack.getField(table, "setup")
            owners.append(stack.top)
        }
        for found in stack.assignments(by: assigning, except: owners) {
            logOnce(
                "warning: \(found.file): line \(found.line): '\(found.name)' changes only in this stage's copy; "
                    + "use reduce, a metric or :to(function)")
        }
    }

    /// The names of a stage's parts that shall assign nothing, `process` first: the order of the warnings.
    private func parts(_ stack: LuaStack, _ table: Int32) -> [String] {
        var names: [String] = []
        stack.pushNil()
        while stack.next(table) {
            if let name = stack.string(-2), !Self.silent.contains(name) { names.append(name) }
            stack.pop()
        }
        return names.sorted { ($0 == "process" ? "" : $0) < ($1 == "process" ? "" : $1) }
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

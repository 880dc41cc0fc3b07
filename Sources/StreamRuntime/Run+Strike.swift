// Stops of workers at any instruction, for tests that run under a scheduler of one thread.
import LuaVM
import StreamCore

extension Run {
    /// Stops, or preempts, a task of some worker that runs a stage, once it has computed so many instructions more. Between
    /// two slices of a scheduler of one thread.
    ///
    /// - Parameter choice: a random number, by which the worker and its task are chosen.
    /// - Returns: the worker's name; nil: there is none to be stopped.
    package func strike(_ choice: UInt64, _ kind: LuaStrike, after instructions: Int) -> String? {
        let targets = livingWorkers.filter { !$0.isMain && $0.vm != nil && !$0.orderedTasks.isEmpty }
        guard !targets.isEmpty else { return nil }
        let worker = targets[Int(choice % UInt64(targets.count))]
        let tasks = worker.orderedTasks
        let task = tasks[Int(choice / UInt64(targets.count) % UInt64(tasks.count))]
        worker.vm.strike(task.stack, kind, after: instructions)
        return worker.name
    }

    package static var strikesLanded: Int { LuaVM.strikesLanded }
}

// Stops of workers at any instruction, for tests that run under a scheduler of one thread.
import LuaVM
import StreamCore

extension Run {
    /// Which workers a strike chooses from: those that run stages, those of `stream.worker`, the one of the top level.
    package enum StrikeReach: Sendable, CaseIterable { case stages, spawned, main }

    /// Stops, or preempts, a task of some worker, once it has computed so many instructions more. Between two slices of a
    /// scheduler of one thread.
    ///
    /// - Parameter choice: a random number, by which the worker and its task are chosen.
    /// - Returns: the worker's name; nil: there is none to be stopped.
    package func strike(
        _ choice: UInt64, _ kind: LuaStrike, after instructions: Int, among reach: StrikeReach = .stages
    ) -> String? {
        let targets = livingWorkers.filter { worker in
            let isReached =
                switch reach {
                case .stages: worker.isStage
                case .spawned: !worker.isStage && !worker.isMain
                case .main: worker.isMain
                }
            return isReached && worker.vm != nil && !worker.orderedTasks.isEmpty
        }
        guard !targets.isEmpty else { return nil }
        let worker = targets[Int(choice % UInt64(targets.count))]
        let tasks = worker.orderedTasks
        let task = tasks[Int(choice / UInt64(targets.count) % UInt64(tasks.count))]
        worker.vm.strike(task.stack, kind, after: instructions)
        return worker.name
    }

    package static var strikesLanded: Int { LuaVM.strikesLanded }
}

/// A task that was stopped for good, for tests.
package struct StoppedTask: Sendable {
    /// What it did in its worker.
    package enum Work: Sendable {
        case teardown, ending, other
        /// It drove a stage whose worker is replaced for a failure, which has been raised by then.
        case replaced
    }
    package let work: Work
    /// Of a worker or its value; nil: it computed on after its context's end.
    package let limit: WorkerLimit?
    let worker: Worker

    /// `main`, `stage "NAME"`, `worker "NAME"`.
    package var name: String { worker.name }
}

extension Worker {
    func noteStop(of task: LuaTask, for limit: WorkerLimit?, isReplaced: Bool = false) {
        guard let told = run.environment.onStop else { return }
        let work: StoppedTask.Work =
            if isReplaced { .replaced } else if task.cleansUntil > .min { .teardown } else if task.failsAfterItsEnd {
                .ending
            } else { .other }
        told(StoppedTask(work: work, limit: limit, worker: self))
    }
}

/// Numbers workers, for tests: one that has gone is never taken for another, wherever that lies in memory.
package struct WorkerRoll: Sendable {
    private struct Entry { weak let worker: Worker? }
    private var entries: [Entry] = []

    package init() {}

    /// Of the worker whose script called the function of the host that asks.
    package mutating func numberOfCaller() -> Int {
        guard let owner = LuaVM.runningOwner else { return -1 }
        return number(Unmanaged<Worker>.fromOpaque(owner).takeUnretainedValue())
    }

    package mutating func number(of stopped: StoppedTask) -> Int { number(stopped.worker) }

    private mutating func number(_ worker: Worker) -> Int {
        if let known = entries.lastIndex(where: { $0.worker === worker }) { return known }
        entries.append(Entry(worker: worker))
        return entries.count - 1
    }
}

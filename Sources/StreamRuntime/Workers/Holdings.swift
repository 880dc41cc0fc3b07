// What a worker has of the host's that others are waiting for.
import StreamCore

/// Something that goes back to the host when who has it is gone, however that came: a permit, a reservation.
protocol Holding: SharedObject {
    /// Its worker has ended, or its task was stopped for good. On the worker's thread.
    func takeBack()
    /// Whether there is something to be taken back.
    func isHeld(_ now: Int64) -> Bool
}

/// The holdings of one worker; its thread's alone.
struct Holdings {
    /// In the order in which they came, which a seed fixes.
    private var held: [UInt64: (holding: any Holding, owner: ObjectIdentifier?)] = [:]
    private var last: UInt64 = 0
    /// At so many those that are spent are taken out: who reserves and never gives back leaves many.
    private var mark = 64

    /// Returns the number under which it is removed.
    mutating func add(_ holding: any Holding, of task: LuaTask?, _ now: Int64) -> UInt64 {
        if held.count >= mark {
            held = held.filter { $0.value.holding.isHeld(now) }
            mark = max(64, 2 * held.count)
        }
        last += 1
        held[last] = (holding, task.map(ObjectIdentifier.init))
        return last
    }

    var count: Int { held.count }

    mutating func remove(_ number: UInt64) { held[number] = nil }

    mutating func takeBack() {
        let all = held.sorted { $0.key < $1.key }
        held = [:]
        for (_, entry) in all { entry.holding.takeBack() }
    }

    /// Those that `task` got: it was stopped for good, and the `<close>` of its variables does not run.
    mutating func takeBack(of task: LuaTask) {
        if held.isEmpty { return }
        let owner = ObjectIdentifier(task)
        let all = held.filter { $0.value.owner == owner }.sorted { $0.key < $1.key }
        for (number, _) in all { held[number] = nil }
        for (_, entry) in all { entry.holding.takeBack() }
    }
}

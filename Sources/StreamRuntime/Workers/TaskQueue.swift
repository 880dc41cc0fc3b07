// The tasks of a worker that are ready: its own row of them, and the place where others put them.
import Synchronization

/// Tasks in a row, linked through themselves, so that one more costs no memory. A task stands in one row at a time: it is
/// put there when its wait has ended, which happens once a wait, or when it was preempted.
struct TaskQueue: ~Copyable {
    private var first: Unmanaged<LuaTask>?
    private var last: Unmanaged<LuaTask>?

    init() {}

    deinit {
        var next = first
        while let task = next {
            next = task._withUnsafeGuaranteedRef { $0.nextReady }
            task.release()
        }
    }

    var isEmpty: Bool { first == nil }

    mutating func append(_ task: LuaTask) { append(held: .passRetained(task)) }

    /// Its reference becomes the row's.
    @inline(__always)
    fileprivate mutating func append(held task: Unmanaged<LuaTask>) {
        task._withUnsafeGuaranteedRef { $0.nextReady = nil }
        if let last {
            last._withUnsafeGuaranteedRef { $0.nextReady = task }
        } else {
            first = task
        }
        last = task
    }

    mutating func prepend(_ task: LuaTask) {
        task.nextReady = first
        let held = Unmanaged.passRetained(task)
        if first == nil { last = held }
        first = held
    }

    mutating func popFirst() -> LuaTask? {
        guard let task = first else { return nil }
        first = task._withUnsafeGuaranteedRef { $0.nextReady }
        if first == nil { last = nil }
        return task.takeRetainedValue()
    }

    mutating func removeAll() { while popFirst() != nil {} }

    /// All, in order.
    var tasks: [LuaTask] {
        var all: [LuaTask] = []
        var next = first
        while let task = next {
            task._withUnsafeGuaranteedRef {
                all.append($0)
                next = $0.nextReady
            }
        }
        return all
    }

    var identities: [ObjectIdentifier] { tasks.map(ObjectIdentifier.init) }
}

/// Where any thread puts tasks for the worker that owns it, which takes all that are there. No lock: a push is one
/// compare-and-swap, and since all are taken at once none is met again in another row meanwhile.
struct TaskInbox: ~Copyable {
    /// The one that came last; each is linked to the one before it.
    private let newest = Atomic<UnsafeMutableRawPointer?>(nil)

    init() {}

    deinit {
        var queue = TaskQueue()
        move(to: &queue)
    }

    func push(_ task: LuaTask) {
        let held = Unmanaged.passRetained(task).toOpaque()
        var seen = newest.load(ordering: .relaxed)
        while true {
            task.nextReady = seen.map { Unmanaged.fromOpaque($0) }
            let (exchanged, original) = newest.compareExchange(
                expected: seen, desired: held, successOrdering: .releasing, failureOrdering: .relaxed)
            if exchanged { return }
            seen = original
        }
    }

    /// Appends all, in the order in which they came.
    @inline(__always)
    func move(to queue: inout TaskQueue) {
        if newest.load(ordering: .relaxed) == nil { return }
        moveAll(to: &queue)
    }

    private func moveAll(to queue: inout TaskQueue) {
        var next = newest.exchange(nil, ordering: .acquiring).map { Unmanaged<LuaTask>.fromOpaque($0) }
        var oldest: Unmanaged<LuaTask>?
        while let task = next {
            task._withUnsafeGuaranteedRef {
                next = $0.nextReady
                $0.nextReady = oldest
            }
            oldest = task
        }
        while let task = oldest {
            oldest = task._withUnsafeGuaranteedRef { $0.nextReady }
            queue.append(held: task)
        }
    }
}

import Schedules
// A worker's end.
import Synchronization
import Testing

@testable import StreamCore
@testable import StreamRuntime

@Suite struct WorkerEndTests {
    private static func run(on scheduler: SeededScheduler) -> Run {
        let text = TextRecorder()
        let environment = RunEnvironment(
            scriptPath: "script.lua", script: [], output: text, errors: text,
            makeSource: { _ throws(ConnectorError) in throw ConnectorError("none") },
            makeSink: { _ throws(ConnectorError) in throw ConnectorError("none") }, library: { _ in nil },
            readModule: { _ in nil }, wall: { 0 })
        return Run(scheduler: scheduler, environment: environment) { _ in }
    }

    /// Guards against a run that waited for ever: its end calls each worker that it still knows, and one that had ended
    /// on another thread a moment before did nothing any more.
    @Test func call_afterTheEnd_isDone() {
        let scheduler = SeededScheduler(seed: 1)
        let run = Self.run(on: scheduler)
        var log: [String] = []
        let worker = Worker(run: run, name: "worker") { _ = $0.open(memoryLimit: 0) }
        worker.call { worker in
            worker.end { log.append("first end") }
            worker.end { log.append("second end") }
        }
        scheduler.run(limit: 100)
        #expect(log == ["first end", "second end"])
        worker.call { $0.end { log.append("late end") } }
        scheduler.run(limit: 100)
        #expect(log == ["first end", "second end", "late end"])
    }

    /// A worker of `count` tasks that are ready, and will each wait on a channel; it has not run yet.
    private static func worker(of count: Int, on run: Run, ended: @escaping (LuaTask, TaskEnd) -> Void) -> Worker {
        let channel = Channel(capacity: 0)
        let script = Array("local channel = ... channel:recv()".utf8)
        return Worker(run: run, name: "worker") { worker in
            _ = worker.open(memoryLimit: 64 << 20)
            for _ in 0..<count {
                _ = script.withUnsafeBytes { worker.vm.load($0, name: "@script.lua") }
                HostAPI.push(worker.vm.main, channel)
                worker.start(
                    from: worker.vm.main, arguments: 1, context: run.context, origin: "script.lua", completion: ended)
            }
        }
    }

    @Test func dropComputingTasks_endsThoseThatAreReady_inOrder() {
        let scheduler = SeededScheduler(seed: 1)
        let run = Self.run(on: scheduler)
        var ended: [UInt64] = [], isReady = false, left: [UInt64] = []
        let worker = Self.worker(of: 6, on: run) { task, end in
            if case .stopped = end { ended.append(task.number) }
        }
        worker.call { worker in  // before any of them has run
            worker.dropComputingTasks { $0.number % 2 == 0 }
            isReady = !worker.ready.isEmpty
        }
        worker.wake()
        scheduler.run(limit: 100)
        #expect(ended == [2, 4, 6] && isReady)
        worker.call { worker in  // the others wait: they are not its
            worker.dropComputingTasks { _ in true }
            left = worker.orderedTasks.map(\.number)
            worker.end {}
        }
        scheduler.run(limit: 100)
        #expect(left == [1, 3, 5])
    }

    /// The host's part of a task: Lua's is counted by its allocator, until it is collected.
    @Test func tasksAreChargedToTheWorkersMemory() {
        let scheduler = SeededScheduler(seed: 1)
        let run = Self.run(on: scheduler)
        var givenBack = 0
        let worker = Self.worker(of: 100, on: run) { _, _ in }
        worker.call { worker in
            let before = worker.memory!.used
            worker.dropComputingTasks { _ in true }
            givenBack = Int(before) - Int(worker.memory!.used)
            worker.end {}
        }
        worker.wake()
        scheduler.run(limit: 100)
        #expect(givenBack == 100 * Worker.taskBytes)
    }

    /// Guards against a value in two hands: a receiver on another thread has claimed a waiting send and moves its value,
    /// while the worker of that send ends and drops it. What became of it is also counted.
    @Test func end_whileAWaitIsClaimed_waitsUntilItIsTold() throws {
        let scheduler = SeededScheduler(seed: 1)
        let run = Self.run(on: scheduler)
        let channel = Channel(capacity: 0)
        let script = Array("local channel = ... channel:send(1)".utf8)
        let worker = Worker(run: run, name: "worker") { worker in
            _ = worker.open(memoryLimit: 0)
            worker.stageOutput = channel
            worker.countsPut = true
            _ = script.withUnsafeBytes { worker.vm.load($0, name: "@script.lua") }
            HostAPI.push(worker.vm.main, channel)
            worker.start(from: worker.vm.main, arguments: 1, context: run.context, origin: "script.lua") { _, _ in }
        }
        worker.wake()
        scheduler.run(limit: 100)
        let waiter = try #require(worker.tasks.values.first?.waiter)
        #expect(waiter.claimCurrent())  // the receiver, which has come so far

        var ends = 0
        worker.call { $0.end { ends += 1 } }
        scheduler.run(limit: 100)
        #expect(ends == 0)
        #expect(waiter.outbox.message != nil)

        waiter.outbox.drop()
        waiter.outcome = .sent(index: 0)
        waiter.owner.ready(waiter)
        scheduler.run(limit: 100)
        #expect(ends == 1)
        #expect(worker.put == 1)
    }
}

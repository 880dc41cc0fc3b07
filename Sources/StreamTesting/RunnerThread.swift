// The thread that cases run on.
import Glibc
import StreamCore
import StreamRuntime

/// Runs pieces of work one after the other on a thread with the stack that scripts need. One that never returns is left
/// behind with its thread.
final class RunnerThread: @unchecked Sendable {  // `gate` guards the rest
    private let gate = Gate()
    private var work: (@Sendable () -> Void)?
    private var isDone = true
    private var isAbandoned = false
    private var isOver = false

    init() {
        spawnDetached(stack: ThreadScheduler.Configuration(threads: 1).stackSize) { [self] in
            Run.attachThread()
            while true {
                gate.wait { work != nil || isOver }
                let next = gate.change {
                    defer { work = nil }
                    return work
                }
                guard let next else { return }
                next()
                gate.change { isDone = true }
            }
        }
    }

    /// Runs `body` and waits for it; false: it was given up, and this thread is not to be used again.
    func perform(_ body: @escaping @Sendable () -> Void) -> Bool {
        gate.change {
            isDone = false
            work = body
        }
        gate.wait { isDone || isAbandoned }
        return gate.change { isDone }
    }

    /// What runs now does not return. Any thread.
    func abandon() { gate.change { isAbandoned = true } }

    /// Ends the thread when it is idle.
    func stop() { gate.change { isOver = true } }
}

// Stops at any instruction, for tests.
import CLuaShim

/// What a test does to a worker in the middle of its work.
package enum LuaStrike: Int32, Sendable, CaseIterable {
    /// The value in hand has had more than its time.
    case overdue = 1
    /// The worker's memory is full.
    case memory
    /// Its slice is over.
    case preempt
    /// The value in hand has used up its CPU time.
    case cpu
}

extension LuaVM {
    /// Strikes after so many instructions of `task`, which does not run now.
    package func strike(_ task: LuaStack, _ kind: LuaStrike, after instructions: Int) {
        shim_strike(pointer, task.state, kind.rawValue, Int32(instructions))
    }

    /// How many strikes of this thread have stopped a worker so far.
    package static var strikesLanded: Int { Int(shim_strikes_landed()) }
}

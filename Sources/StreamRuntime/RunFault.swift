// Bugs that tests plant in a run, to see that their checks find them.

package enum RunFault: Sendable {
    /// A queue loses a batch that was put into it.
    case batchLostInQueue
    /// A pump drops what it has and does not count it.
    case dropNotCounted
    /// The end of a chain counts a value twice.
    case deliveredTwice
    /// A stage that has failed is not torn down.
    case teardownSkipped
    /// A worker that was stopped or is replaced forgets what `on_end` was asked for.
    case endingsSkipped
    /// A worker that was stopped for a limit fails nobody.
    case stopUnsaid
    /// A task whose wait ends with its context is dropped: its `<close>` variables do not run.
    case waitsDropped
    /// A worker that is replaced for a failure is told that it is done.
    case replacedAsDone
    /// An ordered stage passes on first what was dealt last.
    case ticketsSwapped
}

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
    /// An ordered stage passes on first what was dealt last.
    case ticketsSwapped
}

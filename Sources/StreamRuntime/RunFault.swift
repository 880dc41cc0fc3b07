// Bugs put into the ends of workers by tests, which their checks must find.

package enum RunFault: Sendable {
    /// A stage that has failed is not torn down.
    case teardownSkipped
    /// The value for which a worker was stopped is not counted.
    case stopNotCounted
    /// An ordered stage passes on first what was dealt last.
    case ticketsSwapped
    /// What a stopped worker had of the host's stays with it.
    case holdingsKept
}

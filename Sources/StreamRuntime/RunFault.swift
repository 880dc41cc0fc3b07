// Bugs put into the ends of workers by tests, which their checks must find.

package enum RunFault: Sendable {
    /// A stage that has failed is not torn down.
    case teardownSkipped
    /// An ordered stage passes on first what was dealt last.
    case ticketsSwapped
}

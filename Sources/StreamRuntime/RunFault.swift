// Bugs put into a run by tests, which their checks must find.

package enum RunFault: Sendable {
    /// What is left in a queue that nobody reads any more is not counted.
    case lostBatch
    /// A value that comes to its end is counted twice.
    case countedTwice
    /// A fresh worker of an ordered stage begins before what the stopped one had made is passed on.
    case replacedOutOfOrder
    /// A stage that has failed is not torn down.
    case teardownSkipped
}

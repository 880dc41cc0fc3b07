// What a worker has of the host's that others are waiting for.
import StreamCore

/// Something that goes back to the host when the worker that has it ends, however it ends: a permit, a reservation.
protocol Holding: SharedObject {
    /// Its worker has ended. On the worker's thread.
    func takeBack()
}

/// The holdings of one worker; its thread's alone.
struct Holdings {
    /// In the order in which they came, which a seed fixes.
    private var held: [UInt64: any Holding] = [:]
    private var last: UInt64 = 0

    /// Returns the number under which it is removed.
    mutating func add(_ holding: any Holding) -> UInt64 {
        last += 1
        held[last] = holding
        return last
    }

    mutating func remove(_ number: UInt64) { held[number] = nil }

    mutating func takeBack() {
        let all = held.sorted { $0.key < $1.key }
        held = [:]
        for (_, holding) in all { holding.takeBack() }
    }
}

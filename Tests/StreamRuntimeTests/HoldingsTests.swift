import StreamCore
import Testing

@testable import StreamRuntime

@Suite struct HoldingsTests {
    private final class Held: SharedObject, Holding, @unchecked Sendable {  // one thread
        let end: Int64
        var takenBack = 0
        init(until end: Int64) { self.end = end }
        func takeBack() { takenBack += 1 }
        func isHeld(_ now: Int64) -> Bool { now < end }
    }

    /// Guards against a list that grew with each reservation which nobody gave back.
    @Test func spentOnes_areNotKept() {
        var holdings = Holdings()
        for now in 0..<100_000 as Range<Int64> { _ = holdings.add(Held(until: now + 10), of: nil, now) }
        #expect(holdings.count <= 128)
    }

    @Test func heldOnes_areKept_andTakenBackOnce() {
        var holdings = Holdings()
        let all = (0..<1000).map { _ in Held(until: .max) }
        let numbers = all.map { holdings.add($0, of: nil, 0) }
        #expect(holdings.count == 1000)
        for number in numbers[..<10] { holdings.remove(number) }
        holdings.takeBack()
        holdings.takeBack()
        #expect(all[..<10].allSatisfy { $0.takenBack == 0 })
        #expect(all[10...].allSatisfy { $0.takenBack == 1 })
    }
}

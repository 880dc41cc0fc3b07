// The channel's decisions as tables: a script of operations and what each answers.
import Testing

@testable import StreamCore

/// Parties are numbers: 1...9 single messages, 10 and above batches, which ask for a tenth of their number of messages.
struct ChannelTable {
    var state: ChannelState<Int>
    /// Waits that ended elsewhere.
    var stale: Set<Int> = []
    /// Stored messages, which the channel itself keeps.
    var stored = 0

    init(_ capacity: Int, bytes: Int, overflow: Overflow = .block) {
        state = ChannelState(capacity: capacity, byteBound: bytes, overflow: overflow)
    }

    private func isLive(_ party: Int) -> Bool { !stale.contains(party) }

    mutating func run(_ line: String) -> String {
        let words = line.split(separator: " ")
        let n = words.count > 1 ? Int(words[1])! : 0
        // Bytes follow the count; without them each message has one.
        let bytes = words.count > 2 ? Int(words[2])! : n
        switch words[0] {
        case "send":
            switch state.send(size: max(1, n), counts: { $0 >= 10 }, isLive) {
            case .deliver(let party): return "to \(party)"
            case .store:
                stored += 1
                return "stored"
            case .full: return "full"
            case .closed: return "closed"
            case .evict: return "evict"
            case .drop: return "drop"
            case .fail: return "fail"
            }
        case "evicted":
            state.evicted(size: n)
            stored -= 1
        case "hold": state.hold()
        case "open": state.open()
        case "request": state.request(n)
        case "receive":
            switch state.receive(hasStored: stored > 0, wanted: { $0 / 10 }, isLive) {
            case .stored:
                stored -= 1
                state.receivedStored(size: max(1, n))
                return "received"
            case .from(let party): return "from \(party)"
            case .empty: return "empty"
            case .closed: return "closed"
            }
        case "sender": state.enqueueSender(n)
        case "receiver": state.enqueueReceiver(n)
        case "stale": stale.insert(n)
        case "next", "force":
            let party = state.nextSender(force: words[0] == "force", wanted: { $0 / 10 }, isLive)
            return party.map { "\($0)" } ?? "none"
        case "nextReceiver": return state.nextReceiver(isLive).map { "\($0)" } ?? "none"
        case "reserve": return "\(state.reserve(n))"
        case "grant": return "\(state.grant(n))"
        case "commit":
            state.commit(bytes: bytes)
            stored += n
        case "take":
            state.taken(n, bytes: bytes)
            stored -= n
        case "release": state.release(n)
        case "credit": state.credit(n, bytes: bytes)
        case "return":
            state.returned(n, bytes: bytes)
            stored += n
        case "free": return "\(state.free)"
        case "bytes": return "\(state.bytes)"
        case "drop":
            state.droppedStored(bytes: n)
            stored = 0
        case "occupied": return "\(state.occupied)"
        case "waiting": return "\(state.waitingSenders) \(state.waitingReceivers)"
        case "close": return state.close() ? "yes" : "no"
        case "closeReading": state.closeReading()
        case "purge":
            let stale = stale
            for _ in 0..<n { state.noteStale { stale.contains($0) } }
        default: preconditionFailure("no operation is called \(line)")
        }
        return "ok"
    }
}

struct ChannelStateTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String, capacity: Int, bytes: Int, overflow: Overflow, lines: [(String, String)]
        init(
            _ name: String, _ capacity: Int, bytes: Int = .max, overflow: Overflow = .block, _ lines: [(String, String)]
        ) {
            self.overflow = overflow
            self.name = name
            self.capacity = capacity
            self.bytes = bytes
            self.lines = lines
        }
        var testDescription: String { name }
    }

    private static let single: [Case] = [
        Case("rendezvous_withoutReceiver_isFull", 0, [("send", "full"), ("receive", "empty"), ("free", "0")]),
        Case(
            "rendezvous_withWaitingReceiver_delivers", 0,
            [
                ("receiver 1", "ok"), ("send", "to 1"), ("send", "full"), ("occupied", "0"),
            ]),
        Case(
            "rendezvous_receivesFromWaitingSenders_inOrder", 0,
            [
                ("sender 1", "ok"), ("sender 2", "ok"), ("receive", "from 1"), ("receive", "from 2"),
                ("receive", "empty"),
            ]),
        Case(
            "rendezvous_skipsStaleSender", 0,
            [
                ("sender 1", "ok"), ("sender 2", "ok"), ("stale 1", "ok"), ("receive", "from 2"), ("waiting", "0 0"),
            ]),
        Case(
            "one_storesOne_thenIsFull", 1,
            [
                ("send", "stored"), ("send", "full"), ("receive", "received"), ("receive", "empty"), ("send", "stored"),
            ]),
        Case(
            "many_storeUpToCapacity", 3,
            [
                ("send", "stored"), ("send", "stored"), ("free", "1"), ("send", "stored"), ("send", "full"),
                ("occupied", "3"),
            ]),
        Case(
            "send_toWaitingReceiver_storesNothing", 2,
            [
                ("receiver 1", "ok"), ("receiver 2", "ok"), ("send", "to 1"), ("send", "to 2"), ("occupied", "0"),
            ]),
        Case(
            "send_skipsStaleReceiver", 1,
            [
                ("receiver 1", "ok"), ("receiver 2", "ok"), ("stale 1", "ok"), ("send", "to 2"), ("send", "stored"),
            ]),
        Case("send_onlyStaleReceivers_stores", 1, [("receiver 1", "ok"), ("stale 1", "ok"), ("send", "stored")]),
        Case(
            "send_behindWaitingSender_isFullThoughThereIsRoom", 4,
            [
                ("sender 10", "ok"), ("send", "full"), ("free", "4"),
            ]),
        Case(
            "waitingSenders_areServedInOrder", 1,
            [
                ("send", "stored"), ("sender 1", "ok"), ("sender 2", "ok"), ("force", "none"), ("receive", "received"),
                ("force", "1"), ("force", "2"), ("force", "none"),
            ]),
        Case(
            "waitingSenders_staleOnesAreSkipped", 1,
            [
                ("sender 1", "ok"), ("sender 2", "ok"), ("sender 3", "ok"), ("stale 1", "ok"), ("stale 2", "ok"),
                ("next", "3"), ("waiting", "0 0"),
            ]),
        Case(
            "waitingReceivers_areServedInOrder", 1,
            [
                ("receiver 2", "ok"), ("receiver 1", "ok"), ("receiver 3", "ok"), ("stale 1", "ok"),
                ("nextReceiver", "2"),
                ("nextReceiver", "3"), ("nextReceiver", "none"),
            ]),
    ]

    private static let batches: [Case] = [
        Case(
            "reserve_grantsWhatIsFree", 4,
            [
                ("reserve 3", "3"), ("reserve 3", "1"), ("reserve 1", "0"), ("send", "full"), ("occupied", "4"),
            ]),
        Case("reserve_behindWaitingSender_grantsNothing", 4, [("sender 1", "ok"), ("reserve 1", "0")]),
        Case(
            "commit_keepsItsPlaces_receiveFreesThem", 2,
            [
                ("reserve 2", "2"), ("commit 2", "ok"), ("free", "0"), ("receive", "received"), ("free", "1"),
            ]),
        Case(
            "receive_whenAllRoomIsReserved_takesFromTheFirstSender", 2,
            [
                ("reserve 2", "2"), ("sender 1", "ok"), ("sender 2", "ok"), ("stale 1", "ok"), ("receive", "from 2"),
                ("receive", "empty"), ("occupied", "2"),
            ]),
        Case(
            "receive_leavesWaitingBatchWriters", 2,
            [
                ("reserve 2", "2"), ("sender 20", "ok"), ("receive", "empty"), ("waiting", "1 0"),
            ]),
        Case(
            "release_freesReservedPlaces", 4,
            [
                ("reserve 4", "4"), ("commit 1", "ok"), ("release 3", "ok"), ("free", "3"), ("send", "stored"),
            ]),
        Case(
            "taken_areCountedUntilCredited", 2,
            [
                ("send", "stored"), ("send", "stored"), ("take 2", "ok"), ("send", "full"), ("credit 1", "ok"),
                ("send", "stored"), ("send", "full"), ("credit 1", "ok"), ("free", "1"),
            ]),
        Case(
            "deliveredToBatchReader_isCountedUntilCredited", 1,
            [
                ("receiver 10", "ok"), ("send", "to 10"), ("free", "0"), ("send", "full"), ("credit 1", "ok"),
                ("free", "1"), ("send", "stored"),
            ]),
        Case(
            "waitingBatchReader_withoutRoom_getsNothing", 1,
            [
                ("reserve 1", "1"), ("receiver 10", "ok"), ("send", "full"), ("waiting", "0 1"), ("release 1", "ok"),
                ("send", "to 10"),
            ]),
        Case(
            "rendezvous_deliveredToBatchReader_isNeverCounted", 0,
            [
                ("receiver 10", "ok"), ("send", "to 10"), ("occupied", "0"), ("credit 1", "ok"), ("occupied", "0"),
            ]),
        Case(
            "batchWriter_waitsUntilHalfIsFree", 8,
            [
                ("reserve 8", "8"), ("commit 8", "ok"), ("sender 80", "ok"), ("take 8", "ok"), ("credit 3", "ok"),
                ("next", "none"), ("credit 1", "ok"), ("next", "80"), ("grant 8", "4"), ("free", "0"),
            ]),
        Case(
            "batchWriter_ofOddCapacity_waitsUntilHalfRoundedUpIsFree", 5,
            [
                ("reserve 5", "5"), ("sender 50", "ok"), ("release 2", "ok"), ("next", "none"), ("release 1", "ok"),
                ("next", "50"),
            ]),
        Case(
            "batchWriter_thatWantsLessThanHalf_waitsForThatOnly", 8,
            [
                ("reserve 8", "8"), ("sender 20", "ok"), ("release 1", "ok"), ("next", "none"), ("release 1", "ok"),
                ("next", "20"),
            ]),
        Case(
            "batchWriter_isLetInEarlyIfForced", 8,
            [
                ("reserve 8", "8"), ("sender 80", "ok"), ("release 1", "ok"), ("next", "none"), ("force", "80"),
                ("grant 8", "1"),
            ]),
        Case(
            "singleSender_doesNotWaitForHalf", 8,
            [
                ("reserve 8", "8"), ("sender 1", "ok"), ("release 1", "ok"), ("next", "1"),
            ]),
        Case(
            "returned_areStoredWhateverTheCapacity", 1,
            [
                ("send", "stored"), ("take 1", "ok"), ("credit 1", "ok"), ("send", "stored"), ("return 1", "ok"),
                ("occupied", "2"), ("free", "0"), ("receive", "received"), ("send", "full"), ("receive", "received"),
                ("send", "stored"),
            ]),
    ]

    private static let bytes: [Case] = [
        Case(
            "belowTheBound_oneLargerPasses_thenNobody", 8, bytes: 10,
            [
                ("send 4", "stored"), ("send 100", "stored"), ("send 1", "full"), ("reserve 1", "0"), ("bytes", "104"),
                ("receive 4", "received"), ("send 1", "full"), ("receive 100", "received"), ("send 1", "stored"),
            ]),
        Case(
            "atTheBound_isFull", 8, bytes: 10,
            [
                ("send 10", "stored"), ("free", "0"), ("reserve 2", "0"), ("receive 10", "received"),
                ("reserve 2", "2"),
            ]),
        Case(
            "reserved_passesTheBoundByWhatIsCommitted", 8, bytes: 10,
            [
                ("reserve 4", "4"), ("reserve 4", "4"), ("commit 4 9", "ok"), ("commit 4 9", "ok"), ("bytes", "18"),
                ("free", "0"),
            ]),
        Case(
            "taken_countUntilTheirBatchIsHandedOn", 8, bytes: 10,
            [
                ("reserve 4", "4"), ("commit 4 12", "ok"), ("take 4", "ok"), ("credit 3 0", "ok"), ("send 1", "full"),
                ("credit 1 12", "ok"), ("bytes", "0"), ("send 1", "stored"),
            ]),
        Case(
            "waitingSender_isLetInWhenBytesAreFree", 8, bytes: 10,
            [
                ("send 10", "stored"), ("sender 1", "ok"), ("sender 20", "ok"), ("force", "none"),
                ("receive 10", "received"), ("force", "1"), ("force", "20"),
            ]),
        Case(
            "deliveredToBatchReader_isCounted", 8, bytes: 10,
            [
                ("receiver 10", "ok"), ("send 12", "to 10"), ("send 1", "full"), ("credit 1 12", "ok"),
                ("send 1", "stored"),
            ]),
        Case(
            "returned_countAgain", 8, bytes: 10,
            [
                ("send 12", "stored"), ("take 1", "ok"), ("return 1 12", "ok"), ("credit 1 12", "ok"), ("bytes", "12"),
                ("drop 12", "ok"), ("bytes", "0"),
            ]),
        Case(
            "ofARendezvous_noneAreCounted", 0, bytes: 10,
            [
                ("receiver 10", "ok"), ("send 100", "to 10"), ("bytes", "0"), ("credit 1 100", "ok"), ("bytes", "0"),
            ]),
    ]

    private static let ends: [Case] = [
        Case("close_isTrueOnce", 1, [("close", "yes"), ("close", "no")]),
        Case(
            "close_refusesSenders_keepsWhatIsStored", 2,
            [
                ("send", "stored"), ("close", "yes"), ("send", "closed"), ("reserve 1", "0"), ("receive", "received"),
                ("receive", "closed"),
            ]),
        Case("closeReading_refusesBoth", 2, [("closeReading", "ok"), ("send", "closed"), ("receive", "closed")]),
        Case("close_afterCloseReading_isFalse", 2, [("closeReading", "ok"), ("close", "no")]),
        Case("close_ofRendezvous_endsBoth", 0, [("close", "yes"), ("send", "closed"), ("receive", "closed")]),
        Case(
            "stale_areTakenOutWhenHalfMayBe", 1,
            [
                ("sender 1", "ok"), ("sender 2", "ok"), ("receiver 3", "ok"), ("stale 1", "ok"), ("purge 16", "ok"),
                ("waiting", "2 1"), ("purge 1", "ok"), ("waiting", "1 1"),
            ]),
    ]

    @Test(arguments: single + batches + bytes + ends + policies + requests)
    func table(_ test: Case) {
        var table = ChannelTable(test.capacity, bytes: test.bytes, overflow: test.overflow)
        for (line, answer) in test.lines {
            let got = table.run(line)
            #expect(got == answer, "\(test.name): \(line)")
        }
    }
}

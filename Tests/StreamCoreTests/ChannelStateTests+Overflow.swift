// The channel's decisions where a queue is full and does not make its senders wait, and where its reader requests.
@testable import StreamCore

extension ChannelStateTests {
    static let policies: [Case] = [
        Case(
            "dropNewest_full_dropsWhatComes_untilThereIsRoom", 2, overflow: .dropNewest,
            [
                ("send", "stored"), ("send", "stored"), ("send", "drop"), ("send", "drop"), ("occupied", "2"),
                ("receive", "received"), ("send", "stored"), ("send", "drop"),
            ]),
        Case(
            "dropNewest_ofARendezvous_passesOnlyToThoseWhoWait", 0, overflow: .dropNewest,
            [
                ("send", "drop"), ("receiver 1", "ok"), ("send", "to 1"), ("send", "drop"), ("receiver 10", "ok"),
                ("send", "to 10"), ("credit 1", "ok"), ("occupied", "0"), ("send", "drop"),
            ]),
        Case(
            "dropOldest_full_asksForTheFirstStored_thenStores", 2, overflow: .dropOldest,
            [
                ("send", "stored"), ("send", "stored"), ("send", "evict"), ("evicted 1", "ok"), ("send", "stored"),
                ("occupied", "2"), ("send", "evict"), ("evicted 1", "ok"), ("send", "stored"), ("close", "yes"),
                ("send", "closed"), ("receive", "received"), ("receive", "received"), ("receive", "closed"),
            ]),
        Case(
            "dropOldest_beyondTheBytes_makesRoomInBytes_orPassesAlone", 8, bytes: 10, overflow: .dropOldest,
            [
                ("send 4", "stored"), ("send 6", "stored"), ("send 3", "evict"), ("evicted 4", "ok"),
                ("send 3", "stored"), ("bytes", "9"), ("send 99", "stored"), ("send 1", "evict"), ("evicted 6", "ok"),
                ("send 1", "evict"), ("evicted 3", "ok"), ("send 1", "evict"), ("evicted 99", "ok"),
                ("send 1", "stored"), ("bytes", "1"),
            ]),
        Case(
            "latest_keepsOne", 1, overflow: .latest,
            [("send", "stored"), ("send", "evict"), ("evicted 1", "ok"), ("send", "stored"), ("send", "evict")]),
        Case(
            "fail_full_fails_andGoesOnWhenThereIsRoom", 1, overflow: .fail,
            [("send", "stored"), ("send", "fail"), ("receive", "received"), ("send", "stored")]),
        Case(
            "timeout_full_waits_andIsServedInOrder", 1, overflow: .timeout,
            [
                ("send", "stored"), ("send", "full"), ("sender 1", "ok"), ("sender 2", "ok"), ("stale 1", "ok"),
                ("take 1", "ok"), ("force", "2"),
            ]),
        Case(
            "whatABatchReaderTook_makesRoomAtOnce", 1, overflow: .dropNewest,
            [
                ("send", "stored"), ("take 1", "ok"), ("occupied", "0"), ("bytes", "0"), ("send", "stored"),
                ("credit 1 1", "ok"), ("occupied", "1"), ("bytes", "1"), ("send", "drop"),
            ]),
        Case(
            "waitingBatchReader_getsWhatComes_andItIsNotCounted", 1, overflow: .dropOldest,
            [
                ("receiver 10", "ok"), ("send", "to 10"), ("occupied", "0"), ("send", "stored"), ("credit 1 1", "ok"),
                ("occupied", "1"), ("bytes", "1"), ("send", "evict"),
            ]),
    ]

    static let requests: [Case] = [
        Case(
            "held_letsNobodyIn_untilOpened", 4,
            [
                ("hold", "ok"), ("free", "0"), ("send", "full"), ("reserve 2", "0"), ("open", "ok"), ("free", "4"),
                ("send", "stored"),
            ]),
        Case(
            "requested_isTheMostThatComesIn", 4,
            [
                ("hold", "ok"), ("request 3", "ok"), ("reserve 2", "2"), ("commit 2", "ok"), ("send", "stored"),
                ("send", "full"), ("take 3", "ok"), ("credit 3", "ok"), ("send", "full"), ("free", "0"),
                ("request 1", "ok"), ("send", "stored"), ("send", "full"),
            ]),
        Case(
            "requestedBeyondTheCapacity_isBoundByBoth", 2,
            [
                ("hold", "ok"), ("request 3", "ok"), ("reserve 9", "2"), ("commit 2", "ok"), ("take 2", "ok"),
                ("credit 2", "ok"), ("reserve 9", "1"), ("commit 1", "ok"), ("take 1", "ok"), ("credit 1", "ok"),
                ("reserve 9", "0"),
            ]),
        Case(
            "roomThatWasReservedAndNotUsed_canBeReservedAgain", 4,
            [("hold", "ok"), ("request 2", "ok"), ("reserve 2", "2"), ("release 2", "ok"), ("reserve 4", "2")]),
        Case(
            "openAfterARequest_changesNothing", 4,
            [("hold", "ok"), ("request 1", "ok"), ("open", "ok"), ("send", "stored"), ("send", "full")]),
        Case(
            "firstRequestLater_countsWhatIsThere", 4,
            [
                ("hold", "ok"), ("open", "ok"), ("send", "stored"), ("send", "stored"), ("request 3", "ok"),
                ("send", "stored"), ("send", "full"), ("receive", "received"), ("send", "full"),
            ]),
        Case(
            "waitingReceiver_getsOnlyWhatWasRequested", 4,
            [
                ("hold", "ok"), ("request 1", "ok"), ("receiver 1", "ok"), ("send", "to 1"), ("receiver 2", "ok"),
                ("send", "full"), ("request 1", "ok"), ("send", "to 2"), ("send", "full"),
            ]),
        Case(
            "waitingSender_isLetInByARequest", 4,
            [
                ("hold", "ok"), ("sender 1", "ok"), ("sender 20", "ok"), ("force", "none"), ("receive", "empty"),
                ("request 1", "ok"), ("force", "1"),
            ]),
        Case(
            "requestsThatAreHuge_meanAll", 4,
            [
                ("hold", "ok"), ("request 9223372036854775807", "ok"), ("request 9223372036854775807", "ok"),
                ("free", "4"), ("reserve 4", "4"), ("commit 4", "ok"), ("take 4", "ok"), ("credit 4", "ok"),
                ("reserve 4", "4"),
            ]),
    ]
}

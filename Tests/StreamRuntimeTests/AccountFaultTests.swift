// The check of a pipeline's account, which has to find bugs of the host's own: some are planted.
import Schedules
import StreamRuntime
import Testing

@Suite struct AccountFaultTests {
    @Test(arguments: Families.plantedInAccounts.indices) func plantedBug_isFound_andThePlaceNamed(_ index: Int) {
        let bug = Families.plantedInAccounts[index]
        let found = (UInt64(1)...20).count { bug.isFound($0) }
        #expect(found > 0, "\(bug.name): found under \(found) of 20 seeds")
    }

    @Test(arguments: Families.accountCases.indices) func accounts_areTheExpectedOnes(_ index: Int) {
        let test = Families.accountCases[index]
        for seed in UInt64(1)...10 {
            let outcome = runSeeded(test.script, seed: seed)
            #expect(test.problem(outcome) == nil, "\(test.name): \(outcome.summary)")
        }
    }

    @Test func balance_isSeen_byEachSide() {
        var account = Account()
        account.created = 7
        account.delivered = 1
        account.consumed = 1
        account.filtered = 1
        account.failed = 1
        account.deadLettered = 1
        account.returned = 1
        #expect(!account.isBalanced)
        account.drop(1, DropReason.ended)
        #expect(account.isBalanced && account.dropped == 1)
        account.drop(1, DropReason.limited)
        #expect(!account.isBalanced && account.drops == ["ended": 1, "limited": 1])
    }
}

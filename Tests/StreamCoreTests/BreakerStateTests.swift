// A circuit breaker's decisions, as tables.
import StreamCore
import Testing

@Suite struct BreakerStateTests {
    private enum Step {
        case ask(Int64, Bool)
        /// The call that was let through as number n, from 0 on, has ended.
        case report(Int64, Int, Bool)
        case giveUp(Int)
        case phase(Int64, BreakerState.Phase)
        case reset
    }

    private func run(_ spec: BreakerSpec, _ steps: [Step]) {
        var state = BreakerState(spec)
        var tickets: [BreakerState.Ticket] = []
        for (index, step) in steps.enumerated() {
            switch step {
            case .ask(let now, let passes):
                let ticket = state.ask(now)
                #expect((ticket != nil) == passes, "step \(index)")
                if let ticket { tickets.append(ticket) }
            case .report(let now, let number, let ok): state.report(tickets[number], ok: ok, now)
            case .giveUp(let number): state.giveUp(tickets[number])
            case .phase(let now, let phase): #expect(state.phase(now) == phase, "step \(index)")
            case .reset: state.reset()
            }
        }
    }

    private let spec = BreakerSpec(failures: 2, window: 10, reset: 30)

    @Test func failuresWithinTheWindow_openIt() {
        run(
            spec,
            [
                .ask(0, true), .ask(0, true), .ask(0, true), .report(0, 0, false), .phase(9, .closed),
                .report(9, 1, false), .phase(9, .open), .ask(9, false), .ask(38, false), .phase(39, .halfOpen),
            ])
    }

    @Test func failuresFurtherApart_doNot_andSuccessesForgetNone() {
        run(
            spec,
            [
                .ask(0, true), .report(0, 0, false), .ask(1, true), .report(10, 1, false), .phase(10, .closed),
                .ask(11, true), .report(11, 2, true), .ask(12, true), .report(19, 3, false), .phase(19, .open),
            ])
    }

    @Test func halfOpen_letsOneProbeThrough_whoseResultDecides() {
        let opened: [Step] = [.ask(0, true), .ask(0, true), .report(0, 0, false), .report(0, 1, false)]
        run(spec, opened + [.ask(30, true), .ask(31, false), .report(32, 2, true), .phase(32, .closed)])
        run(
            spec,
            opened + [
                .ask(30, true), .report(32, 2, false), .phase(32, .open), .ask(61, false), .ask(62, true),
                .report(63, 3, true), .phase(63, .closed),
            ])
    }

    @Test func severalProbes_allMustSucceed() {
        let spec = BreakerSpec(failures: 1, window: 10, reset: 30, probes: 2)
        let opened: [Step] = [.ask(0, true), .report(0, 0, false), .ask(30, true), .ask(30, true), .ask(30, false)]
        run(spec, opened + [.report(31, 1, true), .ask(31, false), .report(32, 2, true), .phase(32, .closed)])
        run(spec, opened + [.report(31, 1, true), .report(32, 2, false), .phase(32, .open)])
    }

    @Test func probeThatIsGivenUp_orNeverReported_makesRoom() {
        let opened: [Step] = [.ask(0, true), .ask(0, true), .report(0, 0, false), .report(0, 1, false)]
        run(spec, opened + [.ask(30, true), .giveUp(2), .ask(31, true), .report(32, 3, true), .phase(32, .closed)])
        run(
            spec,
            opened + [.ask(30, true), .ask(59, false), .ask(60, true), .report(60, 2, false), .phase(60, .halfOpen)])
    }

    @Test func resultsOfAnEarlierState_countNoMore() {
        run(
            spec,
            [
                .ask(0, true), .ask(0, true), .ask(0, true), .ask(0, true), .report(0, 0, false),
                .report(0, 1, false), .phase(30, .halfOpen), .report(30, 2, true), .report(30, 3, false),
                .phase(30, .halfOpen), .reset, .phase(30, .closed), .ask(30, true), .report(31, 4, false),
                .phase(31, .closed),
            ])
    }
}

// One program of pipelines with faults put into it, and what it left behind.
import LuaVM
import StdlibLua
import StreamCore
import StreamRuntime
import Synchronization

/// Runs the program that a seed draws, with faults at the places that the seed draws. What became of each value is
/// compared with an account of its own: see FaultChecks.
package final class FaultRun {
    package private(set) var trace: UInt64 = 0
    package internal(set) var failures: [String] = []
    package let script: String
    let plan: FaultPlan
    let ledger: FaultLedger
    private let seed: UInt64
    private let planted: RunFault?
    /// Names of the workers that a strike was aimed at, but for preemptions.
    private(set) var struck: [String] = []
    /// A worker's memory was filled.
    private(set) var hasFilled = false
    /// The whole run was told to end.
    private(set) var isDrained = false, isCancelled = false
    private let errors = TextRecorder()
    package var log: [String] { errors.lines }

    package init(seed: UInt64, planted: RunFault? = nil, tells: Bool = false) {
        self.seed = seed
        self.planted = planted
        plan = FaultPlan(seed: seed)
        ledger = FaultLedger(plan)
        var writer = FaultScript(plan, tells: tells)
        script = writer.write()
    }

    package func run() {
        let life = SeededLife(seed: seed, start: start, drive: drive)
        trace = life.trace
        failures += life.leftovers
        guard ledger.book.withLock({ $0.result != nil }) else { return failures.append("it does not end") }
        check()
        failures += life.unreleased(patience: 20_000)
    }

    private func start(_ scheduler: SeededScheduler) -> Run {
        let ledger = ledger, plan = plan
        @Sendable func pipeline(_ kind: String) throws(ConnectorError) -> FaultPipeline {
            guard let found = plan.pipelines.first(where: { $0.id == kind }) else {
                throw ConnectorError("there is no '\(kind)'")
            }
            return found
        }
        var environment = RunEnvironment(
            scriptPath: "script.lua", script: Array(script.utf8), output: TextRecorder(), errors: errors,
            makeSource: { [unowned scheduler] options throws(ConnectorError) in
                FaultSource(try pipeline(options.kind), ledger, scheduler)
            },
            makeSink: { [unowned scheduler] options throws(ConnectorError) in
                FaultSink(try pipeline(options.kind), ledger, scheduler)
            },
            library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
        environment.functions = ledger.functions
        environment.sourceNames = Set(plan.pipelines.map(\.id))
        environment.sinkNames = environment.sourceNames
        environment.onStop = { stopped in
            guard stopped.limit != nil else { return }
            ledger.book.withLock { $0.stopped.append(stopped.name) }
        }
        environment.planted = planted
        return Run(scheduler: scheduler, environment: environment) { end in
            ledger.book.withLock { $0.result = end }
        }
    }

    private func drive(_ scheduler: SeededScheduler, _ run: Run) {
        run.start()
        let hasEnded = { [ledger] in ledger.book.withLock { $0.result != nil } }
        var steps: [(step: Int, strike: FaultStrike)] = []
        for strike in plan.strikes {
            switch strike {
            case .act: break
            case .stop(let step, _, _, _, _), .drain(let step), .cancel(let step), .stopComputing(let step):
                steps.append((step, strike))
            }
        }
        for (step, strike) in steps.sorted(by: { $0.step < $1.step }) {
            scheduler.run(limit: max(0, step - scheduler.steps), until: hasEnded)
            if hasEnded() { break }
            apply(strike, run)
        }
        scheduler.run(limit: 300_000, until: hasEnded)
        if hasEnded() { scheduler.run(limit: 100_000) }
    }

    private func apply(_ strike: FaultStrike, _ run: Run) {
        switch strike {
        case .act: break
        case .stop(_, let choice, let kind, let instructions, let reach):
            guard let kind = LuaStrike(rawValue: Int32(kind)),
                let name = run.strike(choice, kind, after: instructions, among: reach)
            else { return }
            if kind != .preempt { struck.append(name) }
            if kind == .memory && reach == .stages { hasFilled = true }
            ledger.fire("\(kind) after \(instructions) instructions of \(name)", harms: nil)
        case .drain:
            isDrained = true
            ledger.fire("drain", harms: nil)
            run.drain()
        case .cancel:
            isCancelled = true
            ledger.fire("cancel", harms: nil)
            run.cancel()
        case .stopComputing:
            isCancelled = true
            ledger.fire("stop", harms: nil)
            run.stopComputing()
            run.cancel()
        }
    }
}

// Random trees of contexts under the seeded scheduler, against a model that knows nothing of lists.
import StreamCore

/// Several parties that make contexts, end them, listen to them and let go of them, in an order that the seed decides. The
/// model marks by plain recursion over parents what must have ended, and why.
package final class ContextRun: @unchecked Sendable {  // one thread
    package let scheduler: SeededScheduler
    private let fault: ContextFault?
    private var random: SplitMix64
    private var entries: [Entry] = []
    package private(set) var problems: [String] = []

    private final class Entry {
        let context: Context
        let parents: [Entry]
        let deadline: Int64
        var end: (reason: Reason, cause: String)?
        var ears: [Ear] = []
        init(_ context: Context, _ parents: [Entry], _ deadline: Int64) {
            self.context = context
            self.parents = parents
            self.deadline = deadline
        }
    }

    private final class Ear: ContextListener {
        var told: [Reason] = []
        var isRemoved = false, wasRefused = false
        func contextEnded(_ reason: Reason) { told.append(reason) }
    }

    private final class Party: Job, @unchecked Sendable {  // one thread
        let run: ContextRun
        var left = 12
        init(_ run: ContextRun) {
            self.run = run
            super.init(scheduler: run.scheduler)
        }
        override func work() -> Outcome {
            if left == 0 { return .park }
            left -= 1
            run.step()
            if run.random.next() % 3 > 0 { return .again }
            let wait = Int64(run.random.next() % 4)
            scheduler.arm(Timer(deadline: scheduler.now + wait) { [self] in wake() })
            return .park
        }
    }

    package init(seed: UInt64, fault: ContextFault? = nil) {
        scheduler = SeededScheduler(seed: seed)
        self.fault = fault
        random = SplitMix64(seed: seed &* 31)
    }

    package func run() {
        _ = add([], deadline: nil)
        let parties = (0..<3).map { _ in Party(self) }
        for party in parties { party.wake() }
        scheduler.run()
        check()
        while let entry = entries.popLast() {  // in any order nobody is left and no timer
            entries.shuffle(using: &random)
            _ = entry
        }
        if scheduler.armedTimers != 0 { problems.append("\(scheduler.armedTimers) timers are left") }
    }

    private func pick() -> Entry { entries[Int(random.next() % UInt64(entries.count))] }

    private func add(_ parents: [Entry], deadline: Int64?) -> Entry {
        let context =
            parents.count <= 1
            ? Context(scheduler: scheduler, parent: parents.first?.context, deadline: deadline, fault: fault)
            : Context(scheduler: scheduler, parents: parents.map(\.context), deadline: deadline)
        let entry = Entry(context, parents, deadline ?? .max)
        entries.append(entry)
        update()
        return entry
    }

    private func step() {
        update()
        switch random.next() % 10 {
        case 0...2:
            let count = random.next() % 4 == 0 ? 2 + Int(random.next() % 2) : 1
            let deadline = random.next() % 2 == 0 ? nil : scheduler.now + Int64(random.next() % 6)
            _ = add((0..<count).map { _ in pick() }, deadline: deadline)
        case 3:
            let entry = pick(), cause = "cancel \(random.next() % 1000)", hadEnded = entry.end != nil
            let ended = entry.context.cancel(.canceled, cause: cause)
            if ended == hadEnded { problems.append(hadEnded ? "a context ended twice" : "a cancel did nothing") }
            if !hadEnded { entry.end = (.canceled, cause) }
            update()
        case 4...6:
            let entry = pick(), ear = Ear()
            ear.wasRefused = !entry.context.add(ear)
            if ear.wasRefused != (entry.end != nil) { problems.append("a listener was refused, or not, and wrongly") }
            entry.ears.append(ear)
        case 7:
            let entry = pick()
            guard let ear = entry.ears.first(where: { !$0.isRemoved }) else { return }
            entry.context.remove(ear)
            ear.isRemoved = ear.told.isEmpty
        default: check()
        }
    }

    /// What the parents' ends and the clock have ended.
    private func update() {
        var changes = true
        while changes {
            changes = false
            for entry in entries where entry.end == nil {
                if let end = entry.parents.lazy.compactMap(\.end).first {
                    entry.end = end
                    changes = true
                } else if entry.deadline <= scheduler.now {
                    entry.end = (.deadlineExceeded, "deadline exceeded")
                    changes = true
                }
            }
        }
    }

    private func check() {
        update()
        for entry in entries {
            if entry.context.reason != entry.end?.reason || entry.context.cause != entry.end?.cause {
                problems.append(
                    "a context ended with \(String(describing: entry.context.cause)), "
                        + "expected \(String(describing: entry.end?.cause))")
            }
            for ear in entry.ears {
                let expected = ear.isRemoved || ear.wasRefused ? [] : entry.end.map { [$0.reason] } ?? []
                if ear.told != expected { problems.append("a listener was told \(ear.told), expected \(expected)") }
            }
        }
    }
}

// The account that a test of faults keeps for itself: what was seen of each value at each place.
import StreamCore
import StreamRuntime
import Synchronization

/// Filled by the script's functions, its sources and its sinks; all on the one thread of a seed.
final class FaultLedger: Sendable {
    struct Book {
        /// By what happened, then by pipeline or stage, then by the value's number: how often.
        var seen: [String: [String: [Int: Int]]] = [:]
        /// What came to an end, in order.
        var arrivals: [String: [Int]] = [:]
        /// Whole messages that came there.
        var messages: [String: Int] = [:]
        /// What the pipelines say of themselves.
        var stats: [String: [String: Int]] = [:]
        var outcomes: [String: String] = [:]
        /// Calls of each place so far.
        var calls: [String: Int] = [:]
        var result: RunResult?
        /// Pipelines that something was done to, and all that was.
        var harmed: Set<String> = []
        var fired: [String] = []
        /// Names of workers that were stopped for a limit.
        var stopped: [String] = []
        /// Texts, in order: what happened to stages with parts.
        var notes: [String] = []
        /// Raised for a value, and a policy of the stage says what follows.
        var judged: [String: Int] = [:]
    }
    let book = Mutex(Book())
    private let plan: [String: [(call: Int, code: Int)]]
    private let skipping: Set<String>
    private let processes: Set<String>

    init(_ plan: FaultPlan) {
        var acts: [String: [(call: Int, code: Int)]] = [:]
        for case .act(let point, let call, let code) in plan.strikes { acts[point, default: []].append((call, code)) }
        self.plan = acts
        processes = Set(plan.pipelines.flatMap(\.stages).filter { $0.kind == .process }.map(\.name))
        skipping = Set(plan.pipelines.filter(\.skipsErrors).map(\.id))
    }

    func note(_ what: String, _ place: String, _ id: Int) {
        book.withLock { $0.seen[what, default: [:]][place, default: [:]][id, default: 0] += 1 }
    }

    func arrive(_ place: String, _ id: Int) { book.withLock { $0.arrivals[place, default: []].append(id) } }
    func count(_ place: String) { book.withLock { $0.messages[place, default: 0] += 1 } }

    func fire(_ what: String, harms pipeline: String?) {
        book.withLock {
            $0.fired.append(what)
            if let pipeline { $0.harmed.insert(pipeline) }
        }
    }

    /// The pipeline that a place belongs to: `p1` of `p1s2key`.
    static func pipeline(of place: String) -> String { String(place.prefix { $0 == "p" || $0.isNumber }) }

    /// A function of the script was called with a value: what is it to do?
    func act(_ point: String, _ id: Int) -> Int {
        book.withLock { book in
            let call = (book.calls[point] ?? 0) + 1
            book.calls[point] = call
            guard let code = plan[point]?.first(where: { $0.call == call })?.code else { return 0 }
            let own = Self.pipeline(of: point)
            book.fired.append("\(point) call \(call) of \(id): \(code)")
            switch code {
            case 1, 3, 4:
                if point.hasSuffix("teardown") {
                    // logged
                } else if point.hasSuffix("setup") || point.hasSuffix("flush") || point.hasSuffix("sink")
                    || point.hasSuffix("gen") || processes.contains(point) || !skipping.contains(own)
                {
                    book.harmed.insert(own)
                }
                if id >= 0 { book.seen["raised", default: [:]][point, default: [:]][id, default: 0] += 1 }
            case 100...: book.harmed.insert("p\(code - 99)")
            default: break
            }
            return code
        }
    }

    // MARK: For scripts

    var functions: [String: HostFunction] {
        @Sendable func text(_ value: HostValue?) -> String { if case .string(let text)? = value { text } else { "" } }
        @Sendable func number(_ value: HostValue?) -> Int {
            if case .integer(let number)? = value { Int(number) } else { -1 }
        }
        return [
            "act": { [self] in .integer(Int64(act(text($0[0]), number($0[1])))) },
            "note": { [self] in
                note(text($0[0]), text($0[1]), number($0[2]))
                return .null
            },
            "sunk": { [self] arguments in
                arrive(text(arguments[0]), number(arguments[1]))
                return .null
            },
            "message": { [self] in
                count(text($0[0]))
                return .null
            },
            "stat": { [self] arguments in
                book.withLock { $0.stats[text(arguments[0]), default: [:]][text(arguments[1])] = number(arguments[2]) }
                return .null
            },
            "outcome": { [self] arguments in
                book.withLock { $0.outcomes[text(arguments[0])] = text(arguments[1]) }
                return .null
            },
            "say": { [self] arguments in
                book.withLock { $0.notes.append(text(arguments[0])) }
                return .null
            },
        ]
    }
}

// One run of a script in which memory is refused at a chosen place.
import CLuaShim
import StdlibLua
import StreamCore
import StreamRuntime
import Synchronization

/// Which growth of Lua's memory is refused, counted over all states of a run from where the script prints GO.
struct Failure {
    enum Kind: String, CaseIterable {
        /// Once: Lua collects and tries again.
        case collect
        /// Twice: Lua raises.
        case lua
        /// And all that follow.
        case end

        var count: UInt64 {
            switch self {
            case .collect: 1
            case .lua: 2
            case .end: .max
            }
        }
    }
    var kind = Kind.lua
    /// 0: none.
    var number: UInt64 = 0
}

/// Standard output of a run: keeps the lines, and arms the failure at GO.
private final class Marked: TextOutput {
    private let bytes = Mutex<[UInt8]>([])
    private let failure: Failure
    init(_ failure: Failure) { self.failure = failure }
    func enqueue(_ more: UnsafeRawBufferPointer) {
        if more.elementsEqual("GO\n".utf8) { shim_failures_set(failure.number, failure.kind.count) }
        if more.elementsEqual("STOP\n".utf8) {
            growths.withLock { $0 = shim_failures_growths() }
            shim_failures_set(0, 0)
        }
        bytes.withLock { $0.append(contentsOf: more) }
    }
    var pendingBytes: Int { 0 }
    func whenDrained(below: Int, _ body: @escaping @Sendable () -> Void) { body() }
    let growths = Mutex<UInt64>(0)
    var lines: [String] {
        bytes.withLock { String(decoding: $0, as: UTF8.self) }.split(separator: "\n").map(String.init)
    }
}

/// A sink that throws nothing and keeps nothing.
private final class Sink: HostSink {
    func open() throws(ConnectorError) {}
    func write(_ message: MessagePointer) throws(ConnectorError) {}
    func flush() throws(ConnectorError) {}
    func close() throws(ConnectorError) {}
    func cancel() {}
}

private final class End: Sendable {
    let result = Mutex<RunResult?>(nil)
    var isOver: Bool { result.withLock { $0 != nil } }
}

struct SweepOutcome {
    /// Nil: it did not end.
    let result: RunResult?
    let output: [String]
    let growths: UInt64
}

func run(_ script: String, _ failure: Failure, seed: UInt64 = 1) -> SweepOutcome {
    let scheduler = SeededScheduler(seed: seed)
    let output = Marked(failure), errors = Marked(failure)
    var environment = RunEnvironment(
        scriptPath: "script.lua", script: Array(script.utf8), output: output, errors: errors,
        makeSource: { options throws(ConnectorError) in throw ConnectorError("there is no source '\(options.kind)'") },
        makeSink: { _ throws(ConnectorError) in Sink() }, library: { StdlibLua.source($0) },
        readModule: {
            $0 == "helper" ? ("helper.lua", Array("return { double = function(v) return 2 * v end }".utf8)) : nil
        },
        wall: { 0 })
    environment.functions["echo"] = { $0.first ?? .null }
    let end = End()
    shim_failures_set(0, 0)
    do {
        let run = Run(scheduler: scheduler, environment: environment) { result in end.result.withLock { $0 = result } }
        run.start()
        scheduler.run(limit: 400_000, until: { end.isOver })
        if end.isOver { scheduler.run(limit: 400_000) }  // the workers close
    }
    shim_failures_set(0, 0)
    return SweepOutcome(
        result: end.result.withLock { $0 }, output: output.lines, growths: output.growths.withLock { $0 })
}

// Runs whole scripts under the seeded scheduler: one thread, a virtual clock, an order that the seed decides.
import StdlibLua
import StreamCore
import StreamRuntime
import Synchronization

/// Text that a run writes, kept.
package final class TextRecorder: TextOutput {
    private let bytes = Mutex<[UInt8]>([])
    package init() {}
    package func enqueue(_ more: UnsafeRawBufferPointer) { bytes.withLock { $0.append(contentsOf: more) } }
    package var pendingBytes: Int { 0 }
    package func whenDrained(below: Int, _ body: @escaping @Sendable () -> Void) { body() }
    package var lines: [String] {
        bytes.withLock { String(decoding: $0, as: UTF8.self) }.split(separator: "\n").map(String.init)
    }
}

/// What came of one script and one seed.
package struct SeededOutcome: Sendable {
    package let seed: UInt64
    /// Nil: it did not end.
    package let result: RunResult?
    package let output: [String]
    package let errors: [String]
    package let trace: UInt64
    package let steps: Int

    package var summary: String {
        "seed \(seed): \(result.map { "\($0)" } ?? "no end after \(steps) steps"), output \(output), errors \(errors)"
    }
}

/// - Parameter fault: a bug planted in the pipelines' accounts.
package func runSeeded(
    _ script: String, seed: UInt64, limit: Int = 200_000, fault: RunFault? = nil
) -> SeededOutcome {
    let scheduler = SeededScheduler(seed: seed)
    let output = TextRecorder(), errors = TextRecorder()
    var environment = RunEnvironment(
        scriptPath: "script.lua", script: Array(script.utf8), output: output, errors: errors,
        makeSource: { options throws(ConnectorError) in throw ConnectorError("there is no source '\(options.kind)'") },
        makeSink: { options throws(ConnectorError) in throw ConnectorError("there is no sink '\(options.kind)'") },
        library: { StdlibLua.source($0) }, readModule: { _ in nil }, wall: { 0 })
    environment.planted = fault
    let result = Mutex<RunResult?>(nil)
    let box = Box(result)
    let run = Run(scheduler: scheduler, environment: environment) { end in box.value.withLock { $0 = end } }
    run.start()
    let hasEnded = { box.value.withLock { $0 != nil } }
    scheduler.run(limit: limit, until: hasEnded)
    if hasEnded() { scheduler.run(limit: limit) }  // the workers close
    return SeededOutcome(
        seed: seed, result: box.value.withLock { $0 }, output: output.lines, errors: errors.lines,
        trace: scheduler.trace, steps: scheduler.steps)
}

private final class Box: Sendable {
    let value: Mutex<RunResult?>
    init(_ value: consuming Mutex<RunResult?>) { self.value = value }
}

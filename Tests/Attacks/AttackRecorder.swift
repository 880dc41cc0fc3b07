// What a run printed, and when what matters was printed.
import AttackMeter
import StreamRuntime
import Synchronization

/// Keeps the first lines and those of the script around the attack, and of each no more than is read: an attack may print
/// without end. Takes all at once, so that whoever prints never waits.
package final class AttackRecorder: TextOutput {
    private static let longest = 400, first = 200

    private struct State {
        var lines: [String] = []
        /// Of the first line that begins so.
        var times: [String: Int64] = [:]
    }

    private let state = Mutex(State())
    private let marks: [String]

    package init(marks: [String]) { self.marks = marks }

    package func enqueue(_ bytes: UnsafeRawBufferPointer) {
        let now = attack_now()
        state.withLock { state in
            for line in bytes.split(separator: 10) {
                let text = String(decoding: UnsafeRawBufferPointer(rebasing: line.prefix(Self.longest)), as: UTF8.self)
                let mark = marks.first { text.hasPrefix($0) }
                if let mark, state.times[mark] == nil { state.times[mark] = now }
                if mark != nil || state.lines.count < Self.first { state.lines.append(text) }
            }
        }
    }

    package var pendingBytes: Int { 0 }
    package func whenDrained(below: Int, _ body: @escaping @Sendable () -> Void) { body() }

    package var lines: [String] { state.withLock { $0.lines } }
    package func time(of mark: String) -> Int64? { state.withLock { $0.times[mark] } }
}

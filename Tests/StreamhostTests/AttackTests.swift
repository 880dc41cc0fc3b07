// The attack corpus in the release binary: see Tests/Attacks.
import Foundation
import Testing

@Suite(.serialized) struct AttackTests {
    /// The binary that STREAMHOST_ATTACKS names, or the one that `swift build -c release` leaves.
    private static let binary: URL = {
        if let path = ProcessInfo.processInfo.environment["STREAMHOST_ATTACKS"] { return URL(fileURLWithPath: path) }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return root.deletingLastPathComponent().appendingPathComponent(".build/release/run-attacks")
    }()

    private func run(_ arguments: [String]) throws -> Outcome {
        try #require(
            FileManager.default.isExecutableFile(atPath: Self.binary.path),
            "build it with: swift build -c release --product run-attacks")
        let running = try Running(arguments, binary: Self.binary)
        running.feed(Data())
        return running.finish(within: 240)
    }

    /// In one process: each is stopped or refused as it must be, the other pipeline gets all its values, memory returns.
    @Test func everyAttack_isContained_andTheOthersGoOn() throws {
        let outcome = try run([])
        let summary = outcome.lines.last ?? ""
        print(summary)
        let failures = outcome.lines.filter { $0.hasPrefix("FAILED") || $0.hasPrefix("     ") }
        #expect(outcome.status == 0, "\(failures.joined(separator: "\n"))\n\(outcome.errors.suffix(2000))")
        let numbers = summary.split { !$0.isNumber }.compactMap { Int($0) }
        try #require(numbers.count == 4, "\(outcome.output.suffix(2000))")
        #expect(numbers[0] >= 60 && numbers[1] >= 20 && numbers[2] == 0 && numbers[3] == 0)
    }

    /// An attack that ended without its limit too would prove nothing.
    @Test func everyAttackWithoutItsLimit_stillRunsAfterTwoSeconds() throws {
        let outcome = try run(["--twins"])
        let summary = outcome.lines.last ?? ""
        print(summary)
        let numbers = summary.split { !$0.isNumber }.compactMap { Int($0) }
        #expect(outcome.status == 0, "\(outcome.output.suffix(4000))\n\(outcome.errors.suffix(2000))")
        try #require(numbers.count == 2, "\(outcome.output.suffix(2000))")
        #expect(numbers[0] >= 60 && numbers[1] == 0)
    }
}

// The schedules of the release binary: see Tests/Schedules.
import Foundation
import Testing

@Suite struct ScheduleTests {
    /// The binary that STREAMHOST_SCHEDULES names, or the one that `swift build -c release` leaves.
    private static let binary: URL = {
        if let path = ProcessInfo.processInfo.environment["STREAMHOST_SCHEDULES"] { return URL(fileURLWithPath: path) }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return root.deletingLastPathComponent().appendingPathComponent(".build/release/run-schedules")
    }()

    @Test func tenThousandSchedules_areDistinct_keepTheAccounts_andFindEachPlantedBug() throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Self.binary.path),
            "build it with: swift build -c release --product run-schedules")
        let running = try Running(["--seeds", "100"], binary: Self.binary)
        running.feed(Data())
        let outcome = running.finish(within: 240)
        let summary = outcome.lines.last ?? ""
        print(summary)
        #expect(outcome.status == 0, "\(outcome.lines.filter { !$0.hasPrefix("ok") }.joined(separator: "\n"))")
        let numbers = summary.split { !$0.isNumber }.compactMap { Int($0) }
        try #require(numbers.count >= 5, "\(outcome.output.suffix(2000)) \(outcome.errors)")
        #expect(numbers[0] >= 10_000 && 2 * numbers[1] >= numbers[0] && numbers[2] == 0)
        #expect(numbers[3] > 0 && numbers[4] == 0)
    }
}

// The library functions of our own give what Lua's give: compared with the program lua5.4, which scripts/test installs.
import Foundation
import Testing

@testable import LuaVM

@Suite struct BoundedDifferenceTests {
    /// What Lua's own program prints; its chunk is named as ours.
    private static func stock(_ script: String) throws -> [Substring] {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try script.write(to: folder.appendingPathComponent("t"), atomically: false, encoding: .utf8)
        let process = Process(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["lua5.4", "t"]
        process.currentDirectoryURL = folder
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "lua5.4 (Debian's package) is needed: scripts/test installs it")
        return lines(String(decoding: bytes, as: UTF8.self))
    }

    private static func lines(_ text: String) -> [Substring] { text.split(separator: "\n") }

    private static func ours(_ state: TestState) -> [Substring] { lines(state.lines.joined(separator: "\n")) }

    private static func compare(_ ours: [Substring], _ stock: [Substring]) {
        #expect(ours.count == stock.count)
        for (mine, wanted) in zip(ours, stock) where mine != wanted {
            #expect(mine == wanted)
            return
        }
    }

    @Test(arguments: 1...5) func randomCalls(_ seed: Int) throws {
        let script = BoundedCases.script(seed: seed)
        let stock = try Self.stock(script)
        #expect(stock.count > 10_000)
        let state = TestState()
        #expect(state.run(script) == .returned)
        Self.compare(Self.ours(state), stock)
    }

    @Test func randomCalls_whilePreempted() throws {
        let script = BoundedCases.script(seed: 6)
        let stock = try Self.stock(script)
        let state = TestState()
        state.preemptionSeed = 6
        #expect(state.run(script) == .returned)
        #expect(state.preemptions > 1000)
        Self.compare(Self.ours(state), stock)
    }
}

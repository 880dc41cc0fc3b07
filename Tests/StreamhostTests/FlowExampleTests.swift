// The examples about flow: their output against what the words say.
import Testing

@Suite struct FlowExampleTests {
    @Test(arguments: [(20, 3), (5, 3), (100, 1), (3, 5)]) func shed_keepsTheNewest(_ n: Int, _ queue: Int) throws {
        // 1 is in hand; of 2...n the last `queue` are kept.
        let kept = [1] + (2...n).suffix(queue), dropped = n - kept.count
        var lines = kept.map { "kept\t\($0)" }
        lines.append("dropped\t\(dropped)\tbeginning with\t\(dropped > 0 ? "2" : "nil")")
        try ExampleRun("shed.lua", ["\(n)", "\(queue)"]).expect(lines)
    }
}

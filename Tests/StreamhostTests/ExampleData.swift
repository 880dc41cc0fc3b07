// Running the scripts of scripts/examples on data that a seed makes.
import Foundation
import Testing

/// Repeatable random numbers: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
    mutating func pick<T>(_ list: [T]) -> T { list.randomElement(using: &self)! }
    mutating func oneIn(_ n: Int) -> Bool { number(1...n) == 1 }
}

/// A request of an access log.
struct Request {
    var path: String, status: Int, milliseconds: Int

    static func random(_ random: inout SeededGenerator) -> Request {
        let status = random.oneIn(5) ? random.pick([400, 404, 404, 429, 499, 500, 503]) : random.pick([200, 200, 301])
        return Request(
            path: "/" + random.pick(["cart", "item", "search", "über", "a b"]) + "/\(random.number(1...8))",
            status: status, milliseconds: random.oneIn(10) ? random.number(990...3000) : random.number(1...999))
    }

    /// A JSON line with its fields in the order of their names, as a script's own tables are written.
    var json: String { #"{"ms":\#(milliseconds),"path":"\#(path)","status":\#(status)}"# }
}

/// A run of an example in an empty folder.
struct ExampleRun {
    let outcome: Outcome
    private let folder: ScriptFolder

    init(_ name: String, _ arguments: [String] = [], input: [String] = [], files: [String: [String]] = [:]) throws {
        folder = try ScriptFolder("", files: files.mapValues(Self.text))
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../scripts/examples/\(name)").standardizedFileURL
        outcome = try CommandLine.execute(
            ["run", script.path] + arguments, bytes: Data(Self.text(input).utf8), folder: folder.url)
    }

    static func text(_ lines: [String]) -> String { lines.map { $0 + "\n" }.joined() }

    /// A file that the run has made.
    func file(_ name: String) throws -> String {
        try String(contentsOf: folder.url.appendingPathComponent(name), encoding: .utf8)
    }

    /// It ended well, printed exactly these lines, and said nothing.
    func expect(_ lines: [String], errors: String = "", _ location: SourceLocation = #_sourceLocation) {
        #expect(outcome.output == Self.text(lines), sourceLocation: location)
        #expect(outcome.errors == errors, sourceLocation: location)
        #expect(outcome.status == 0, sourceLocation: location)
    }
}

// What came of test scripts.
import StreamRuntime

/// Of one case, over its schedules.
public struct CaseResult: Sendable {
    /// The file's, as it was given.
    public var path: String
    public var declaration: TestDeclaration
    /// Under so many seeds it ran; the last of them is the one that failed.
    public var schedules = 0
    public var failures: [TestFailure] = []
    /// What it printed under the seed that failed.
    public var printed = ""
    /// The seed that failed; nil: none did, or the clock was real.
    public var seed: UInt64?
    /// A hash of all choices of the schedulers'.
    public var trace: UInt64 = 0
    /// Turns of workers and other parts.
    public var steps = 0
    public var nanoseconds: Int64 = 0
    /// Of its last schedule.
    public var virtualNanoseconds: Int64 = 0

    public var name: String { declaration.name }
    public var hasFailed: Bool { !failures.isEmpty }

    init(path: String, declaration: TestDeclaration) {
        self.path = path
        self.declaration = declaration
    }

    /// The command line that runs this case again, as it failed.
    public var repetition: String {
        let line = "streamhost test \(Self.quoted(path)) --filter \(Self.quoted(name))"
        return seed.map { "\(line) --seed \(hex($0))" } ?? line
    }

    /// For a POSIX shell.
    private static func quoted(_ text: String) -> String {
        let plain = text.unicodeScalars.allSatisfy {
            $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "_-./".unicodeScalars.contains($0))
        }
        if plain, !text.isEmpty { return text }
        return "'" + text.replacing("'", with: "'\\''") + "'"
    }
}

/// Of one file.
public struct FileResult: Sendable {
    public var path: String
    /// Why it did not load, or has no cases.
    public var problem: String?
    public var cases: [CaseResult] = []
    public var nanoseconds: Int64 = 0

    public init(path: String) { self.path = path }
}

/// Of all.
public struct SuiteResult: Sendable {
    public var seed: UInt64
    public var files: [FileResult] = []
    public var nanoseconds: Int64 = 0

    public init(seed: UInt64) { self.seed = seed }

    public var cases: Int { files.reduce(0) { $0 + $1.cases.count } }
    public var failed: Int { files.reduce(0) { $0 + $1.cases.count(where: \.hasFailed) } }
    public var broken: Int { files.count { $0.problem != nil } }
    public var schedules: Int { files.reduce(0) { $0 + $1.cases.reduce(0) { $0 + $1.schedules } } }
    public var hasFailed: Bool { failed > 0 || broken > 0 }
}

/// As `--seed` takes it.
func hex(_ seed: UInt64) -> String { "0x" + String(seed, radix: 16) }

// One attack: what a hostile stage does, what bounds it, and what must come of it.

/// The kinds of the corpus.
package enum Kind: String, CaseIterable, Sendable {
    case endlessLoop = "endless loops"
    case protectedCall = "loops under pcall and xpcall"
    case coroutines = "loops in coroutines"
    case closing = "loops in __close"
    case metamethods = "loops in metamethods"
    case comparators = "loops in comparators"
    case callbacks = "loops in callbacks of C functions"
    case finalizers = "__gc and the collector"
    case patterns = "pattern bombs"
    case libraryGiants = "giants of the library"
    case strings = "memory by strings"
    case tables = "memory by tables"
    case coroutineMemory = "memory by coroutines"
    case closures = "memory by closures and code"
    case swallowed = "memory under swallowed errors"
    case hostMemory = "memory of the host"
    case recursion = "deep recursion"
    case parser = "deep nesting and long chains in the parser"
    case errorObjects = "hostile error objects"
    case bytecode = "bytecode"
    case escapes = "escapes from the environment"
    case metatables = "metatables of strings and host objects"
    case values = "huge, deep and cyclic values"
    case floods = "floods of output"
    case tasks = "floods of tasks, channels, timers, contexts"
    case streams = "stages that do not play their part"
    case arguments = "hostile arguments"
}

/// What ends an attack.
package enum Limit: Sendable, Equatable {
    /// The stage option of that name. An attack under one of the four has a twin without it, which must still run after
    /// two seconds.
    case timeout, memory, cpu, output
    /// The script's main worker cancels the pipeline; the stage then has the two grace periods of a cancellation. Its twin is
    /// not cancelled.
    case cancel
    /// Nothing has to end it: it is refused, or harmless, and returns.
    case refusal
}

/// What must come of an attack.
package enum Outcome: Sendable {
    /// Its limit stopped it, and it never returned.
    case stopped
    /// It returned, and printed exactly this.
    case prints([String])
    /// Its value failed for a reason that contains this.
    case fails(String)
    /// Its pipeline failed for a reason that contains this.
    case ends(String)
}

/// Where in a pipeline the hostile code stands.
package enum Place: Sendable {
    /// The second of three values that a map gets: the first and the third must come through.
    case map
    /// A chain of the attack's own, an expression that calls `attack(...)`; `OPTIONS` in it stands for the stage's options, and
    /// what it passes on must be these values. Nil: whatever it passes on.
    case chain(String, passes: [String]? = ["1", "3"])
}

package struct Attack: Sendable {
    package let kind: Kind
    package let name: String
    package let limit: Limit
    package let outcome: Outcome
    package let place: Place
    /// Memory of the worker where that is not its limit.
    package let memory: String
    /// What stands before the function, at the script's top level.
    package let before: String
    /// The body of the hostile function, which gets the value.
    package let body: String

    package init(
        _ kind: Kind, _ name: String, _ limit: Limit, _ body: String, place: Place = .map, memory: String = "64MB",
        before: String = "", outcome: Outcome = .stopped
    ) {
        self.kind = kind
        self.name = name
        self.limit = limit
        self.outcome = outcome
        self.place = place
        self.memory = memory
        self.before = before
        self.body = body
    }

    /// One that returns.
    package init(
        _ kind: Kind, _ name: String, prints lines: [String], memory: String = "64MB", place: Place = .map,
        before: String = "", _ body: String
    ) {
        self.init(
            kind, name, .refusal, body, place: place, memory: memory, before: before, outcome: .prints(lines))
    }

    package var hasTwin: Bool { limit != .refusal }
}

/// All attacks.
package enum Corpus {
    package static let all: [Attack] =
        loops + wrappedLoops + callbacks + collector + patterns + giants + memory + hostMemory + recursion + errors
        + escapes
        + metatables + values + arguments + floods + streams
}

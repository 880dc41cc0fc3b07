// Which captured variables a function assigns: in a copy of it, such an assignment changes the copy's variable only.
import CLuaShim

/// An assignment to a variable that a function has captured.
public struct LuaAssignment: Sendable, Equatable {
    /// As Lua's own messages name it.
    public let file: String
    /// The first line that assigns it.
    public let line: Int
    /// The variable's name.
    public let name: String
}

extension LuaStack {
    /// The captured variables that the functions at `indices` assign, and those at `owners` do not, in the order they
    /// are met. A function assigns what it assigns itself, in functions nested in it, or in functions that its captured
    /// variables hold. A variable counts once; nil and other values count as functions that assign nothing.
    ///
    /// Bounded: of very many variables and functions, only some are found.
    public func assignments(by indices: [Int32], except owners: [Int32]) -> [LuaAssignment] {
        let capacity: Int32 = 64
        return withUnsafeTemporaryAllocation(of: shim_assignment.self, capacity: 2 * Int(capacity)) { room in
            let found = room.baseAddress!, owned = found + Int(capacity)
            var count: Int32 = 0, ownedCount: Int32 = 0
            for index in indices { count = shim_find_assignments(state, index, found, count, capacity) }
            if count == 0 { return [] }
            for index in owners { ownedCount = shim_find_assignments(state, index, owned, ownedCount, capacity) }
            return (0..<Int(count)).filter { index in
                !(0..<Int(ownedCount)).contains { owned[$0].variable == found[index].variable }
            }.map { LuaAssignment(found[$0]) }
        }
    }
}

extension LuaAssignment {
    fileprivate init(_ found: shim_assignment) {
        file = Self.text(of: found.file)
        line = Int(found.line)
        name = Self.text(of: found.name)
    }

    private static func text<T>(of characters: T) -> String {
        withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

// The stack of one Lua coroutine, as host functions see it.
import CLuaShim

/// A host function: gets the coroutine and its state, returns a number of results or one of `LuaResult`'s.
public typealias LuaFunction = @convention(c) (OpaquePointer?, OpaquePointer?) -> Int32

/// Gives the `limiter_word` of a host object.
public typealias LuaWordFunction = @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?

/// What a host function returns besides a number of results.
public enum LuaResult {
    /// Raises the value on top.
    public static let raise = Int32(SHIM_RAISE)
    /// Yields to the host; the results come from the state's `finish`.
    public static let wait = Int32(SHIM_WAIT)
    /// Returns the value of the message in the inbox.
    public static let value = Int32(SHIM_VALUE)
    /// Calls the function on the stack, which holds nothing but a guard, the function and its arguments, and returns its
    /// results. However it ends, but for a task that is dropped, the guard's `__close` is called.
    public static let call = Int32(SHIM_CALL)
}

public enum LuaType: Int32, Sendable {
    case none = -1, `nil`, boolean, lightUserdata, number, string, table, function, userdata, thread

    public var name: String {
        switch self {
        case .none: "no value"
        case .nil: "nil"
        case .boolean: "boolean"
        case .number: "number"
        case .string: "string"
        case .table: "table"
        case .function: "function"
        case .lightUserdata, .userdata: "userdata"
        case .thread: "coroutine"
        }
    }
}

/// Access to a coroutine's stack by functions that never raise. Indices are Lua's: 1 is the first argument, -1 the top.
public struct LuaStack {
    public let state: OpaquePointer

    public init(_ state: OpaquePointer) { self.state = state }
    public init(_ state: OpaquePointer?) { self.state = state! }

    public var top: Int32 { lua_gettop(state) }
    public func setTop(_ index: Int32) { lua_settop(state, index) }
    public func pop(_ count: Int32 = 1) { lua_settop(state, -count - 1) }
    /// Takes out the value at `index`; those above it move down.
    public func remove(_ index: Int32) {
        lua_rotate(state, index, -1)
        pop()
    }
    /// Pops the top into the place at `index`.
    public func replace(_ index: Int32) {
        lua_copy(state, -1, index)
        pop()
    }
    public func type(_ index: Int32) -> LuaType { LuaType(rawValue: lua_type(state, index)) ?? .none }
    public func isNil(_ index: Int32) -> Bool { lua_type(state, index) <= 0 }
    public func absolute(_ index: Int32) -> Int32 { lua_absindex(state, index) }
    public func pushCopy(_ index: Int32) { lua_pushvalue(state, index) }
    /// Moves `count` values from the top to another coroutine of the same state.
    public func move(_ count: Int32, to other: LuaStack) { lua_xmove(state, other.state, count) }
    public func ensure(_ room: Int32) -> Bool { lua_checkstack(state, room) != 0 }

    public func boolean(_ index: Int32) -> Bool { lua_toboolean(state, index) != 0 }
    /// The number at `index` if it is one; strings are not converted.
    public func number(_ index: Int32) -> Double? {
        type(index) == .number ? lua_tonumberx(state, index, nil) : nil
    }
    /// The integer at `index`, also from a float with an integral value.
    public func integer(_ index: Int32) -> Int64? {
        guard type(index) == .number else { return nil }
        var ok: Int32 = 0
        let value = lua_tointegerx(state, index, &ok)
        return ok != 0 ? value : nil
    }
    public func isInteger(_ index: Int32) -> Bool { lua_isinteger(state, index) != 0 }
    /// The bytes of the string at `index`, valid while it stays on the stack.
    public func bytes(_ index: Int32) -> UnsafeRawBufferPointer? {
        guard type(index) == .string else { return nil }
        var length = 0
        let start = lua_tolstring(state, index, &length)
        return UnsafeRawBufferPointer(start: start, count: length)
    }
    /// The string at `index`, invalid UTF-8 repaired.
    public func string(_ index: Int32) -> String? { bytes(index).map { String(decoding: $0, as: UTF8.self) } }

    public func pushNil() { lua_pushnil(state) }
    public func push(_ value: Bool) { lua_pushboolean(state, value ? 1 : 0) }
    public func push(_ value: Int64) { lua_pushinteger(state, value) }
    public func push(_ value: Double) { lua_pushnumber(state, value) }
    /// Pushes JSON's null.
    public func pushNull() { lua_pushlightuserdata(state, nil) }
    /// Pushes a string; an out-of-memory error value in its place if there is no memory for it.
    public func push(_ value: String) {
        var value = value
        value.withUTF8 { _ = shim_push_bytes(state, $0.baseAddress, $0.count) }
    }
    public func push(_ value: UnsafeRawBufferPointer) { _ = shim_push_bytes(state, value.baseAddress, value.count) }
    /// As the next ones that return whether there was memory: if not, an error value in its place.
    @discardableResult
    public func push(_ function: LuaFunction) -> Bool { shim_push_function(state, function) }
    @discardableResult
    public func pushTable() -> Bool { shim_new_table(state) }

    /// Sets a field of the table at `table` to the popped value, without metamethods. False: no memory.
    @discardableResult
    public func setField(_ table: Int32, _ name: String) -> Bool {
        if shim_set_field(state, table, name) { return true }
        pop()
        return false
    }
    /// Sets element `index` of the table at `table` to the popped value, without metamethods.
    @discardableResult
    public func setIndex(_ table: Int32, _ index: Int64) -> Bool {
        if shim_set_index(state, table, index) { return true }
        pop()
        return false
    }
    /// Records the table on top, which stays there, as a module of the embedded library. False: no memory.
    @discardableResult
    public func recordLibrary(_ name: StaticString) -> Bool {
        // the name is kept by address for the duration of the call only
        if shim_record_library(state, UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)) {
            return true
        }
        pop()
        return false
    }
    /// Marks the table on top as an array.
    public func markArray() { shim_mark_array(state) }
    /// Pushes a field, without metamethods.
    @discardableResult
    public func getField(_ table: Int32, _ name: String) -> LuaType {
        LuaType(rawValue: shim_get_field(state, table, name)) ?? .none
    }
    /// Pushes element `index` of the table at `table`, without metamethods.
    @discardableResult
    public func getIndex(_ table: Int32, _ index: Int64) -> LuaType {
        LuaType(rawValue: lua_rawgeti(state, table, index)) ?? .none
    }
    /// Makes a record at `index` a plain table, before it is read by `count`, `getIndex` or `next`. False: no memory.
    public func settle(_ index: Int32) -> Bool {
        if shim_settle(state, index) { return true }
        pop()
        return false
    }
    /// Replaces the key on top by the next key and value; false at the end, and nothing is left.
    public func next(_ table: Int32) -> Bool { shim_next(state, table) }
    public func count(_ table: Int32) -> Int64 { Int64(bitPattern: lua_rawlen(state, table)) }

    /// Pushes the value that a reference keeps.
    public func push(reference: Int32) { shim_push_ref(state, reference) }
    /// Pops a value and keeps it; 0 if there is no memory.
    public func makeReference() -> Int32 { shim_ref(state) }
    public func drop(reference: Int32) { shim_unref(state, reference) }

    /// The value for people, shortened; runs no metamethod.
    public func describe(_ index: Int32, limit: Int = 200) -> String {
        var buffer = shim_buffer()
        defer { shim_buffer_free(&buffer) }
        shim_describe(state, index, limit, &buffer)
        return String(decoding: UnsafeRawBufferPointer(start: buffer.bytes, count: buffer.used), as: UTF8.self)
    }

    /// As `describe`, with strings in quotation marks: for "got ..." in messages.
    public func shown(_ index: Int32, limit: Int = 200) -> String {
        let text = describe(index, limit: limit)
        return type(index) == .string ? "\"\(text)\"" : text
    }

    /// The place of the innermost running line: `script.lua:12`.
    public var place: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
            shim_where(state, text.baseAddress, text.count)
            return String(cString: text.baseAddress!)
        }
    }

    /// True if a wait can reach the host from here: not in a metamethod that C code calls.
    public var canWait: Bool { shim_can_wait(state) }

    /// Pushes the function of a text chunk; nil: done, else the message.
    public func load(_ source: UnsafeRawBufferPointer, name: String) -> String? {
        let status = shim_load(state, source.baseAddress?.assumingMemoryBound(to: CChar.self), source.count, name)
        guard status != LUA_OK else { return nil }
        defer { pop() }
        return string(-1) ?? "the chunk cannot be loaded"
    }

    /// The Lua function on top in compiled form, for `load(compiled:)`; nil: no memory.
    public func compiled() -> [UInt8]? {
        var buffer = shim_buffer()
        defer { shim_buffer_free(&buffer) }
        guard shim_dump(state, &buffer) else { return nil }
        return Array(UnsafeRawBufferPointer(start: buffer.bytes, count: buffer.used))
    }

    /// Pushes the function that `compiled` gave for a chunk of the embedded library: never for bytes from elsewhere,
    /// which nothing checks. Nil: done, else the message.
    public func load(compiled: UnsafeRawBufferPointer, name: String) -> String? {
        guard shim_load_compiled(state, compiled.baseAddress, compiled.count, name) != LUA_OK else { return nil }
        defer { pop() }
        return string(-1) ?? "the chunk cannot be loaded"
    }

    /// Calls a function of the embedded library, which neither waits nor is preempted; nil: done, else the message.
    public func call(arguments: Int32, results: Int32) -> String? {
        guard shim_pcall(state, arguments, results) != LUA_OK else { return nil }
        defer { pop() }
        return describe(-1, limit: 2000)
    }

    // MARK: JSON

    /// Pushes the value of a JSON text. Nil: done; else what is wrong, and nothing is pushed.
    public func decodeJSON(_ text: UnsafeRawBufferPointer) -> LuaProblem? {
        var problem = shim_problem()
        switch shim_json_decode_protected(
            state, text.baseAddress?.assumingMemoryBound(to: CChar.self), text.count, &problem)
        {
        case 0: return nil
        case 1: return LuaProblem(problem)
        default:
            pop()
            return LuaProblem("not enough memory")
        }
    }

    /// Pushes the value at `index` as JSON text. Nil: done; else what is wrong, and nothing is pushed.
    public func encodeJSON(_ index: Int32) -> LuaProblem? {
        var buffer = shim_buffer(), problem = shim_problem()
        defer { shim_buffer_free(&buffer) }
        guard shim_json_encode(state, index, &buffer, &problem) == 0 else { return LuaProblem(problem) }
        guard shim_push_bytes(state, buffer.bytes, buffer.used) else {
            pop()
            return LuaProblem("not enough memory")
        }
        return nil
    }

    // MARK: Messages

    /// The same where it is done for each message: nil, and `encodingProblem` says why.
    @inline(__always)
    public func encoded(_ index: Int32, in vm: OpaquePointer) -> UnsafePointer<msg_header>? {
        shim_encode_scratch(state, index, vm)
    }
    public func encodingProblem(in vm: OpaquePointer) -> String { String(cString: shim_encode_problem(vm)) }

    /// Encodes the value at `index` as one message in the state's scratch buffer. The message is valid until the next
    /// call; its objects belong to the caller, who moves or releases them.
    public func encode(_ index: Int32, in vm: OpaquePointer) -> Result<UnsafePointer<msg_header>, LuaProblem> {
        if let message = shim_encode_scratch(state, index, vm) { return .success(message) }
        return .failure(LuaProblem(String(cString: shim_encode_problem(vm))))
    }

    /// Pushes a message's value; false: an error value in its place.
    public func decode(_ message: UnsafePointer<msg_header>) -> Bool { shim_decode_protected(state, message) }

    // MARK: Host objects

    /// Pushes the host object; false: an error value in its place.
    @discardableResult
    public func push(object: UnsafeMutableRawPointer, _ type: LuaObjectType) -> Bool {
        shim_push_object_protected(state, type.pointer, object)
    }
    /// Pushes a function that calls `function` with the object as its first argument; false: an error value in its place.
    @discardableResult
    public func push(_ function: LuaFunction, with object: UnsafeMutableRawPointer, _ type: LuaObjectType) -> Bool {
        shim_push_bound(state, function, type.pointer, object)
    }
    public func object(_ index: Int32, _ type: LuaObjectType) -> UnsafeMutableRawPointer? {
        shim_test_object(state, index, type.pointer)
    }
    /// Names what is at `index` for an error message: "a function", "a channel".
    public func kind(_ index: Int32) -> String {
        var type: UnsafePointer<shim_type>?
        if shim_any_object(state, index, &type) != nil { return String(cString: type!.pointee.phrase) }
        return self.type(index).name
    }
}

/// What is wrong with a value, in words.
public struct LuaProblem: Error, CustomStringConvertible, Sendable {
    public let description: String

    public init(_ description: String) { self.description = description }

    init(_ problem: shim_problem) {
        description = withUnsafeBytes(of: problem.text) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

/// A kind of host object: its name, its methods. Lives as long as the process.
public final class LuaObjectType: @unchecked Sendable {  // immutable after init
    let pointer: UnsafePointer<shim_type>

    /// - Parameters:
    ///   - phrase: with an article, for messages: "a channel".
    ///   - shared: whether messages and images may carry such objects to other workers.
    ///   - holding: methods that are called with a function, and call it while they hold what the host function here gives,
    ///     which has a `__close`; where that is nil, they return it and its reason.
    ///   - deciding: methods that a `limiter_word` answers, where it can, before the host function is called.
    ///   - word: that of an object; it lives as long as the object.
    public init(
        _ name: String, phrase: String, shared: Bool, methods: [(String, LuaFunction)],
        metamethods: [(String, LuaFunction)] = [], holding: [(String, LuaFunction)] = [],
        deciding: [(String, LuaFunction)] = [], word: LuaWordFunction? = nil
    ) {
        let type = UnsafeMutablePointer<shim_type>.allocate(capacity: 1)
        type.initialize(
            to: shim_type(
                name: Self.text(name), phrase: Self.text(phrase), shared: shared,
                methods: Self.list(methods, holding: holding, deciding: deciding),
                metamethods: Self.list(metamethods), word: word))
        pointer = UnsafePointer(type)
    }

    private static func text(_ string: String) -> UnsafePointer<CChar> {
        let bytes = string.utf8CString
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        for (index, byte) in bytes.enumerated() { copy[index] = byte }
        return UnsafePointer(copy)
    }

    private static func list(
        _ methods: [(String, LuaFunction)], holding: [(String, LuaFunction)] = [],
        deciding: [(String, LuaFunction)] = []
    ) -> UnsafePointer<shim_method> {
        let all =
            deciding.map { ($0.0, $0.1, false, true) } + methods.map { ($0.0, $0.1, false, false) }
            + holding.map { ($0.0, $0.1, true, false) }
        let list = UnsafeMutablePointer<shim_method>.allocate(capacity: all.count + 1)
        for (index, method) in all.enumerated() {
            list[index] = shim_method(name: text(method.0), callback: method.1, holds: method.2, decides: method.3)
        }
        list[all.count] = shim_method(name: nil, callback: nil, holds: false, decides: false)
        return UnsafePointer(list)
    }
}

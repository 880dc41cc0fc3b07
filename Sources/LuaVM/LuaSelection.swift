// The cases of a script's select, as the state's C side has read them.
import CLuaShim

/// Valid during the call of the function that `pushSelect` was given.
public struct LuaSelection {
    private let vm: OpaquePointer
    private let cases: UnsafePointer<shim_case>?
    public let count: Int
    /// The sends' messages, one after another. Their objects belong to the function that was called.
    public let messages: UnsafeRawPointer?
    public let messageBytes: Int
    /// False: no message holds objects.
    public let holdsObjects: Bool

    public init(_ vm: OpaquePointer) {
        self.vm = vm
        var count: Int32 = 0, objects = false
        cases = shim_selection_cases(vm, &count)
        self.count = Int(count)
        let buffer = shim_selection_messages(vm, &objects)!
        messages = UnsafeRawPointer(buffer.pointee.bytes)
        messageBytes = buffer.pointee.used
        holdsObjects = objects
    }

    /// The channel of a case that is not disabled, its number in the script's table, and where its message begins: -1
    /// where it receives.
    @inline(__always)
    public subscript(_ position: Int) -> (channel: UnsafeMutableRawPointer, index: Int, offset: Int) {
        let item = cases![position]
        return (item.channel, Int(item.index), Int(item.offset))
    }

    /// The number of the case with `after`; 0: none. Its value is at index 2 of the stack.
    public var after: Int { Int(shim_selection_after(vm)) }
    /// The number of the case with `default`; 0: none.
    public var otherwise: Int { Int(shim_selection_default(vm)) }
}

extension LuaStack {
    /// Pushes `select(cases)`, which reads the cases and calls `function`: see `shim_push_select`.
    @discardableResult
    public func pushSelect(_ function: LuaFunction, channels: LuaObjectType) -> Bool {
        shim_push_select(state, function, channels.pointer)
    }
}

// Stages that share one worker: see driver_chain.c.
import CLuaShim

extension StageDriver {
    /// A driver for stages that hand on Lua values to each other, not copies; the first may be a generator, which
    /// counts as a flat map here. One stage alone needs no chain.
    public static func chain(_ forms: [StageForm]) -> StageDriver { StageDriver(links: forms) }

    public var isChain: Bool { driver.pointee.links != nil }

    /// Pops the function and the initial state, or nil, of each stage in order; false: an error value in their place.
    public func setChain(_ stack: LuaStack) -> Bool { shim_chain_set(stack.state, driver) }
    /// Pushes the function of the chain's task, which takes no arguments.
    public func pushChain(_ stack: LuaStack) -> Bool { shim_push_chain(stack.state, driver) }
    /// Pushes the `emit` that takes a value through the stages behind `link`.
    public func pushEmit(_ stack: LuaStack, link: Int) -> Bool {
        shim_push_chain_emit(stack.state, driver, Int32(link))
    }
    /// Pushes what the state of a scan or a reduce has come to.
    public func pushState(_ stack: LuaStack, link: Int) { shim_push_chain_state(stack.state, driver, Int32(link)) }

    /// The stage whose function failed, when the host is asked to judge.
    public var faultyLink: Int { isChain ? Int(driver.pointee.fault) : 0 }
    /// Pushes the error to be judged; keeps a description of the value that the function of a chain had. Does nothing
    /// where no chain is: there the error is on top.
    public func pushFault(_ stack: LuaStack) {
        guard isChain else { return }
        guard stack.ensure(8) else { return stack.pushNil() }
        shim_push_chain_fault(stack.state, driver)
        faultyValue = stack.describe(-1, limit: 160)
        stack.pop()
    }
}

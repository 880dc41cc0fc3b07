// The deadline of one value: see driver_timeout.c.
import CLuaShim

extension StageDriver {
    var length: Int { max(1, Int(driver.pointee.length)) }

    /// A function with a timeout has a value.
    public var hasTimedValue: Bool { hasLimits && shim_has_value(driver) }

    /// The deadline of the value that a stage's function has, if it has one; of a stage without a timeout nil.
    public func deadline(ofLink link: Int) -> Int64? {
        guard let limits = driver.pointee.limits, limits[link].deadline != 0 else { return nil }
        return limits[link].deadline
    }

    /// Values have come to functions since contexts were made.
    public var hasFreshValue: Bool {
        get { driver.pointee.fresh }
        set { driver.pointee.fresh = newValue }
    }
    /// The host is told when a value of one of so many stages, from the first on, is done with.
    public var entered: Int {
        get { Int(driver.pointee.entered) }
        set { driver.pointee.entered = Int32(newValue) }
    }
    /// When its task went on after a wait: it has its grace from then on.
    public var since: Int64 {
        get { driver.pointee.since }
        set { driver.pointee.since = newValue }
    }

    /// A value, or the state, is over a limit: the task was stopped, or is about to be.
    public var isOverdue: Bool {
        get { driver.pointee.overdue }
        set { driver.pointee.overdue = newValue }
    }
    /// The context in which `emit` waited has ended; it returns nil and the reason.
    public func setLate(isDeadline: Bool) { driver.pointee.late = isDeadline ? 2 : 1 }
    /// The task was stopped: the value is its stage's failure, and nobody has one any more.
    public func giveUpValue() {
        shim_give_up_value(driver)
        forgetValues()
    }

    /// A new task drives it.
    public func forgetValues() {
        for link in 0..<(hasLimits ? length : 0) {
            driver.pointee.limits[link].deadline = 0
            driver.pointee.limits[link].active = false
            driver.pointee.limits[link].seen = 0
        }
        driver.pointee.entered = 0
        driver.pointee.fresh = false
        driver.pointee.late = 0
    }

    /// Of a chain: keeps a description of the value that the overdue function has.
    public func describeOverdueValue(_ stack: LuaStack) {
        guard isChain, stack.ensure(8) else { return }
        shim_push_limited_value(stack.state, driver)
        faultyValue = stack.describe(-1, limit: 160)
        stack.pop()
    }
}

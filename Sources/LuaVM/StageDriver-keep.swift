// What follows a failure: see driver_keep.c.
import CLuaShim

extension StageDriver {
    /// Says of each stage whether it keeps what a try that fails may change, and whether it holds what `emit` gets until
    /// its function has returned. Once, before it is pushed.
    public func setKeeps(_ keeps: [(isOn: Bool, holds: Bool)]) {
        precondition(keeps.count == length && driver.pointee.keeps == nil)
        let memory = UnsafeMutablePointer<shim_keep>.allocate(capacity: keeps.count)
        for (index, keeps) in keeps.enumerated() {
            var entry = shim_keep()
            entry.on = keeps.isOn
            entry.holds = keeps.holds
            memory.advanced(by: index).initialize(to: entry)
        }
        driver.pointee.keeps = memory
    }

    /// Something of what the function of a chain which failed has made for its value has gone on.
    public var hasPassedOn: Bool { isChain && driver.pointee.keeps?[faultyLink].gone == true }

    /// The value in hand is tried again when the driver goes on, or is started.
    public var retries: Bool {
        get { driver.pointee.retry }
        set {
            driver.pointee.retry = newValue
            driver.pointee.judging = false
        }
    }

    /// The failure that was counted is none after all, or not yet: the value is in hand.
    public func takeBackFailure() {
        change { $0 -= 1 }
        driver.pointee.judging = true
    }
    /// It is one.
    public func countFailure() {
        change { $0 += 1 }
        driver.pointee.judging = false
    }
    /// It is none: the pipeline had ended before, and the value is dropped with it.
    public func dropFailure() {
        change { $0 -= 1 }
        driver.pointee.dropped += 1
    }
    /// Somebody else has the value.
    public func handOn() { driver.pointee.judging = false }

    private func change(_ body: (inout UInt64) -> Void) {
        if isChain { body(&driver.pointee.links[faultyLink].failed) } else { body(&driver.pointee.failed) }
    }

    /// Pushes the value that the function of a chain which failed was given, as it came; not of its first stage, whose
    /// value is `message`. False: it keeps none.
    public func pushKeptValue(_ stack: LuaStack) -> Bool {
        guard isChain, faultyLink > 0, let keeps = driver.pointee.keeps, keeps[faultyLink].on, stack.ensure(4) else {
            return false
        }
        shim_push_kept_value(stack.state, driver, Int32(faultyLink))
        return true
    }

    /// Drops what a flat_map has emitted and was not passed on, as its worker was stopped.
    public func dropHeld() { shim_drop_held(driver) }
}

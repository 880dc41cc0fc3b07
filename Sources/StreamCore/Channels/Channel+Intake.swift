// A reader that bounds its intake: nothing is let in before it has said how much it wants.

extension Channel {
    /// Nothing is let in until the reader has said how much it wants (`request`), or takes what comes (`openIntake`).
    public func holdIntake() { lock.withLock { state.hold() } }

    /// Unless the reader has requested, it takes what comes.
    public func openIntake() {
        lock.lock()
        var served = Served()
        if state.isHeld {
            state.open()
            served = serveSenders()
        }
        lock.unlock()
        notify(served)
    }

    /// Lets in `n` messages more: from the first request on, no more than were requested in all. False: its intake was
    /// never held, so it takes no requests.
    public func request(_ n: Int) -> Bool {
        lock.lock()
        guard state.takesRequests else {
            lock.unlock()
            return false
        }
        state.request(n)
        let served = serveSenders()
        lock.unlock()
        notify(served)
        return true
    }
}

// Contexts: the tree by which cancellation and deadlines reach everything below.

/// Told once when a context ends.
public protocol ContextListener: AnyObject {
    func contextEnded(_ reason: Reason)
}

/// A node of the tree of cancellation. It ends once: cancelled, or at its deadline, or when its parent ends; whatever
/// ends it ends all below it, in time proportional to what is there.
public final class Context: SharedObject, @unchecked Sendable {  // `lock` guards all mutable state
    private let lock = Lock()
    /// Strong: an end of a grandparent must find its way down.
    private let parent: Context?
    private var children: [ObjectIdentifier: Child] = [:]
    private var listeners: [ObjectIdentifier: (order: UInt64, listener: any ContextListener)] = [:]
    /// Children and listeners are told in the order in which they came: a seed fixes it.
    private var arrivals: UInt64 = 0
    private var ended: (reason: Reason, cause: String)?
    private var timer: Timer?
    private let scheduler: Scheduler

    private struct Child {
        let order: UInt64
        weak var context: Context?
    }

    public init(scheduler: Scheduler, parent: Context? = nil) {
        self.scheduler = scheduler
        self.parent = parent
        super.init()
        if let parent, let end = parent.adopt(self) { cancel(end.reason, cause: end.cause) }
    }

    deinit {
        if let timer { scheduler.disarm(timer) }
        parent?.disown(ObjectIdentifier(self))
    }

    private func adopt(_ child: Context) -> (reason: Reason, cause: String)? {
        lock.withLock {
            if ended == nil {
                arrivals += 1
                children[ObjectIdentifier(child)] = Child(order: arrivals, context: child)
            }
            return ended
        }
    }

    private func disown(_ child: ObjectIdentifier) { lock.withLock { _ = children.removeValue(forKey: child) } }

    /// Why it ended, or nil.
    public var reason: Reason? { lock.withLock { ended?.reason } }
    /// What `cancel` was given, or the reason's name.
    public var cause: String? { lock.withLock { ended?.cause } }

    /// Ends it and all below, if it has not ended. False: it had.
    @discardableResult
    public func cancel(_ reason: Reason = .canceled, cause: String? = nil) -> Bool {
        let why = cause ?? reason.description
        lock.lock()
        guard ended == nil else {
            lock.unlock()
            return false
        }
        ended = (reason, why)
        let below = children.values.sorted { $0.order < $1.order }.compactMap(\.context)
        let told = listeners.values.sorted { $0.order < $1.order }
        children.removeAll()
        listeners = [:]
        let timer = self.timer
        self.timer = nil
        lock.unlock()
        if let timer { scheduler.disarm(timer) }
        for (_, listener) in told { listener.contextEnded(reason) }
        for child in below { child.cancel(reason, cause: why) }
        return true
    }

    /// Ends it with `.deadlineExceeded` at `deadline`, nanoseconds on the scheduler's clock.
    public func end(at deadline: Int64) {
        let timer = Timer(deadline: deadline) { [weak self] in self?.cancel(.deadlineExceeded) }
        lock.lock()
        guard ended == nil, self.timer == nil else {
            lock.unlock()
            return
        }
        self.timer = timer
        lock.unlock()
        scheduler.arm(timer)
        // Whoever ended it in between found the timer not armed yet.
        if reason != nil { scheduler.disarm(timer) }
    }

    /// Tells `listener` when it ends, until it is removed. False: it has ended, and nobody is told.
    public func add(_ listener: any ContextListener) -> Bool {
        lock.withLock {
            guard ended == nil else { return false }
            arrivals += 1
            listeners[ObjectIdentifier(listener)] = (arrivals, listener)
            return true
        }
    }

    public func remove(_ listener: any ContextListener) {
        lock.withLock { _ = listeners.removeValue(forKey: ObjectIdentifier(listener)) }
    }
}

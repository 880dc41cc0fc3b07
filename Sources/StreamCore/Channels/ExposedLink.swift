// A link of a pipeline that a script's function has in hand.
import Synchronization

/// What scripts do with such a link against its direction: they put values into the input of a stage, or take back what
/// they put into its output. Its channel counts the rest: nobody else takes from the one or puts into the other.
public final class ExposedLink: Sendable {
    /// It is its stage's input; otherwise its output.
    public let isInput: Bool
    private let backwards = Atomic<Int>(0)
    private let mixed = Atomic<Bool>(false)

    public init(isInput: Bool) { self.isInput = isInput }

    /// Values that scripts put into an input, or took from an output.
    public var count: Int { backwards.load(ordering: .relaxed) }
    public func countSent() { if isInput { backwards.wrappingAdd(1, ordering: .relaxed) } }
    public func countReceived() { if !isInput { backwards.wrappingAdd(1, ordering: .relaxed) } }

    /// A part of another pipeline does that, which counts for itself only: nobody knows how many they are.
    public var isMixed: Bool { mixed.load(ordering: .relaxed) }
    public func mix() { mixed.store(true, ordering: .relaxed) }
}

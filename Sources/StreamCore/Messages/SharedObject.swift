/// What the host holds and several workers may refer to: a channel, a context. A message carries it as a retained
/// pointer.
open class SharedObject: @unchecked Sendable {  // subclasses state what makes them safe
    public init() {}

    /// The pointer form in which messages carry this object; does not retain.
    public final var reference: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    public static func from(_ reference: UnsafeMutableRawPointer) -> SharedObject {
        Unmanaged<SharedObject>.fromOpaque(reference).takeUnretainedValue()
    }
    public static func retain(_ reference: UnsafeMutableRawPointer?) {
        if let reference { _ = Unmanaged<SharedObject>.fromOpaque(reference).retain() }
    }
    public static func release(_ reference: UnsafeMutableRawPointer?) {
        if let reference { Unmanaged<SharedObject>.fromOpaque(reference).release() }
    }
}

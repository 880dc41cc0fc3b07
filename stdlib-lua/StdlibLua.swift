/// The Lua side of the library, embedded in the binary.
public enum StdlibLua {
    /// The source of an embedded module, or nil.
    public static func source(_ name: String) -> [UInt8]? { name == "stream" ? PackageResources.stream_lua : nil }
}

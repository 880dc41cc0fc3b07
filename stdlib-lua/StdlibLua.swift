/// The Lua side of the library, embedded in the binary.
public enum StdlibLua {
    /// The source of an embedded module, or of one of its parts (`stream.options`); nil: there is none.
    public static func source(_ name: String) -> [UInt8]? {
        switch name {
        case "stream": PackageResources.stream_lua
        case "stream.options": PackageResources.options_lua
        case "stream.connectors": PackageResources.connectors_lua
        case "stream.pipeline": PackageResources.pipeline_lua
        case "stream.stages": PackageResources.stages_lua
        case "stream.shapes": PackageResources.shapes_lua
        case "stream.limits": PackageResources.limits_lua
        case "stream.tasks": PackageResources.tasks_lua
        case "stream.test": PackageResources.test_lua
        case "stream.compare": PackageResources.compare_lua
        case "stream.limiters": PackageResources.limiters_lua
        case "stream.limits": PackageResources.limits_lua
        case "stream.policies": PackageResources.policies_lua
        case "stream.breaker": PackageResources.breaker_lua
        case "stream.bytes": PackageResources.bytes_lua
        default: nil
        }
    }
}

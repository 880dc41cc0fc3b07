// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "streamhost",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "StreamHost", targets: ["StreamHost"]),
        .library(name: "StreamTesting", targets: ["StreamTesting"]),
        .executable(name: "streamhost", targets: ["streamhost"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        .systemLibrary(name: "CLua54", providers: [.apt(["liblua5.4-dev"])]),
        .target(name: "CMessage"),
        .target(name: "CLimiter"),
        .target(
            name: "CLuaShim",
            dependencies: ["CLua54", "CLimiter", "CMessage"],
            linkerSettings: [.linkedLibrary(":liblua5.4.a"), .linkedLibrary("m"), .linkedLibrary("dl")]
        ),
        .target(name: "LuaVM", dependencies: ["CLuaShim"]),
        .target(
            name: "StreamCore",
            dependencies: [
                "CLimiter",
                "CMessage",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ]
        ),
        .target(
            name: "StreamRuntime",
            dependencies: ["LuaVM", "StreamCore", .product(name: "DequeModule", package: "swift-collections")]
        ),
        .target(name: "StreamIO", dependencies: ["StreamCore", "CMessage"]),
        .target(
            name: "StdlibLua", path: "stdlib-lua", exclude: ["meta"],
            resources: [
                "stream.lua", "stream/options.lua", "stream/connectors.lua", "stream/pipeline.lua",
                "stream/stages.lua", "stream/shapes.lua", "stream/limiters.lua", "stream/test.lua",
                "stream/compare.lua", "stream/bytes.lua", "stream/tasks.lua", "stream/limits.lua",
                "stream/policies.lua", "stream/breaker.lua",
            ].map { .embedInCode($0) }
        ),
        .target(name: "StreamHost", dependencies: ["StreamRuntime", "StreamCore", "StreamIO", "StdlibLua"]),
        .target(
            name: "Schedules", dependencies: ["StreamCore", "StreamRuntime", "LuaVM", "StdlibLua", "CMessage"],
            path: "Tests/Schedules"
        ),
        .executableTarget(
            name: "run-schedules",
            dependencies: ["Schedules", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            path: "Tests/ScheduleRunner"
        ),
        .target(name: "AttackMeter", path: "Tests/AttackMeter"),
        .target(
            name: "Attacks", dependencies: ["AttackMeter", "LuaVM", "StreamCore", "StreamRuntime", "StdlibLua"],
            path: "Tests/Attacks"
        ),
        .executableTarget(
            name: "run-attacks",
            dependencies: [
                "Attacks", "AttackMeter", "LuaVM", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/AttackRunner"
        ),
        .target(name: "StreamTesting", dependencies: ["StreamHost", "StreamRuntime", "StreamCore", "StreamIO"]),
        .testTarget(
            name: "StreamCoreTests",
            dependencies: [
                "StreamCore", "CMessage", "Schedules", .product(name: "DequeModule", package: "swift-collections"),
            ]
        ),
        .testTarget(name: "LuaVMTests", dependencies: ["LuaVM", "CLuaShim", "StreamCore", "CMessage"]),
        .testTarget(
            name: "StreamRuntimeTests", dependencies: ["StreamRuntime", "StdlibLua", "StreamHost", "Schedules"]),
        .testTarget(name: "StreamhostTests", dependencies: ["StreamRuntime", "streamhost"]),
        .testTarget(name: "StreamTestingTests", dependencies: ["StreamTesting", "StreamHost"]),
        .testTarget(name: "StreamIOTests", dependencies: ["StreamIO", "StreamCore", "CMessage"]),
        .executableTarget(
            name: "streamhost",
            dependencies: [
                "StreamHost", "StreamRuntime", "StreamTesting", "StreamIO",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]
        ),
    ]
)

// Programs of scripts/check.d, which have no part in a build of the product: a fuzz target has libFuzzer's main function, and
// the sweep of allocation failures asks LeakSanitizer.
if Context.environment["STREAMHOST_FUZZ"] != nil {
    package.targets += [
        .executableTarget(
            name: "fuzz-csv", dependencies: ["StreamIO", "StreamCore", "CMessage"], path: "Tests/Fuzz/CSV",
            swiftSettings: [.unsafeFlags(["-parse-as-library"])]),
        .executableTarget(
            name: "sweep-allocations", dependencies: ["StreamRuntime", "StreamCore", "StdlibLua", "CLuaShim"],
            path: "Tests/Allocations/Sweep"),
    ]
}

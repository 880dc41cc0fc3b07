// --memory, --cpu, --timeout: what stages without limits of their own may use.
import ArgumentParser
import StreamHost

struct LimitOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Memory of each worker, unless its stage says otherwise (256MB).", valueName: "size"))
    var memory: String?

    @Option(help: ArgumentHelp("CPU time of one value, unless its stage says otherwise.", valueName: "duration"))
    var cpu: String?

    @Option(help: ArgumentHelp("Time of one value, unless its stage says otherwise.", valueName: "duration"))
    var timeout: String?

    private static let leastMemory: Int64 = 64 << 10

    func validate() throws {
        if let memory, (Quantity.bytes(memory) ?? 0) < Self.leastMemory {
            throw ValidationError(
                "--memory expects a size of at least 64KB such as \"64MB\" or \"1GB\", got '\(memory)'.")
        }
        for (option, value) in [("--cpu", cpu), ("--timeout", timeout)] {
            if let value, (Quantity.nanoseconds(value) ?? 0) <= 0 {
                throw ValidationError(
                    "\(option) expects a duration over 0 such as \"800ms\", \"2s\" or \"1m\", got '\(value)'.")
            }
        }
    }

    /// A host with these limits.
    var host: Host {
        var host = Host()
        if let memory, let bytes = Quantity.bytes(memory) { host.workerMemory = Int(bytes) }
        host.valueCPU = cpu.flatMap { Quantity.nanoseconds($0) }.map { .nanoseconds($0) }
        host.valueTimeout = timeout.flatMap { Quantity.nanoseconds($0) }.map { .nanoseconds($0) }
        return host
    }
}

// A Swift program that embeds the host: sources, sinks and functions of its own.
import CMessage
import StreamHost
import Synchronization
import Testing

/// Sends integers 1...count; without an end if `count` is nil.
private final class Numbers: HostSource {
    private let count: Int?
    private let stopped = Atomic<Bool>(false)
    init(_ count: Int?) { self.count = count }

    func run(_ outlet: Outlet) throws(ConnectorError) {
        var number = 0
        while count.map({ number < $0 }) ?? true, !stopped.load(ordering: .relaxed) {
            number += 1
            guard let place = outlet.reserve(size: 16) else { return }
            let header = msg_header(size: 16, kind: UInt8(MSG_INTEGER), flags: 0, shape: 0)
            place.storeBytes(of: header, as: msg_header.self)
            place.storeBytes(of: Int64(number), toByteOffset: 8, as: Int64.self)
        }
    }

    func stop() { stopped.store(true, ordering: .relaxed) }
}

/// Keeps the integers it gets.
private final class Keeper: HostSink {
    let values = Mutex<[Int64]>([])
    let calls = Mutex<[String]>([])

    func open() throws(ConnectorError) { calls.withLock { $0.append("open") } }
    func write(_ message: MessagePointer) throws(ConnectorError) {
        guard message.pointee.kind == UInt8(MSG_INTEGER) else { throw ConnectorError("keeper: not an integer") }
        let value = UnsafeRawPointer(message).load(fromByteOffset: 8, as: Int64.self)
        values.withLock { $0.append(value) }
    }
    func flush() throws(ConnectorError) {}
    func close() throws(ConnectorError) { calls.withLock { $0.append("close") } }
    func cancel() {}
    var kept: [Int64] { values.withLock { $0 } }
}

private struct Refused: Error, CustomStringConvertible { let description: String }

@Suite struct EmbeddingTests {
    private let relay = """
        local stream = require "stream"
        stream.from(stream.source("numbers"))
          :map("double", function(v) return stream.host.double(v) end, { workers = 2 })
          :to(stream.sink("keeper"))
        """

    private func host(_ count: Int?, _ keeper: Keeper) -> Host {
        var host = Host()
        host.threads = 2
        host.source("numbers") { Numbers(count) }
        host.sink("keeper") { keeper }
        host.function("double") { arguments in
            guard case .integer(let value)? = arguments.first else { throw Refused(description: "not an integer") }
            return .integer(value * 2)
        }
        return host
    }

    @Test func sourceFunctionAndSink() async {
        let keeper = Keeper()
        let result = await host(1000, keeper).run(script: relay)
        #expect(result.status == .done)
        #expect(result.failures == [])
        #expect(keeper.kept.sorted() == (1...1000).map { $0 * 2 })
        #expect(keeper.calls.withLock { $0 } == ["open", "close"])
        #expect(result.account.isBalanced)
        #expect(result.account.created == 1000)
        #expect(result.account.delivered == 1000)
    }

    @Test func valuesThatCross() async {
        var host = host(0, Keeper())
        let seen = Mutex<[[HostValue]]>([])
        let box = Shared(seen)
        host.function("echo") { arguments in
            box.value.withLock { $0.append(arguments) }
            return arguments.first ?? .null
        }
        let result = await host.run(
            script: """
                local stream = require "stream"
                local echo = stream.host.echo
                assert(echo() == stream.null and echo(true) == true and echo("a\\0b") == "a\\0b")
                assert(math.type(echo(3)) == "integer" and math.type(echo(3.0)) == "float")
                local t = echo({ name = "x", list = { 1, { 2.5 } } })
                assert(t.name == "x" and t.list[1] == 1 and t.list[2][1] == 2.5)
                local ok, message = pcall(echo, print)
                assert(not ok and message:find("argument 1 of host.echo: function cannot cross", 1, true), message)
                ok, message = pcall(function() return stream.host.absent end)
                assert(not ok and message:find("the host has no function 'absent'", 1, true), message)
                """)
        #expect(result.failures == [])
        let last = box.value.withLock { $0.last }
        let list = HostValue.array([.integer(1), .array([.float(2.5)])])
        #expect(last == [.table(["name": .string("x"), "list": list])])
    }

    /// Guards against a cycle: the run kept what was to be told of its end, and that the run.
    @Test(.timeLimit(.minutes(1))) func aRunThatHasEnded_isReleased() async throws {
        final class Token: Sendable {}
        weak var held: Token?
        do {
            let token = Token()
            held = token
            var host = host(100, Keeper())
            host.function("token") { _ in withExtendedLifetime(token) { .null } }
            let result = await host.run(script: relay)
            #expect(result.status == .done && result.account.delivered > 0)
        }
        while held != nil { try await Task.sleep(for: .milliseconds(1)) }  // its last thread lets go a moment later
    }

    @Test func anErrorOfTheFunctionIsRaised() async {
        var host = host(0, Keeper())
        host.function("refuse") { _ in throw Refused(description: "no such account") }
        let caught = await host.run(
            script: """
                local ok, message = pcall(require("stream").host.refuse)
                assert(not ok and message:find("host.refuse: no such account", 1, true), message)
                assert(message:find("^script:1: "), message)
                """)
        #expect(caught.failures == [])
        let failed = await host.run(script: "require('stream').host.refuse()", name: "refusing.lua")
        #expect(failed.status == .failed)
        #expect(failed.failures.first?.contains("refusing.lua:1: host.refuse: no such account") == true)
    }

    @Test(.timeLimit(.minutes(1))) func cancelInProgress() async throws {
        let keeper = Keeper()
        let run = host(nil, keeper).start(script: relay)
        while keeper.kept.count < 100 { try await Task.sleep(for: .milliseconds(1)) }
        run.cancel(cause: "the test")
        let result = await run.result
        #expect(result.account.isBalanced, "\(result.account)")
        #expect(result.account.delivered == keeper.kept.count)
        #expect(keeper.calls.withLock { $0 } == ["open", "close"])
        let again = await run.result
        #expect(again.account == result.account)
    }

    @Test(.timeLimit(.minutes(1))) func drainInProgress() async throws {
        let keeper = Keeper()
        let run = host(nil, keeper).start(script: relay)
        while keeper.kept.count < 100 { try await Task.sleep(for: .milliseconds(1)) }
        run.drain()
        let result = await run.result
        #expect(result.status == .done)
        #expect(result.failures == [])
        #expect(result.account.dropped == 0)
        #expect(result.account.delivered == keeper.kept.count)
        #expect(result.account.created == keeper.kept.count)
    }

    @Test(.timeLimit(.minutes(1))) func cancelStopsALoop() async throws {
        var host = host(0, Keeper())
        let started = Shared(Mutex(false))
        host.function("started") { _ in
            started.value.withLock { $0 = true }
            return .null
        }
        let run = host.start(
            script: "require('stream').host.started() while true do pcall(function() while true do end end) end")
        while !started.value.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(1)) }
        run.cancel()
        _ = await run.result
    }

    /// A task that ends by itself just when it is to be cancelled: the next task of its worker goes on unharmed.
    @Test(.timeLimit(.minutes(1))) func cancelReachesNoOtherTask() async {
        let result = await host(0, Keeper()).run(
            script: """
                local stream = require "stream"
                for i = 1, 8 do
                  local task = stream.go(function()
                    local start = os.clock()
                    while os.clock() - start < 0.1 + i * 0.0005 do end
                  end)
                  task:cancel()
                  task:wait()
                  for j = 1, 100 do j = j + 1 end
                end
                """)
        #expect(result.failures == [])
    }

    @Test(.timeLimit(.minutes(1))) func twoRunsAtATime() async {
        let first = Keeper(), second = Keeper()
        async let one = host(3000, first).run(script: relay)
        async let two = host(2000, second).run(script: relay)
        let results = await (one, two)
        #expect(results.0.status == .done)
        #expect(results.1.status == .done)
        #expect(first.kept.count == 3000)
        #expect(second.kept.count == 2000)
        #expect(second.kept.max() == 4000)
    }
}

private final class Shared<Value: Sendable>: Sendable {
    let value: Mutex<Value>
    init(_ value: consuming sending Mutex<Value>) { self.value = value }
}

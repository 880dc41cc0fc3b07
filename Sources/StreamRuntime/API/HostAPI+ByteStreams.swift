// Files and standard streams as bytes: what the readers and writers of `stream/bytes.lua` stand on.
import LuaVM
import StreamCore

/// A file or standard input that is read on a thread of its own, chunk by chunk into a channel. It ends with its last
/// reference, so with the worker that has it.
final class ByteSource: SharedObject, LuaVisible, @unchecked Sendable {  // set once in `init`
    var luaType: LuaObjectType { HostAPI.byteSourceType }
    /// Few chunks, so that a reader who stops reading soon stops the thread.
    let chunks = Channel(capacity: 4, bytes: 1 << 20, name: "a reader's input")
    /// Closed when the opening has come to an end, one way or the other.
    let opening = Channel(capacity: 0, name: "the opening of a reader's input")
    private let result = ByteStreamResult()

    var failure: String? { result.failure }

    /// - Parameter isEndless: it ends when the sources of pipelines are asked to: another file comes to its end by itself.
    init(_ source: any HostSource, _ run: Run, isEndless: Bool) {
        super.init()
        result.begin(source)
        let context = Context(scheduler: run.scheduler, parent: run.context)
        let outlet = Outlet(channel: chunks, scheduler: run.scheduler, context: context) { _, _ in false }
        let stopper = ByteSourceStopper(source)
        if !context.add(stopper) { source.stop() }
        if isEndless { run.start(stopper) }
        start(source, outlet, scheduler: run.scheduler, opened: { [opening] in _ = opening.close() }) {
            [chunks, opening, result] failure in
            context.remove(stopper)
            run.ended(stopper)
            context.cancel()
            result.end(failure)
            chunks.close()
            opening.close()
        }
    }

    deinit { stop() }

    func stop() {
        result.source?.stop()
        chunks.closeReading().drop()
    }
}

/// A file or standard stream that is written on a thread of its own. With its last reference it is closed, when all that
/// it was given is written.
final class ByteSink: SharedObject, LuaVisible, @unchecked Sendable {  // set once in `init`
    var luaType: LuaObjectType { HostAPI.byteSinkType }
    let chunks = Channel(capacity: 16, bytes: 256 << 10, name: "a writer's output")
    /// See `startBytes`; closed at the end.
    let answers = Channel(capacity: 1 << 30, name: "the flush of a writer")
    private let result = ByteStreamResult()

    var failure: String? { result.failure }

    init(_ sink: any HostSink, _ run: Run) {
        super.init()
        startBytes(
            sink, from: chunks, answers: answers, scheduler: run.scheduler,
            context: Context(scheduler: run.scheduler, parent: run.context)
        ) { [answers, result] failure in
            result.end(failure)
            answers.close()
        }
    }

    deinit { chunks.close() }
}

private final class ByteStreamResult: @unchecked Sendable {  // `lock`
    private let lock = Lock()
    private var found: String?
    private var running: (any HostSource)?
    var failure: String? { lock.withLock { found } }
    /// While it runs: its descriptors shall not wait for a collector.
    var source: (any HostSource)? { lock.withLock { running } }
    func begin(_ source: any HostSource) { lock.withLock { running = source } }
    func end(_ failure: ConnectorError?) {
        lock.withLock {
            found = failure?.description
            running = nil
        }
    }
}

final class ByteSourceStopper: ContextListener, Sendable {
    private let source: any HostSource
    init(_ source: any HostSource) { self.source = source }
    func stop() { source.stop() }
    func contextEnded(_ reason: Reason) { stop() }
}

extension HostAPI {
    static let byteSourceType = LuaObjectType(
        "byte source", phrase: "an open file", shared: false,
        methods: [("failure", byteStreamFailure), ("stop", byteSourceStop)])
    static let byteSinkType = LuaObjectType(
        "byte sink", phrase: "an open file", shared: false, methods: [("failure", byteStreamFailure)])

    static let byteStreamFunctions: [(String, LuaFunction)] = [
        ("byte_source", openByteSource), ("byte_sink", openByteSink),
    ]

    private static func options(_ stack: LuaStack) -> ConnectorOptions {
        func field(_ name: String) -> (text: String?, flag: Bool) {
            stack.getField(1, name)
            defer { stack.pop() }
            return (stack.string(-1), stack.boolean(-1))
        }
        return ConnectorOptions(
            kind: field("kind").text ?? "", path: field("path").text, format: "bytes", append: field("append").flag,
            follow: field("follow").flag, fromEnd: field("from").text == "end")
    }

    /// byte_source(description): the open file, the channel of its chunks, and one that is closed when it is open. Or nil
    /// and the reason.
    private static let openByteSource: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        let options = options(stack)
        do throws(ConnectorError) {
            let source = try worker.run.environment.makeSource(options)
            if options.kind == "stdin", let place = worker.run.readStandardInput(source, place: stack.place) {
                return misuse(worker, stack, "standard input can be read by one reader, and \(place) reads it")
            }
            let bytes = ByteSource(source, worker.run, isEndless: options.kind == "stdin" || options.follow)
            push(stack, bytes)
            push(stack, bytes.chunks)
            push(stack, bytes.opening)
            return 3
        } catch { return refuse(stack, error.description) }
    }

    /// byte_sink(description): the open file, the channel of its chunks, and that of its answers. Or nil and the reason.
    private static let openByteSink: LuaFunction = { state, vm in
        let stack = LuaStack(state), worker = Worker.of(vm)
        do throws(ConnectorError) {
            let bytes = ByteSink(try worker.run.environment.makeSink(options(stack)), worker.run)
            push(stack, bytes)
            push(stack, bytes.chunks)
            push(stack, bytes.answers)
            return 3
        } catch { return refuse(stack, error.description) }
    }

    /// failure(): why it ended early, or nil.
    private static let byteStreamFailure: LuaFunction = { state, vm in
        let stack = LuaStack(state)
        var failure: String?
        if let object = stack.object(1, byteSourceType) {
            failure = unsafeDowncast(SharedObject.from(object), to: ByteSource.self).failure
        } else if let object = stack.object(1, byteSinkType) {
            failure = unsafeDowncast(SharedObject.from(object), to: ByteSink.self).failure
        }
        if let failure { stack.push(failure) } else { stack.pushNil() }
        return 1
    }

    private static let byteSourceStop: LuaFunction = { state, vm in
        if let object = LuaStack(state).object(1, byteSourceType) {
            unsafeDowncast(SharedObject.from(object), to: ByteSource.self).stop()
        }
        return 0
    }
}

// The parts of a pipeline, each with what it counts at its end.
import LuaVM
import StreamCore

extension PipelineRun {
    func add(_ link: Link) { lock.withLock { links.append(link) } }

    /// A part begins to put into `link`.
    func produce(into link: Link) { lock.withLock { link.producers += 1 } }

    private func begin(_ pump: Pump, _ label: String) {
        pump.label = label
        pump.fault = run.environment.planted
        addPart()
        lock.withLock {
            pumps.append(pump)
            meters.append(pump.meter)
        }
    }

    private func make<T>(_ body: () throws(ConnectorError) -> T) -> T? {
        do throws(ConnectorError) { return try body() } catch {
            fail(error.description)
            return nil
        }
    }

    /// What a part adds to the pipeline's progress, read from its meter.
    /// Returns what tells the values that enter there, if any do.
    @discardableResult
    private func watch(_ meter: Meter, from input: Link?, to output: Link?) -> Gauge? {
        var entry: Gauge?
        if input == nil {
            entry = Gauge { meter.counts.emitted }
        } else if input!.isSource {
            entry = Gauge {
                let counts = meter.counts
                return counts.received + counts.returned
            }
        }
        lock.withLock {
            if let entry { entries.append(entry) }
            if let output, output.isSink { exits.append(Gauge { meter.counts.emitted }) }
        }
        return entry
    }

    // MARK: What parts count at their ends

    /// So many messages were put into `link`: what is put into a script's channel is delivered.
    private func put(_ n: Int, into link: Link) {
        if link.isSink { deliver(n) } else { lock.withLock { link.account.put += n } }
    }

    private func take(_ n: Int, from link: Link) { lock.withLock { link.account.taken += n } }

    private func drop(_ n: Int) { count { $0.drop(n, DropReason.ended) } }

    private func deliver(_ n: Int) {
        count { $0.delivered += run.environment.planted == .deliveredTwice && n > 0 ? n + 1 : n }
    }

    /// The part that took from `link` has ended, and so many were still in it.
    private func leave(_ n: Int, in link: Link) {
        lock.withLock { link.account.left += n }
        drop(n)
    }

    /// What all pumps that take from a link have in common.
    private func ended(_ pump: Pump, from input: Link) {
        take(pump.taken, from: input)
        count {
            if input.isSource { $0.created += pump.taken }
            $0.returned += pump.returned
            $0.drop(pump.dropped, DropReason.ended)
        }
    }

    // MARK: Sources

    /// False: failed.
    func source(_ spec: PipelineSpec.SourceSpec, to output: Link, _ worker: Worker) -> Bool {
        let scheduler = run.scheduler
        let done = { [self] (pump: Pump) in sourceEnded(pump, output) }
        switch spec.kind {
        case .none, .branch, .channel: preconditionFailure("a chain begins with a source of its own")
        case .connector(let options):
            guard let source = make({ () throws(ConnectorError) in try run.environment.makeSource(options) }) else {
                return false
            }
            start(source, output, spec, name: "the source \(options.name)")
        case .range(let first, let last, let step):
            begin(
                ValuePump(
                    first: first, last: last, by: step, scheduler: scheduler, output: output.channel, context: context,
                    done: done), output)
        case .values(let batch):
            begin(
                ValuePump(values: batch, scheduler: scheduler, output: output.channel, context: context, done: done),
                output)
        case .generate(let code, let fused):
            var stage = PipelineSpec.StageSpec()
            stage.name = "generate"
            stage.place = self.spec.place
            stage.code = code
            stage.kind = .process
            stage.fused = fused
            return group(stage, nil, output, worker, record: nil)
        }
        return true
    }

    private func begin(_ source: ValuePump, _ output: Link) {
        produce(into: output)
        watch(source.meter, from: nil, to: output)
        begin(source, "the source")
    }

    private func sourceEnded(_ pump: Pump, _ output: Link) {
        count {
            $0.created += (pump as! ValuePump).created
            $0.drop(pump.dropped, DropReason.ended)
        }
        put(pump.sent, into: output)
        failIfFull(pump.fullQueue)
        producerEnded(output)
        partEnded()
    }

    private func start(
        _ source: any HostSource, _ output: Link, _ spec: PipelineSpec.SourceSpec, name: String
    ) {
        let skips = spec.onError.skips, letters = letterLink(spec.letters)
        if let letters { produce(into: letters) }
        addPart()
        let watch = ConnectorWatch(name)
        lock.withLock {
            connectors.append(watch)
            output.producers += 1
            output.sources.append(source)
            hostSources.append(source)
        }
        let rejected = Counter(), lettered = Counter()
        let outlet = Outlet(channel: output.channel, scheduler: run.scheduler, context: context) {
            [run] problem, text in
            guard skips else { return false }
            if rejected.next() <= StageGroup.loggedFailures { run.log("skipped: \(problem): \(text)") }
            return true
        }
        if let letters {
            let wall = run.environment.wall
            outlet.onReject = { [self] outlet, problem, whole in
                let letter = MessageBuffer()
                DeadLetter.fill(
                    letter, value: .text(String(decoding: whole, as: UTF8.self)), error: problem, stage: "source",
                    time: Int64(wall().rounded(.down)))
                guard outlet.send(letter, to: letters.channel) else {
                    if !letters.isSink { outlet.close() }  // a sink that has failed, or whose reader is gone
                    return outlet.isClosed
                }
                _ = lettered.next()
                countLetter(letters)
                return true
            }
        }
        self.watch(outlet.meter, from: nil, to: output)
        if letters != nil { lock.withLock { rejections.append(lettered) } }
        let stopper = SourceStopper(source)
        if !context.add(stopper) { source.stop() }
        StreamCore.start(source, outlet, scheduler: run.scheduler) { [self] failure in
            watch.end()
            context.remove(stopper)
            count {
                $0.created += outlet.created + lettered.count
                $0.deadLettered += lettered.count
                $0.drop(outlet.dropped, DropReason.ended)
            }
            put(outlet.sent, into: output)
            if let failure { fail(failure.description) }
            if outlet.isFull { failIfFull(output.channel) }
            producerEnded(output)
            if let letters { producerEnded(letters) }
            partEnded()
        }
    }

    // MARK: Pumps

    /// All values, the first n, or all but the first n. To nil: the null sink.
    func pump(
        from input: Link, to output: Link?, skip: Int = 0, take: Int = .max, label: String, record: PartRecord?,
        countsSent: Bool = true
    ) {
        if let output { produce(into: output) }
        let pump = ChannelPump(
            from: input.channel, to: output?.channel, skip: skip, take: take, givesBack: input.isSource,
            scheduler: run.scheduler, context: context, onInputEnd: { [self] _ in giveUp(input) }
        ) { [self] pump in
            count { $0.filtered += pump.filtered }
            ended(pump, from: input)
            if let output { put(pump.sent, into: output) } else if countsSent { count { $0.delivered += pump.sent } }
            if !countsSent { count { $0.deadLettered -= pump.dropped } }  // they were counted as dead letters
            failIfFull(pump.fullQueue)
            if let output { producerEnded(output) }
            partEnded()
        }
        record?.meter = pump.meter
        if input.isSource { watch(pump.meter, from: input, to: nil) }
        let meter = pump.meter  // not the pump: it refers to this pipeline
        if output?.isSink ?? countsSent { lock.withLock { exits.append(Gauge { meter.counts.emitted }) } }
        begin(pump, label)
    }

    func batch(
        from input: Link, to output: Link, size: Int, within: Int64?, label: String, record: PartRecord
    ) {
        produce(into: output)
        let pump = BatchPump(
            from: input.channel, to: output.channel, size: size, within: within, givesBack: input.isSource,
            scheduler: run.scheduler, context: context, onInputEnd: { [self] _ in giveUp(input) }
        ) { [self] pump in
            count {
                $0.created += pump.arrays
                $0.consumed += pump.combined
            }
            ended(pump, from: input)
            put(pump.sent, into: output)
            failIfFull(pump.fullQueue)
            producerEnded(output)
            partEnded()
        }
        record.meter = pump.meter
        watch(pump.meter, from: input, to: output)
        begin(pump, label)
    }

    func limit(
        _ step: PipelineSpec.StageSpec, _ limiter: Limiter, _ mode: LimitPump.Mode, key: DealKey?, from input: Link,
        to output: Link, label: String, record: PartRecord
    ) {
        produce(into: output)
        let letters = letterLink(step.letters)
        if let letters { produce(into: letters) }
        let pump = LimitPump(
            limiter, mode, key: key, from: input.channel, to: output.channel, givesBack: input.isSource,
            scheduler: run.scheduler, context: context,
            judge: { [self] problem, value, count in judge(problem, value, count, of: step, letters) },
            onInputEnd: { [self] _ in giveUp(input) }
        ) { [self] pump in
            count {
                $0.failed += pump.failed
                $0.deadLettered += pump.lettered
                if mode == .drop { $0.drop(pump.limited, DropReason.limited) }
            }
            ended(pump, from: input)
            put(pump.sent, into: output)
            failIfFull(pump.fullQueue)
            producerEnded(output)
            if let letters { producerEnded(letters) }
            partEnded()
        }
        record.meter = pump.meter
        record.limited = mode == .drop ? pump.limitedMeter : nil
        watch(pump.meter, from: input, to: output)
        begin(pump, label)
    }

    /// What follows a value that has no key to be limited by.
    private func judge(
        _ problem: String, _ value: MessagePointer, _ count: Int, of step: PipelineSpec.StageSpec, _ letters: Link?
    ) -> KeyJudgement {
        let isQuiet = step.skipsErrors && count > StageGroup.loggedFailures
        let text = isQuiet ? nil : HostAPI.describe(value)
        let otherwise = { [self] in
            let message = "limit (\(step.place)): \(problem)" + (text.map { " (value: \($0))" } ?? "")
            if step.skipsErrors {
                if !isQuiet { run.log("skipped: " + message) }
                return true
            }
            fail(message)
            return false
        }
        guard let letters else { return otherwise() ? .goOn : .stop }
        return .letter(
            PumpLetter(
                to: letters, of: self, value, error: problem, stage: step.name, otherwise: otherwise))
    }

    /// One link to several: a tee or a route.
    func fan(
        _ mode: FanPump.Mode, from input: Link, to outputs: [(link: Link, meter: Meter)], label: String,
        record: PartRecord?
    ) {
        for output in outputs { produce(into: output.link) }
        let pump = FanPump(
            mode, from: input.channel, to: outputs.map { ($0.link.channel, $0.meter) }, givesBack: input.isSource,
            scheduler: run.scheduler, context: context, onInputEnd: { [self] _ in giveUp(input) }
        ) { [self] pump in
            count {
                $0.created += pump.copies
                $0.drop(pump.allDropped - pump.dropped, DropReason.ended)
            }
            ended(pump, from: input)
            for (index, output) in outputs.enumerated() { put(pump.sent(to: index), into: output.link) }
            failIfFull(pump.fullQueue)
            for output in outputs { producerEnded(output.link) }
            partEnded()
        }
        record?.meter = pump.meter
        if input.isSource { watch(pump.meter, from: input, to: nil) }
        for (link, meter) in outputs where link.isSink {
            lock.withLock { exits.append(Gauge { meter.counts.emitted }) }
        }
        begin(pump, label)
    }

    // MARK: Stages

    /// The workers of a stage, or of a source that is a function (no input). False: failed.
    func group(
        _ stage: PipelineSpec.StageSpec, _ input: Link?, _ output: Link, _ worker: Worker, record: PartRecord?
    ) -> Bool {
        produce(into: output)
        let isSource = input == nil, givesBack = input?.isSource ?? false
        let isProcess = if case .process = stage.kind { !isSource } else { false }
        var entry: Gauge?
        let group = StageGroup(
            run: run, context: context, stage: stage, input: input?.channel, output: output.channel,
            givesBack: givesBack, putsIntoLink: output.isInner, isGenerator: isSource
        ) { [self] group in
            if let input { drop(giveUp(input)) }
            let totals = group.totals, limits = group.allLimits
            var (received, emitted) = (totals.received, totals.emitted)
            if isProcess, let taps = record?.taps {  // links know that, a script's channel has others too
                if input!.isInner { received = taps.received?.count ?? received }
                emitted = taps.emitted?.count ?? emitted
            }
            group.meter.set(
                Meter.Counts(
                    received: received, emitted: emitted, filtered: totals.filtered,
                    failed: totals.failed, dropped: totals.dropped, deadLettered: totals.deadLettered,
                    created: totals.created - totals.entered, consumed: totals.consumed, returned: totals.returned))
            if !isSource { entry?.fix(totals.entered) }
            count {
                $0.created += totals.created
                $0.consumed += totals.consumed
                $0.filtered += totals.filtered
                $0.failed += totals.failed
                $0.deadLettered += totals.deadLettered
                $0.returned += totals.returned
                $0.drop(totals.dropped, DropReason.ended)
                record?.taps = nil
                record?.limits = { limits }
            }
            if let input { take(totals.taken, from: input) }
            put(totals.put, into: output)
            report(group.laneProblems)
            producerEnded(output)
            for case let letters? in group.letters { producerEnded(letters) }
            partEnded()
        }
        group.pipeline = self
        group.letters = group.links.map { letterLink($0.letters) }
        for case let letters? in group.letters { produce(into: letters) }
        group.restarts = record?.restarts
        record?.meter = group.meter
        record?.limits = { [weak group] in group?.allLimits ?? [] }
        if isProcess, let input {
            // Its function has the channels itself: they know how far it is, and what it has put and taken at the end.
            if input.isInner && !stage.isDealt { input.channel.exposure = ExposedLink(isInput: true) }
            if output.isInner { output.channel.exposure = ExposedLink(isInput: false) }
            record?.taps = (
                input.isInner || stage.isDealt ? Tap(input.channel, .received) : nil,
                output.isInner ? Tap(output.channel, .sent) : nil
            )
        }
        entry = watch(group.meter, from: input, to: output)
        addPart()
        lock.withLock {
            groups.append(group)
            if !isSource { meters.append(group.meter) }
        }
        if let problem = group.takeImage(from: worker) {
            fail(ScriptFailure(message: problem, isMisuse: true))
            group.abandon()
            return false
        }
        return true
    }

    // MARK: Sinks

    /// False: failed.
    func sink(_ options: ConnectorOptions, _ input: Link, place: String, takesLetters: Bool = false) -> Bool {
        guard let sink = make({ () throws(ConnectorError) in try run.environment.makeSink(options) }) else {
            return false
        }
        let gauges = takesLetters ? [] : watchEnd(input)
        let watch = ConnectorWatch("the sink \(options.name)", input: input.channel)
        lock.withLock { connectors.append(watch) }
        addPart()
        StreamCore.start(sink, from: input.channel, scheduler: run.scheduler, context: context) {
            [self] failure, counts in
            watch.end()
            for gauge in gauges { gauge.fix(counts.delivered) }
            if takesLetters {  // counted as dead letters when they were handed over, but for those that are lost
                count { $0.deadLettered -= counts.left + counts.lost }
            } else {
                deliver(counts.delivered)
            }
            take(counts.taken, from: input)
            leave(counts.left, in: input)
            drop(counts.lost)
            if let failure, !failure.isBrokenPipe, !(failure.isCancellation && context.reason != nil) {
                fail((failure.concernsValue ? "the sink of \(place): " : "") + failure.description)
            }
            partEnded()
        }
        return true
    }

    /// What the end of a chain adds to the progress.
    private func watchEnd(_ input: Link) -> [Gauge] {
        let tap = Tap(input.channel, .received)
        let exit = Gauge { tap.count }, entry = Gauge { tap.count }
        lock.withLock {
            exits.append(exit)
            if input.isSource { entries.append(entry) }
        }
        return [exit, entry]
    }

    /// A sink that is a function, or the collecting one: a task in the declaring worker.
    func sinkTask(_ form: StageForm, _ code: Int32, _ input: Link, _ worker: Worker) {
        let driver = StageDriver(form), givesBack = input.isSource
        let ports = StagePorts(
            driver: driver, input: input.channel, output: nil, scheduler: run.scheduler,
            inputLimit: givesBack ? 1 : 256, givesBack: givesBack)
        let stack = worker.vm.main
        ports.onFailure = { [self] failure, _ in
            var failure = failure
            failure.message = "the sink function of \(spec.place): \(failure.message)"
            fail(failure)
            return .stop
        }
        guard driver.pushFunction(stack) else { return fail("not enough memory") }
        if code != 0 { stack.push(reference: code) } else { stack.pushNil() }
        let gauges = watchEnd(input)
        addPart()
        let task = worker.start(
            from: stack, arguments: 1, context: context, origin: spec.place, ports: ports,
            drives: true
        ) {
            [self] task, end in
            ports.finish()
            if form == .collect, case .returned = end { collected = HostAPI.result(of: task, count: 1) }
            if case .failed(let failure) = end { fail(failure) }
            if code != 0 { stack.drop(reference: code) }
            drop(giveUp(input))
            for gauge in gauges { gauge.fix(Int(driver.consumed)) }
            deliver(Int(driver.consumed))
            take(ports.taken, from: input)
            count {
                $0.failed += Int(driver.failed)
                $0.drop(ports.droppedIn + ports.droppedOut + Int(driver.inHand), DropReason.ended)
                if givesBack { $0.created += ports.taken }
                $0.returned += ports.returned
            }
            partEnded()
        }
        if task == nil {
            fail("not enough memory")
            partEnded()
        }
    }
}

private final class SourceStopper: ContextListener, Sendable {
    private let source: any HostSource
    init(_ source: any HostSource) { self.source = source }
    func contextEnded(_ reason: Reason) { source.stop() }
}

extension ConnectorOptions {
    /// For reports: `stdin`, `file data.log`.
    fileprivate var name: String { path.map { "\(kind) \($0)" } ?? kind }
}

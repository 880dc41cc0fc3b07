// From the chains of a specification to parts and links.
import LuaVM
import StreamCore

extension PipelineRun {
    func build(in worker: Worker) { _ = Builder(pipeline: self, worker: worker).chain(spec.chain, path: "") }
}

/// Makes the parts of a pipeline, chain by chain. It goes on until something cannot be made; then the pipeline has failed,
/// and what stands ends by its context.
private struct Builder {
    typealias Chain = PipelineSpec.ChainSpec
    typealias Stage = PipelineSpec.StageSpec

    let pipeline: PipelineRun
    let worker: Worker

    // MARK: Chains

    /// Builds a chain from its source to its end. `output`: it is merged into that link. False: failed.
    func chain(_ chain: Chain, path: String, into output: Link? = nil) -> Bool {
        var first: Link?
        switch chain.source.kind {
        case .none, .branch:
            pipeline.fail("the pipeline of \(pipeline.spec.place) has no source")
            return false
        case .channel(let channel):
            let source = Link(channel, .source)
            // A merge, an end that takes nothing itself, or a queue of its own needs someone to move the values.
            let isMerged: Bool = if case .merge? = chain.steps.first?.kind { true } else { false }
            let isQueued = chain.steps.first?.declaresQueue ?? chain.queue.isDeclared
            let isBare = isQueued || chain.steps.isEmpty && (output != nil || chain.endsInChannelOrConnector)
            guard isMerged || isBare else { return rest(of: chain, from: source, path: path, into: output) }
            guard let front = front(of: chain, at: 0, path: path, into: output) else { return false }
            pipeline.pump(from: source, to: front, label: "the source", record: nil)
            first = front
        default:
            guard let front = front(of: chain, at: 0, path: path, into: output) else { return false }
            guard pipeline.source(chain.source, to: front, worker) else { return false }
            first = front
        }
        return rest(of: chain, from: first!, path: path, into: output)
    }

    /// Builds what follows a tee or a route; returns the link that the values of the branch go to.
    private func branch(_ branch: PipelineSpec.BranchSpec, path: String) -> Link? {
        if branch.chains.count == 1 { return self.branch(branch.chains[0], path: path) }
        // Continued several times: a tee of its own.
        let link = inner(PipelineSpec.Queue(), name: "the queue of \"\(path)\"")
        var outlets: [(link: Link, meter: Meter)] = []
        for (index, chain) in branch.chains.enumerated() {
            guard let front = self.branch(chain, path: "\(path)/\(index + 1)") else { return nil }
            outlets.append((front, Meter()))
        }
        pipeline.fan(.tee, from: link, to: outlets, label: path, record: nil)
        return link
    }

    private func branch(_ chain: Chain, path: String) -> Link? {
        guard let front = front(of: chain, at: 0, path: path, into: nil) else { return nil }
        return rest(of: chain, from: front, path: path, into: nil) ? front : nil
    }

    /// The steps of a chain and its end, from the link in front of the first step.
    private func rest(of chain: Chain, from first: Link, path: String, into output: Link?) -> Bool {
        var input = first
        for (index, step) in chain.steps.enumerated() {
            if case .merge = step.kind { continue }  // built with the link in front of what follows it
            guard let next = self.step(step, of: chain, at: index, input, path: path, into: output) else {
                return false
            }
            input = next
        }
        return output != nil || end(chain, input)
    }

    /// The link in front of the step at `index`, or of the end. Merges do not take from a link: other chains put into the
    /// one behind them, and they are built here.
    private func front(of chain: Chain, at index: Int, path: String, into output: Link?) -> Link? {
        var position = index
        while position < chain.steps.count, case .merge = chain.steps[position].kind { position += 1 }
        let link: Link
        if position < chain.steps.count {
            let step = chain.steps[position]
            link = inner(
                PipelineSpec.Queue(capacity: step.split.front, bytes: step.bytes, policy: step.policy),
                name: "the queue of \"\(path + step.name)\"")
            if case .process = step.kind, !step.isDealt, step.policy.overflow == .block, link.channel.capacity > 0 {
                link.channel.holdIntake()  // until its function first waits: see StageWorker
            }
        } else if let output {
            link = output
        } else if case .channel(let channel, let closes) = chain.sink {
            link = Link(channel, .sink(closes: closes))
            pipeline.add(link)
        } else {
            link = inner(chain.queue, name: "the queue of the sink")
            if chain.queue.policy.overflow != .block { pipeline.record(queueOfSink: link, "\(path)buffer") }
        }
        for merge in chain.steps[index..<position] {
            guard case .merge(let chains) = merge.kind else { continue }
            for merged in chains {
                guard self.chain(merged, path: path, into: link) else { return nil }
            }
        }
        return link
    }

    private func inner(_ queue: PipelineSpec.Queue, name: String) -> Link {
        let run = pipeline.run
        let channel = Channel(
            capacity: queue.capacity, bytes: queue.bytes, name: name, policy: queue.policy, scheduler: run.scheduler,
            fault: run.environment.planted == .batchLostInQueue ? .batchLost : nil)
        let link = Link(channel)
        pipeline.add(link)
        return link
    }

    // MARK: Steps

    /// Builds a step that takes from `input`; returns the link behind it.
    private func step(
        _ step: Stage, of chain: Chain, at index: Int, _ input: Link, path: String, into output: Link?
    ) -> Link? {
        let record = PartRecord(path + step.name, input: input.channel)
        record.tellsDrops = true
        pipeline.lock.withLock { pipeline.records.append(record) }
        let label = "\"\(path)\(step.name)\""
        switch step.kind {
        case .tee(let branches):
            var outlets: [(link: Link, meter: Meter)] = []
            guard hang(branches, path + step.name, &outlets) else { return nil }
            guard let next = front(of: chain, at: index + 1, path: path, into: output) else { return nil }
            outlets.append((next, Meter()))
            pipeline.fan(.tee, from: input, to: outlets, label: label, record: record)
            return next
        case .limit(let limiter, let drops, let other):
            return limit(
                step, limiter, drops: drops, other, of: chain, at: index, input, record, path: path, into: output)
        case .route(let branches, let otherwise):
            return route(step, branches, otherwise, of: chain, at: index, input, record, path: path, into: output)
        default: break
        }
        guard var next = front(of: chain, at: index + 1, path: path, into: output) else { return nil }
        let behind = next
        switch step.kind {
        case .take(let n): pipeline.pump(from: input, to: next, take: n, label: label, record: record)
        case .skip(let n): pipeline.pump(from: input, to: next, skip: n, label: label, record: record)
        case .pass: pipeline.pump(from: input, to: next, label: label, record: record)
        case .batch(let size, let within):
            pipeline.batch(from: input, to: next, size: size, within: within, label: label, record: record)
        case .process:
            // It has its output in hand, and could close it before others who feed it have ended.
            let isShared: Bool =
                if index + 1 < chain.steps.count, case .merge = chain.steps[index + 1].kind {
                    true
                } else { output != nil && index + 1 == chain.steps.count }
            if isShared {
                next = inner(PipelineSpec.Queue(), name: "the output of \(label)")
                pipeline.pump(from: next, to: behind, label: "the output of \(label)", record: nil)
            }
            guard pipeline.group(step, input, next, worker, record: record) else { return nil }
        default:
            guard pipeline.group(step, input, next, worker, record: record) else { return nil }
        }
        return behind
    }

    /// Builds branches, and what each gets its values by.
    private func hang(
        _ branches: [PipelineSpec.BranchSpec], _ path: String, _ outlets: inout [(link: Link, meter: Meter)]
    ) -> Bool {
        for branch in branches {
            let name = "\(path)/\(branch.name)"
            let record = PartRecord(name, input: nil)
            pipeline.lock.withLock { pipeline.records.append(record) }
            guard let front = self.branch(branch, path: name + "/") else { return false }
            pipeline.lock.withLock { record.input = front.channel }
            outlets.append((front, record.meter))
        }
        return true
    }

    /// A worker runs the predicates and writes behind each value where it goes; a pump moves it there.
    private func route(
        _ step: Stage, _ branches: [PipelineSpec.BranchSpec], _ otherwise: PipelineSpec.BranchSpec?, of chain: Chain,
        at index: Int, _ input: Link, _ record: PartRecord, path: String, into output: Link?
    ) -> Link? {
        var outlets: [(link: Link, meter: Meter)] = []
        guard hang(branches, path + step.name, &outlets) else { return nil }
        var rest: [(link: Link, meter: Meter)] = []
        if let otherwise { guard hang([otherwise], path + step.name, &rest) else { return nil } }
        guard let next = front(of: chain, at: index + 1, path: path, into: output) else { return nil }
        outlets.insert(rest.first ?? (next, Meter()), at: 0)  // number 0: what no predicate took
        let decided = inner(PipelineSpec.Queue(capacity: 64), name: "the output of \"\(path)\(step.name)\"")
        var predicates = step
        predicates.kind = .script(.route)
        guard pipeline.group(predicates, input, decided, worker, record: record) else { return nil }
        pipeline.fan(.route, from: decided, to: outlets, label: "\"\(path)\(step.name)\"", record: nil)
        return next
    }

    /// A pump asks the limiter; before it a worker runs the key's function, behind it a pump moves what is over the limit
    /// elsewhere.
    private func limit(
        _ step: Stage, _ limiter: Limiter, drops: Bool, _ other: PipelineSpec.BranchSpec?, of chain: Chain,
        at index: Int, _ input: Link, _ record: PartRecord, path: String, into output: Link?
    ) -> Link? {
        let label = "\"\(path)\(step.name)\""
        var outlets: [(link: Link, meter: Meter)] = []
        if let other { guard hang([other], path + step.name, &outlets) else { return nil } }
        guard let next = front(of: chain, at: index + 1, path: path, into: output) else { return nil }
        outlets.insert((next, Meter()), at: 0)
        var asked = input, key: DealKey?
        if case .field(let name)? = step.key { key = .field(name) }
        if case .function? = step.key {
            key = .marked
            asked = inner(PipelineSpec.Queue(capacity: 64), name: "the queue of \(label) behind its key")
            var keyed = step
            keyed.key = nil
            keyed.kind = .script(.key(lanes: 0))
            guard pipeline.group(keyed, input, asked, worker, record: nil) else { return nil }
        }
        let passed = other == nil ? next : inner(PipelineSpec.Queue(capacity: 64), name: "the output of \(label)")
        pipeline.limit(
            step, limiter, other != nil ? .mark : drops ? .drop : .wait, key: key, from: asked, to: passed,
            label: label, record: record)
        if other != nil { pipeline.fan(.route, from: passed, to: outlets, label: label, record: nil) }
        return next
    }

    // MARK: Ends

    private func end(_ chain: Chain, _ input: Link) -> Bool {
        switch chain.sink {
        case .none:
            pipeline.fail("the pipeline of \(pipeline.spec.place) has no end")
            return false
        case .null: pipeline.pump(from: input, to: nil, label: "the null sink", record: nil)
        case .channel: break  // what comes before puts into it
        case .connector(let options): return pipeline.sink(options, input, place: pipeline.spec.place)
        case .function(let code): pipeline.sinkTask(.sink, code, input, worker)
        case .collect: pipeline.sinkTask(.collect, 0, input, worker)
        }
        return true
    }
}

extension PipelineSpec.ChainSpec {
    fileprivate var endsInChannelOrConnector: Bool {
        switch sink {
        case .channel, .connector: true
        default: false
        }
    }
}

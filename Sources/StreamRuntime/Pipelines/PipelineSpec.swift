// A pipeline as its declaration describes it.
import LuaVM
import StreamCore

/// What a pipeline consists of. Functions stay in the declaring worker's state, under references, until it starts.
struct PipelineSpec {
    /// Where it was declared: `script.lua:3`.
    var place = ""
    var chain = ChainSpec()

    /// A source, steps, and an end.
    struct ChainSpec {
        var source = SourceSpec()
        var steps: [StageSpec] = []
        /// `.none`: of a chain that is merged into another.
        var sink = SinkSpec.none
        /// In front of the sink.
        var queue = Queue()
    }

    /// Bounds of a link.
    struct Queue {
        var capacity = 256
        var bytes = Channel.linkBytes
        var policy = OverflowPolicy()
        /// The script has asked for it: it is there also where a channel of the script's could be read or fed directly.
        var isDeclared = false
    }

    struct SourceSpec {
        enum Kind {
            case none
            case connector(ConnectorOptions)
            case range(first: Int64, last: Int64, step: Int64)
            case values(Batch)
            case generate(code: Int32, fused: [StageSpec])
            case channel(Channel)
            /// A tee or a route in another chain.
            case branch
        }
        var kind = Kind.none
        /// Where the chain was begun.
        var place = ""
        /// For what it cannot read.
        var onError = ErrorPolicy.stop
        var letters: LetterSpec?
    }

    enum SinkSpec {
        case none, null, collect
        case connector(ConnectorOptions)
        case channel(Channel, close: Bool)
        case function(Int32)
    }

    struct StageSpec {
        enum Kind {
            case script(StageForm)
            /// `:stage(name, fn)`: a whole process.
            case process
            case take(Int), skip(Int)
            /// Nothing but its queue.
            case pass
            case batch(size: Int, within: Int64?)
            /// Other chains put into the link in front of the next step too.
            case merge([ChainSpec])
            case tee([BranchSpec])
            /// Its predicates are a script stage, whose functions are this stage's.
            case route([BranchSpec], otherwise: BranchSpec?)
            /// Passes at a limiter's rate; what is over it waits, is dropped, or goes to `other`.
            case limit(Limiter, drops: Bool, other: BranchSpec?)
        }
        var kind = Kind.take(0)
        var name = ""
        var place = ""
        /// Reference of the table of its functions.
        var code: Int32 = 0
        var workers = 1
        var queue = 256
        /// Bound of the queue in bytes.
        var bytes = Channel.linkBytes
        var policy = OverflowPolicy()
        /// See `Queue.isDeclared`.
        var declaresQueue = false
        var onError = ErrorPolicy.stop
        var letters: LetterSpec?
        var skipsErrors: Bool { onError.skips }
        var memory = 0
        /// For one value, in nanoseconds, and bytes that it may put out; 0: none; nil: not said.
        var timeout: Int64?, cpu: Int64?, maxOutput: Int64?
        /// Bytes of the largest value that it may send; 0: as large as values can be; nil: not said.
        var maxValue: Int?
        /// Several workers keep the order of the input.
        var ordered = false
        /// The same key always goes to the same worker.
        var key: Key?
        /// The stages after it that run in its workers and get its very values.
        var fused: [StageSpec] = []

        enum Key {
            case field([UInt8])
            /// The field `key` of `code`.
            case function
        }
    }

    /// What hangs on a tee or a route: a branch that was continued several times has several chains.
    struct BranchSpec {
        var name = ""
        var chains: [ChainSpec] = []
    }
}

extension PipelineSpec.ChainSpec {
    /// This chain, and those merged into it or branching off, in order.
    func visit(_ body: (PipelineSpec.ChainSpec) -> Void) {
        body(self)
        for step in steps {
            switch step.kind {
            case .merge(let chains): for chain in chains { chain.visit(body) }
            case .tee(let branches): for branch in branches { branch.visit(body) }
            case .route(let branches, let otherwise):
                for branch in branches { branch.visit(body) }
                otherwise?.visit(body)
            case .limit(_, _, let other): other?.visit(body)
            default: break
            }
        }
    }
}

extension PipelineSpec.BranchSpec {
    func visit(_ body: (PipelineSpec.ChainSpec) -> Void) { for chain in chains { chain.visit(body) } }
}

extension PipelineSpec {
    /// References into the declaring worker's state that were not used up: of a pipeline that is withdrawn.
    func dropReferences(_ stack: LuaStack) {
        chain.visit { chain in
            if case .generate(let code, let fused) = chain.source.kind {
                stack.drop(reference: code)
                for stage in fused { stack.drop(reference: stage.code) }
            }
            if case .function(let code) = chain.sink { stack.drop(reference: code) }
            for step in chain.steps {
                for stage in [step] + step.fused where stage.code != 0 { stack.drop(reference: stage.code) }
            }
        }
    }

    /// The chains that read from standard input.
    var readersOfStandardInput: [SourceSpec] {
        var found: [SourceSpec] = []
        chain.visit { chain in
            if case .connector(let options) = chain.source.kind, options.kind == "stdin" { found.append(chain.source) }
        }
        return found
    }

    /// The script's channels that it closes at its end, once for each end that feeds them.
    var fedChannels: [Channel] {
        var found: [Channel] = []
        var letters: Set<LetterSpec.Key> = []
        chain.visit { chain in
            if case .channel(let channel, close: true) = chain.sink { found.append(channel) }
            for letter in chain.letters {
                guard case .channel(let channel, close: true) = letter.sink else { continue }
                if letters.insert(letter.key).inserted { found.append(channel) }
            }
        }
        return found
    }
}

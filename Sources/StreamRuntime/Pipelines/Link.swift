// What stands between the parts of a pipeline.
import StreamCore

/// A channel between parts of one pipeline. The last of those that put into it closes it; the one that takes from it
/// gives it up, which refuses those that put into it.
final class Link: @unchecked Sendable {  // its pipeline's lock guards what changes
    enum Kind {
        case inner
        /// A script's channel that values come from: it outlives the pipeline.
        case source
        /// A script's channel that they go to.
        case sink(closes: Bool)
    }

    let channel: Channel
    let kind: Kind
    /// Parts that put into it and have not ended, and the pipeline itself until all parts stand. Under its lock.
    var producers = 1
    /// Sources of the host that put into it: they may be waiting for input that nobody wants any more. The same.
    var sources: [any HostSource] = []

    /// What its parts have told of it. The same.
    var account: QueueAccount

    init(_ channel: Channel, _ kind: Kind = .inner) {
        self.channel = channel
        self.kind = kind
        account = QueueAccount(name: channel.name)
        switch (kind, channel.exposure?.isInput) {
        case (.source, false?), (.sink, true?): channel.exposure!.mix()  // of another pipeline, against its direction
        default: break
        }
    }

    /// What was not passed on goes back.
    var isSource: Bool { if case .source = kind { true } else { false } }
    var isInner: Bool { if case .inner = kind { true } else { false } }
    /// What is put into it is delivered.
    var isSink: Bool { if case .sink = kind { true } else { false } }
}

// Where dead letters go: a sink or a channel of a pipeline's, one for all stages that name it.
import LuaVM
import StreamCore

extension PipelineRun {
    /// The link to what takes the dead letters of `onError`; nil: nothing does. The first stage that names a sink opens it.
    /// A channel is closed as one at a pipeline's end is: when the last that puts into it has ended.
    func letterLink(_ spec: PipelineSpec.LetterSpec?) -> Link? {
        guard let spec else { return nil }
        if let link = lock.withLock({ letterLinks[spec.key] }) { return link }
        let link: Link
        if case .channel(let channel, let closes) = spec.sink {
            link = Link(channel, .sink(closes: closes))
        } else {
            link = Link(Channel(capacity: 256, bytes: Channel.linkBytes, name: "the queue of the dead letters"))
        }
        add(link)
        lock.withLock { letterLinks[spec.key] = link }
        switch spec.sink {
        case .connector(let options): _ = sink(options, link, place: self.spec.place, takesLetters: true)
        case .null:
            pump(from: link, to: nil, label: "the null sink of the dead letters", record: nil, countsSent: false)
        default: break
        }
        return link
    }

    /// One was handed over: a link of the pipeline's knows how many were put into it.
    func countLetter(_ link: Link) { if link.isInner { lock.withLock { link.account.put += 1 } } }
}

extension PipelineSpec {
    /// Where the dead letters of a stage or a source go.
    struct LetterSpec {
        enum Key: Hashable {
            case channel(ObjectIdentifier)
            /// Sinks that the script has made, counted.
            case sink(Int64)
        }
        let key: Key
        let sink: SinkSpec
    }
}

extension PipelineSpec.ChainSpec {
    /// Where dead letters go, as often as it is named.
    var letters: [PipelineSpec.LetterSpec] {
        var all = steps.flatMap { [$0] + $0.fused }.compactMap(\.letters)
        if let letters = source.letters { all.append(letters) }
        if case .generate(_, let fused) = source.kind { all += fused.compactMap(\.letters) }
        return all
    }
}

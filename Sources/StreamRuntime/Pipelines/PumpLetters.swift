// Dead letters of parts that are no workers: of values without a key.
import CMessage
import StreamCore

/// What follows a value without a key.
enum KeyJudgement {
    /// It is lost, and the next one comes.
    case goOn
    case stop
    case letter(PumpLetter)
}

/// A dead letter of a pump's.
struct PumpLetter {
    let link: Link
    let letter: MessageBuffer
    /// Where nobody takes it: true, the next value comes.
    let otherwise: () -> Bool
    private unowned let pipeline: PipelineRun

    init(
        to link: Link, of pipeline: PipelineRun, _ value: MessagePointer, error: String, stage: String,
        otherwise: @escaping () -> Bool
    ) {
        self.link = link
        self.pipeline = pipeline
        self.otherwise = otherwise
        letter = MessageBuffer()
        DeadLetter.fill(
            letter, value: .message(value), error: error, stage: stage,
            time: Int64(pipeline.run.environment.wall().rounded(.down)))
    }

    func taken() { pipeline.countLetter(link) }
}

/// Sends a pump's letters. Its pump's thread alone.
struct LetterBox {
    /// Those that were taken.
    private(set) var sent = 0
    /// The one that waits for room.
    private var pending: PumpLetter?
    /// The pump shall end.
    private(set) var isOver = false

    enum Posting { case done, waits }

    /// - Parameter failed: the pump's count of failures, in which this one is counted already.
    mutating func post(_ letter: PumpLetter, _ waiter: Waiter, _ failed: inout Int) -> Posting {
        switch letter.link.channel.send(letter.letter.message!, waiter) {
        case .sent:
            letter.letter.moved()
            letter.taken()
            sent += 1
            failed -= 1
        case .waiting:
            letter.letter.moved()
            failed -= 1
            pending = letter
            return .waits
        case .closed, .full, .overflow: refused(letter)
        }
        return .done
    }

    /// The pump's wait is over. False: it was not for a letter.
    mutating func resumed(_ waiter: Waiter, _ failed: inout Int) -> Bool {
        guard let letter = pending else { return false }
        pending = nil
        waiter.dropOutbox()
        if case .sent = waiter.outcome {
            letter.taken()
            sent += 1
        } else {
            failed += 1
            refused(letter)
        }
        return true
    }

    /// The wait ended with the pipeline. False: there was none.
    mutating func abandon() -> Bool {
        guard let letter = pending else { return false }
        pending = nil
        letter.link.channel.forget()
        return true
    }

    /// A sink of the host's that does not take it has failed, which fails the pipeline, or its reader is gone.
    private mutating func refused(_ letter: PumpLetter) { isOver = letter.link.isSink ? !letter.otherwise() : true }
}

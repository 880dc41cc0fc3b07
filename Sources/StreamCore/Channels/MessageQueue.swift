import CMessage
import DequeModule

/// The messages stored in a channel: batches in a row, so that whole ones change hands by their pointer and single
/// messages are appended without an allocation each.
struct MessageQueue {
    private var batches = Deque<Batch>() {
        didSet {
            front = nil
            back = nil
        }
    }
    /// The first and the last of them, not counted at each message; nil: to be looked up.
    private var front: Unmanaged<Batch>?
    private var back: Unmanaged<Batch>?
    private(set) var count = 0
    /// The last batch is the queue's own, to append single messages to.
    private var tailIsOpen = false

    private static let openLimit = 16 << 10

    var isEmpty: Bool { count == 0 }

    mutating func append(_ message: MessagePointer) {
        if !tailIsOpen || batches.isEmpty || last._withUnsafeGuaranteedRef({ $0.byteCount > Self.openLimit }) {
            batches.append(Batch())
            tailIsOpen = true
        }
        last._withUnsafeGuaranteedRef { $0.append(message) }
        count += 1
    }

    /// There is one.
    private var last: Unmanaged<Batch> {
        mutating get {
            if let back { return back }
            let last = Unmanaged.passUnretained(batches.last!)
            back = last
            return last
        }
    }
    private var first: Unmanaged<Batch> {
        mutating get {
            if let front { return front }
            let first = Unmanaged.passUnretained(batches.first!)
            front = first
            return first
        }
    }

    mutating func append(_ batch: Batch) {
        guard !batch.isEmpty else { return }
        // An emptied open batch gives way: only the last one may be empty.
        if let last = batches.last, last.isEmpty { batches.removeLast() }
        batches.append(batch)
        tailIsOpen = false
        count += batch.count
    }

    mutating func prepend(_ batch: Batch) {
        guard !batch.isEmpty else { return }
        batches.prepend(batch)
        if batches.count == 1 { tailIsOpen = false }
        count += batch.count
    }

    mutating func removeFirst(into buffer: MessageBuffer) {
        let isEmpty = first._withUnsafeGuaranteedRef { batch in
            buffer.fill(batch.first!)
            batch.removeFirst()
            return batch.isEmpty
        }
        count -= 1
        // An emptied open batch stays, to be filled again.
        if isEmpty && !(tailIsOpen && batches.count == 1) { batches.removeFirst() }
    }

    /// The first batch, or the first `most` messages of it.
    mutating func take(_ most: Int) -> Batch {
        while let first = batches.first, first.isEmpty { batches.removeFirst() }
        let batch = batches.first!
        let part: Batch
        if batch.count <= most {
            part = batch
            batches.removeFirst()
        } else {
            part = batch.split(first: most)
        }
        count -= part.count
        return part
    }

    mutating func takeAll() -> Batch {
        let all = Batch()
        while let batch = batches.popFirst() {
            while let message = batch.first {
                all.append(message)
                batch.removeFirst()
            }
        }
        count = 0
        return all
    }
}

// Chunks of bytes to lines, without copying those that lie whole within a chunk.
import Glibc

/// Splits chunks into lines. Pure: it reads nothing.
///
///     splitter.begin(chunk)
///     while let item = splitter.next() { ... }    // the chunk's lines; the chunk stays in place until nil
///     ...
///     if let item = splitter.finish() { ... }     // a last line without its end
///
/// A line ends with "\n" or "\r\n", which it is given without; any other byte, also NUL, is a part of it. A line longer
/// than the limit is reported once, when that is known, and skipped to its end.
///
/// - Complexity: O(bytes). It holds at most one line of `limit` bytes.
public struct LineSplitter: ~Copyable {
    public enum Item {
        /// A line without its end; its bytes are valid until the next call.
        case line(UnsafeRawBufferPointer)
        /// A line longer than the limit. Its first bytes, valid until the next call.
        case tooLong(UnsafeRawBufferPointer)
    }

    public static let defaultLimit = 64 << 20

    /// The number of the line that was given last; the first is 1.
    public private(set) var lineNumber = 0
    /// Bytes that a line may have, without its end.
    public let limit: Int

    private var position = UnsafeRawBufferPointer(start: nil, count: 0)  // what is left of the chunk
    private var held: UnsafeMutableRawPointer?  // the begin of a line of which the end is in a later chunk
    private var heldCount = 0
    private var heldCapacity = 0
    private var isSkipping = false
    private var isGiven = false  // `held` was given as a line, and is forgotten at the next call

    private static let shownBytes = 256
    private static let keptCapacity = 1 << 20

    public init(limit: Int = Self.defaultLimit) {
        precondition(limit > 0, "a line may have at least one byte")
        self.limit = limit
    }

    deinit { free(held) }

    /// The words for a line that is too long: "line 3 is longer than 64 MB"; or "line +3", counted from within a file.
    public static func problem(line: Int, limit: Int, isRelative: Bool = false) -> String {
        "line \(isRelative ? "+" : "")\(line) is longer than \(size(limit))"
    }

    static func size(_ limit: Int) -> String {
        limit % (1 << 20) == 0 ? "\(limit >> 20) MB" : limit % 1024 == 0 ? "\(limit >> 10) KB" : "\(limit) bytes"
    }

    /// Gives the next chunk, when `next` has returned nil. It must stay in place until `next` returns nil again.
    public mutating func begin(_ chunk: UnsafeRawBufferPointer) {
        precondition(position.isEmpty, "a chunk begins when the one before is used up")
        position = chunk
    }

    /// The next line that ends in this chunk; nil: the chunk is used up.
    public mutating func next() -> Item? {
        forgetGiven()
        while !position.isEmpty, let start = position.baseAddress {
            guard let found = memchr(start, 0x0A, position.count) else {
                let rest = position
                position = UnsafeRawBufferPointer(start: nil, count: 0)
                return isSkipping ? nil : hold(rest)
            }
            let length = UnsafeRawPointer(found) - start
            let line = UnsafeRawBufferPointer(start: start, count: length)
            position = UnsafeRawBufferPointer(rebasing: position[(length + 1)...])
            if isSkipping {
                isSkipping = false
                continue
            }
            if heldCount == 0 { return checked(line, atEnd: true) }
            if let problem = hold(line) {  // reported before its end: which is here
                isSkipping = false
                return problem
            }
            isGiven = true
            return checked(UnsafeRawBufferPointer(start: held, count: heldCount), atEnd: true)
        }
        return nil
    }

    /// The last line, if it had no end; nil: there is none.
    public mutating func finish() -> Item? {
        forgetGiven()
        guard heldCount > 0 else { return nil }
        isGiven = true
        return checked(UnsafeRawBufferPointer(start: held, count: heldCount), atEnd: false)
    }

    private mutating func checked(_ line: UnsafeRawBufferPointer, atEnd: Bool) -> Item {
        lineNumber += 1
        var length = line.count
        if atEnd, length > 0, line[length - 1] == 0x0D { length -= 1 }
        guard length <= limit else { return .tooLong(Self.first(of: line)) }
        return .line(UnsafeRawBufferPointer(rebasing: line[..<length]))
    }

    private static func first(of line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: line[..<min(line.count, shownBytes)])
    }

    /// Adds `part` to what is held. One byte over the limit is held too: it may be the "\r" of the line's end.
    private mutating func hold(_ part: UnsafeRawBufferPointer) -> Item? {
        let count = heldCount + part.count
        let isFull = count > limit + 1 || count == limit + 1 && !part.isEmpty && part[part.count - 1] != 0x0D
        let kept = isFull ? max(0, min(part.count, Self.shownBytes - heldCount)) : part.count
        if heldCount + kept > heldCapacity {
            heldCapacity = max(heldCount + kept, min(max(4096, heldCapacity * 2), limit + 1))
            held = realloc(held, heldCapacity)  // moves large blocks without copying them
            precondition(held != nil, "no memory for a line of \(heldCapacity) bytes")
        }
        if kept > 0, let from = part.baseAddress, let held {
            memcpy(held + heldCount, from, kept)
            heldCount += kept
        }
        guard isFull else { return nil }
        isSkipping = true
        isGiven = true
        lineNumber += 1
        return .tooLong(Self.first(of: UnsafeRawBufferPointer(start: held, count: heldCount)))
    }

    private mutating func forgetGiven() {
        guard isGiven else { return }
        isGiven = false
        heldCount = 0
        if heldCapacity > Self.keptCapacity {
            free(held)
            held = nil
            heldCapacity = 0
        }
    }
}

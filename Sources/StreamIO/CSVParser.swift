// CSV as RFC 4180 has it: chunks of bytes to records, without copying those that lie whole within a chunk.
import Glibc

/// Splits chunks into records and their fields. Pure: it reads nothing, and how the bytes are cut into chunks makes no
/// difference.
///
///     parser.begin(chunk)
///     while let item = parser.next() { ... }      // the chunk's records; the chunk stays in place until nil
///     ...
///     if let item = parser.finish() { ... }       // a last record without its line end
///
/// Fields are separated by commas, records end with "\n" or "\r\n". A field in double quotes may hold both, and quotes,
/// doubled. A byte order mark at the begin and blank lines are skipped: a record of one empty field is written `""`.
/// Any other byte, also NUL or a "\r" within a line, is a part of its field; spaces too.
///
/// - Complexity: O(bytes). It holds at most one record of `limit` bytes.
public struct CSVParser: ~Copyable {
    /// Where a field stands in its record.
    public struct Field {
        fileprivate let start: UInt32
        fileprivate let lengthAndFlag: UInt32
        fileprivate static let flag: UInt32 = 1 << 31
    }

    public enum Item: Equatable, Sendable {
        /// A record: `line`, `fieldCount`, `field`, `text` are its, until the next call.
        case record
        /// What is no record, to the end of its line: `line` and `text` are its.
        case bad(Problem)
    }

    public enum Problem: Equatable, Sendable, CustomStringConvertible {
        /// A quote within a field that does not begin with one; the number of the field.
        case quoteInField(Int)
        case textAfterQuote(Int)
        /// The file ends within a field in quotes; `line` is the quote's.
        case openQuote
        /// `line` is that of the quote that is open at the limit, if one is.
        case tooLong(limit: Int, inQuotes: Bool)

        public var description: String {
            switch self {
            case .quoteInField(let n):
                "a quote within field \(n), which does not begin with one: write the field in quotes, and quotes in it twice"
            case .textAfterQuote(let n):
                "text after the closing quote of field \(n): quotes in a field are written twice"
            case .openQuote: "the quote that opens here is never closed"
            case .tooLong(let limit, let inQuotes):
                "a record longer than \(LineSplitter.size(limit))"
                    + (inQuotes ? ": the quote that opens here is not closed" : "")
            }
        }
    }

    /// The line, from 1, where the record that was given last begins; for an open quote, where that stands.
    public private(set) var line = 1
    /// Fields of the record that was given last.
    public private(set) var fieldCount = 0
    /// Of a record with more fields than this, only so many are kept; all are counted.
    public var keptFields = 1 << 20
    /// The bytes of the record that was given last, without its line end.
    public private(set) var text = UnsafeRawBufferPointer(start: nil, count: 0)

    private enum State { case mark, fieldStart, unquoted, quoted, afterQuote, afterQuoteReturn, bad, skipping }
    private var state = State.mark
    private let limit: Int
    private var chunk = UnsafeRawBufferPointer(start: nil, count: 0)
    private var position = 0  // in the chunk
    private var origin = 0  // where the record begins, from the chunk's begin; negative: its begin is held
    private var fieldStart = 0  // in the record
    private var isDoubled = false
    private var problem: Problem?
    private var currentLine = 1
    private var recordLine = 1
    private var quoteLine = 1
    private var isGiven = false  // fields and text are those of a record that was given

    private var fields: UnsafeMutablePointer<Field>
    private var capacity = 16
    private var held: UnsafeMutableRawPointer?
    private var heldCount = 0
    private var heldCapacity = 0

    private static let keptCapacity = 1 << 20
    private static let comma = UInt8(ascii: ","), quote = UInt8(ascii: "\"")
    private static let newline = UInt8(ascii: "\n"), carriageReturn = UInt8(ascii: "\r")

    public init(limit: Int = LineSplitter.defaultLimit) {
        precondition(limit > 0 && limit < 1 << 30, "a record may have from one byte to one gigabyte")
        self.limit = limit
        fields = .allocate(capacity: capacity)
    }

    deinit {
        free(held)
        fields.deallocate()
    }

    /// Field `index`, from 0, of the record that was given last, as it stands there: without the quotes around it.
    /// `isDoubled`: each quote in it stands twice.
    @inline(__always)
    public func field(_ index: Int) -> (bytes: UnsafeRawBufferPointer, isDoubled: Bool) {
        let field = fields[index]
        let length = Int(field.lengthAndFlag & ~Field.flag)
        let start = text.baseAddress.map { $0 + Int(field.start) }
        return (UnsafeRawBufferPointer(start: start, count: length), field.lengthAndFlag & Field.flag != 0)
    }

    /// The value of field `index`: doubled quotes are one.
    public func value(_ index: Int) -> [UInt8] {
        let (bytes, isDoubled) = field(index)
        guard isDoubled else { return Array(bytes) }
        var value: [UInt8] = []
        var isSecond = false
        for byte in bytes {
            if byte == Self.quote { isSecond.toggle() }
            if byte != Self.quote || isSecond { value.append(byte) }
        }
        return value
    }

    /// Gives the next chunk, when `next` has returned nil. It must stay in place until `next` returns nil again.
    public mutating func begin(_ chunk: UnsafeRawBufferPointer) {
        precondition(position == self.chunk.count, "a chunk begins when the one before is used up")
        self.chunk = chunk
        position = 0
        origin = -heldCount
    }

    /// The next record that ends in this chunk; nil: the chunk is used up.
    public mutating func next() -> Item? {
        forgetGiven()
        guard let start = chunk.baseAddress else { return nil }
        let chunkEnd = start + chunk.count
        var p = start + position
        while true {
            if state == .skipping {
                guard let found = p < chunkEnd ? memchr(p, Int32(Self.newline), chunkEnd - p) : nil else {
                    position = chunk.count
                    return nil
                }
                p = UnsafeRawPointer(found) + 1
                currentLine += 1
                beginRecord(at: p - start)
            }
            let end = start + min(chunk.count, origin + limit + 2)  // no further: it is too long, however it goes on
            guard scan(&p, end, start) else {
                position = p - start
                if position - origin >= limit + 2 {
                    hold(upTo: p - start)
                    return giveTooLong()
                }
                hold(upTo: chunk.count)
                return nil
            }
            position = p - start + 1
            if let item = endRecord(at: p - start) { return item }
            p += 1
        }
    }

    /// The last record, if its line had no end; nil: there is none.
    public mutating func finish() -> Item? {
        forgetGiven()
        guard heldCount > 0, state != .skipping else { return nil }
        defer { heldCount = 0 }
        let item = endRecord(at: origin + heldCount)
        return item
    }

    // MARK: Scanning

    /// Goes on to the line end that ends the record: true, `p` is there. False: `p` is `end`.
    @inline(__always)
    private mutating func scan(_ p: inout UnsafeRawPointer, _ end: UnsafeRawPointer, _ start: UnsafeRawPointer) -> Bool
    {
        let base = -origin
        while p < end {
            switch state {
            case .fieldStart:
                guard p.load(as: UInt8.self) == Self.quote else {
                    fieldStart = p - start + base
                    state = .unquoted
                    continue
                }
                p += 1
                fieldStart = p - start + base
                isDoubled = false
                quoteLine = currentLine
                state = .quoted
            case .unquoted:
                p = ByteSearch.first(Self.comma, Self.newline, Self.quote, p, end)
                guard p < end else { return false }
                let c = p.load(as: UInt8.self)
                if c == Self.newline { return true }
                if c == Self.comma {
                    add(end: p - start + base, isDoubled: false)
                    p += 1
                    state = .fieldStart
                } else {
                    problem = .quoteInField(fieldCount + 1)
                    state = .bad
                }
            case .quoted:
                p = ByteSearch.first(Self.quote, Self.newline, p, end)
                guard p < end else { return false }
                if p.load(as: UInt8.self) == Self.quote { state = .afterQuote } else { currentLine += 1 }
                p += 1
            case .afterQuote:
                switch p.load(as: UInt8.self) {
                case Self.quote:
                    isDoubled = true
                    state = .quoted
                case Self.comma:
                    add(end: p - start + base - 1, isDoubled: isDoubled)
                    state = .fieldStart
                case Self.newline: return true
                case Self.carriageReturn: state = .afterQuoteReturn
                default:
                    problem = .textAfterQuote(fieldCount + 1)
                    state = .bad
                    continue
                }
                p += 1
            case .afterQuoteReturn:
                if p.load(as: UInt8.self) == Self.newline { return true }
                problem = .textAfterQuote(fieldCount + 1)
                state = .bad
            case .bad:
                guard let found = memchr(p, Int32(Self.newline), end - p) else {
                    p = end
                    return false
                }
                p = UnsafeRawPointer(found)
                return true
            case .mark:
                // None of its bytes is a special one: what looked like a mark and is none is the begin of a field.
                let offset = p - start + base
                let expected: UInt8 = offset == 0 ? 0xEF : offset == 1 ? 0xBB : 0xBF
                if p.load(as: UInt8.self) == expected {
                    p += 1
                    if offset == 2 { state = .fieldStart }
                } else if offset == 0 {
                    state = .fieldStart
                } else {
                    fieldStart = 0
                    state = .unquoted
                }
            case .skipping: return false
            }
        }
        return false
    }

    @inline(__always)
    private mutating func add(end: Int, isDoubled: Bool) {
        if fieldCount < keptFields {
            if fieldCount == capacity { growFields() }
            let length = UInt32(truncatingIfNeeded: end - fieldStart)
            fields[fieldCount] = Field(
                start: UInt32(truncatingIfNeeded: fieldStart), lengthAndFlag: isDoubled ? length | Field.flag : length)
        }
        fieldCount += 1
    }

    @inline(never)
    private mutating func growFields() {
        let larger = UnsafeMutablePointer<Field>.allocate(capacity: capacity * 2)
        larger.update(from: fields, count: capacity)
        fields.deallocate()
        fields = larger
        capacity *= 2
    }

    // MARK: Records

    private mutating func beginRecord(at place: Int) {
        origin = place
        recordLine = currentLine
        state = .fieldStart
        problem = nil
    }

    /// The record ends before `place`, at a line end or at the end of the file. Nil: it was a blank line.
    private mutating func endRecord(at place: Int) -> Item? {
        let isAtEnd = place >= chunk.count
        if heldCount > 0 {
            if !isAtEnd { hold(upTo: place) }
            text = UnsafeRawBufferPointer(start: held, count: heldCount)
        } else {
            text = UnsafeRawBufferPointer(rebasing: chunk[origin..<place])
        }
        var length = text.count
        var isBlank = false
        line = recordLine
        var item = Item.record
        switch state {
        case .mark, .fieldStart, .unquoted:
            if state == .fieldStart { fieldStart = length }
            if state == .mark { fieldStart = 0 }
            if length > fieldStart, text[length - 1] == Self.carriageReturn { length -= 1 }
            isBlank = fieldCount == 0 && length == fieldStart
            add(end: length, isDoubled: false)
        case .quoted:
            line = quoteLine
            item = .bad(.openQuote)
        case .afterQuote: add(end: length - 1, isDoubled: isDoubled)
        case .afterQuoteReturn:
            length -= 1
            add(end: length - 1, isDoubled: isDoubled)
        case .bad:
            if length > 0, text[length - 1] == Self.carriageReturn { length -= 1 }
            item = problem.map { .bad($0) } ?? .record
        case .skipping: break
        }
        text = UnsafeRawBufferPointer(rebasing: text[..<length])
        if length > limit, item == .record { item = .bad(.tooLong(limit: limit, inQuotes: false)) }
        currentLine += 1
        beginRecord(at: place + 1)
        isGiven = true
        guard isBlank else { return item }
        forgetGiven()
        return nil
    }

    /// The record has reached the limit: what it would become is no matter any more.
    private mutating func giveTooLong() -> Item {
        let inQuotes = state == .quoted || state == .afterQuote || state == .afterQuoteReturn
        line = inQuotes ? quoteLine : recordLine
        text = UnsafeRawBufferPointer(start: held, count: heldCount)
        let item = Item.bad(problem ?? .tooLong(limit: limit, inQuotes: inQuotes))
        state = .skipping
        isGiven = true
        return item
    }

    private mutating func forgetGiven() {
        guard isGiven else { return }
        isGiven = false
        fieldCount = 0
        heldCount = 0
        text = UnsafeRawBufferPointer(start: nil, count: 0)
        if heldCapacity > Self.keptCapacity {
            free(held)
            held = nil
            heldCapacity = 0
        }
    }

    /// Keeps the record's bytes in this chunk that lie before `place`.
    private mutating func hold(upTo place: Int) {
        let from = max(0, origin)
        guard place > from, let start = chunk.baseAddress else { return }
        let count = place - from
        if heldCount + count > heldCapacity {
            heldCapacity = max(heldCount + count, max(4096, heldCapacity * 2))
            held = realloc(held, heldCapacity)  // moves large blocks without copying them
            precondition(held != nil, "no memory for a record of \(heldCapacity) bytes")
        }
        if let held { memcpy(held + heldCount, start + from, count) }
        heldCount += count
    }
}

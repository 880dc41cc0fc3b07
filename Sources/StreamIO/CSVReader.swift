// CSV records as messages.
import CMessage
import StreamCore

/// Makes messages of the records of one CSV file. Pure: it reads nothing.
///
/// The first record, or `columns`, names the fields. A record becomes one JSON object in the header's order, all values
/// strings, so that it is read lazily and keeps its order; one with bytes that are not UTF-8 becomes a table message,
/// so that no byte is lost.
public struct CSVReader: ~Copyable {
    public enum Item {
        /// An object for a `MSG_JSON` message; the bytes are valid until the next call.
        case json(UnsafeRawBufferPointer)
        /// A whole `MSG_TABLE` message, valid until the next call.
        case table(MessagePointer)
        /// What is no record: the source goes on at the next line, by its policy.
        case bad(line: Int, problem: String, text: UnsafeRawBufferPointer)
        /// The header cannot be used: the source fails.
        case failed(line: Int, problem: String)
    }

    /// The names of the fields, once known.
    public private(set) var header: [[UInt8]] = []

    private var parser: CSVParser
    private let hasColumns: Bool
    private var pieces = ByteWriter()  // what stands in front of each value: `{"a":"`, then `","b":"` and so on
    private var pieceEnds: UnsafeMutableBufferPointer<Int> = .allocate(capacity: 0)
    private var shape: UnsafePointer<msg_shape>?
    private var offsets: UnsafeMutableBufferPointer<UInt32> = .allocate(capacity: 0)
    private var isText = true  // the header is valid UTF-8
    private var out = ByteWriter()

    /// - Parameter columns: the names; then the first record is data too.
    public init(columns: [String] = [], limit: Int = LineSplitter.defaultLimit) {
        parser = CSVParser(limit: limit)
        hasColumns = !columns.isEmpty
        if hasColumns { setHeader(columns.map { Array($0.utf8) }) }
    }

    deinit {
        pieceEnds.deallocate()
        offsets.deallocate()
    }

    /// Where the values of the object that was given last stand; nil: there are too many fields, or shapes.
    var index: RecordIndex? {
        guard let shape, let offsets = offsets.baseAddress else { return nil }
        return RecordIndex(shape: shape, offsets: offsets)
    }

    /// Reads on in the same file at another place: at the begin of a line.
    public mutating func restart(limit: Int = LineSplitter.defaultLimit) {
        let kept = header.count
        parser = CSVParser(limit: limit)
        if kept > 0 { parser.keptFields = kept }
    }

    /// Gives the next chunk, when `next` has returned nil. It must stay in place until `next` returns nil again.
    public mutating func begin(_ chunk: UnsafeRawBufferPointer) { parser.begin(chunk) }

    /// The next record that ends in this chunk; nil: the chunk is used up.
    public mutating func next() -> Item? {
        while let item = parser.next() {
            if let message = message(item) { return message }
        }
        return nil
    }

    /// The last record, if its line had no end; nil: there is none.
    public mutating func finish() -> Item? { parser.finish().flatMap { message($0) } }

    private mutating func message(_ item: CSVParser.Item) -> Item? {
        if case .bad(let problem) = item {
            guard !header.isEmpty else {
                return .failed(line: parser.line, problem: "the header cannot be read: \(problem)")
            }
            return .bad(line: parser.line, problem: problem.description, text: parser.text)
        }
        guard !header.isEmpty else { return takeHeader() }
        guard parser.fieldCount == header.count else {
            let count = parser.fieldCount == 1 ? "1 field" : "\(parser.fieldCount) fields"
            let whose = hasColumns ? "there are \(header.count) columns" : "the header has \(header.count)"
            return .bad(line: parser.line, problem: "\(count), \(whose)", text: parser.text)
        }
        if isText, makeJSON() { return .json(out.bytes) }
        return makeTable()
            ?? .bad(line: parser.line, problem: "a record too large for one value", text: parser.text)
    }

    // MARK: The header

    private mutating func takeHeader() -> Item? {
        guard parser.fieldCount <= parser.keptFields else {
            return .failed(line: parser.line, problem: "the header has more than \(parser.keptFields) fields")
        }
        var names: [[UInt8]] = []
        var places: [[UInt8]: Int] = [:]
        for i in 0..<parser.fieldCount {
            let name = parser.value(i)
            guard !name.isEmpty else {
                return .failed(line: parser.line, problem: "field \(i + 1) of the header has no name")
            }
            if let first = places.updateValue(i, forKey: name) {
                let shown = String(decoding: name, as: UTF8.self)
                return .failed(
                    line: parser.line, problem: "the header has '\(shown)' twice, as fields \(first + 1) and \(i + 1)")
            }
            names.append(name)
        }
        setHeader(names)
        return nil
    }

    private mutating func setHeader(_ names: [[UInt8]]) {
        header = names
        parser.keptFields = names.count
        pieceEnds.deallocate()
        pieceEnds = .allocate(capacity: names.count)
        for (i, name) in names.enumerated() {
            pieces.append(i == 0 ? "{\"" : "\",\"")
            let isValid = name.withUnsafeBytes { bytes in
                bytes.baseAddress.map { JSONText.appendEscaped($0, $0 + bytes.count, isDoubled: false, to: &pieces) }
            }
            if isValid != true { isText = false }
            pieces.append("\":\"")
            pieceEnds.initializeElement(at: i, to: pieces.count)
        }
        offsets.deallocate()
        offsets = .allocate(capacity: names.count)
        offsets.initialize(repeating: 0)
        shape = isText ? makeShape() : nil
    }

    /// Nil: a name is too long, or there are too many of them.
    private func makeShape() -> UnsafePointer<msg_shape>? {
        guard header.count <= Int(MSG_SHAPE_FIELDS), let start = pieces.bytes.baseAddress else { return nil }
        var symbols: [UInt32] = []
        var keys: [UnsafePointer<CChar>?] = []
        var lengths: [UInt32] = []
        for i in 0..<header.count {
            let symbol = header[i].withUnsafeBytes {
                msg_symbol($0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
            }
            guard symbol != UInt32.max else { return nil }  // MSG_NO_SYMBOL
            symbols.append(symbol)
            // The name in its quotes: behind `{` or `",`, and in front of `:"`.
            let begin = i == 0 ? 1 : pieceEnds[i - 1] + 2
            keys.append((start + begin).assumingMemoryBound(to: CChar.self))
            lengths.append(UInt32(pieceEnds[i] - 2 - begin))
        }
        return msg_shape_of(symbols, keys, lengths, header.count)
    }

    // MARK: Records

    /// False: a field is not UTF-8.
    private mutating func makeJSON() -> Bool {
        out.removeAll(keepingCapacity: out.count <= 1 << 20)
        guard let names = pieces.bytes.baseAddress else { return false }
        let text = parser.text
        guard text.count <= 64 << 10, let textStart = text.baseAddress else { return makeLargeJSON(names) }
        // An escaped byte has six, and whole words are written.
        return out.write(room: pieces.count + 6 * text.count + 24) { start in
            let textEnd = textStart + text.count
            var p = start
            var begin = 0
            for i in 0..<pieceEnds.count {
                let length = pieceEnds[i] - begin
                p.copyMemory(from: names + begin, byteCount: length)
                p += length
                begin += length
                offsets[i] = UInt32(truncatingIfNeeded: p - start - 1)  // at the quote
                let (bytes, isDoubled) = parser.field(i)
                guard let field = bytes.baseAddress else { continue }
                guard
                    JSONText.writeEscaped(
                        field, field + bytes.count, readable: textEnd, isDoubled: isDoubled, to: &p)
                else { return -1 }
            }
            p.storeBytes(of: UInt8(ascii: "\""), as: UInt8.self)
            p.storeBytes(of: UInt8(ascii: "}"), toByteOffset: 1, as: UInt8.self)
            return p + 2 - start
        }
    }

    /// The same for a record for which the room is not set aside at once.
    private mutating func makeLargeJSON(_ names: UnsafeRawPointer) -> Bool {
        var begin = 0
        for i in 0..<pieceEnds.count {
            let end = pieceEnds[i]
            out.append(names + begin, end - begin)
            begin = end
            offsets[i] = UInt32(truncatingIfNeeded: out.count - 1)
            let (bytes, isDoubled) = parser.field(i)
            guard let start = bytes.baseAddress else { continue }
            guard JSONText.appendEscaped(start, start + bytes.count, isDoubled: isDoubled, to: &out) else {
                return false
            }
        }
        out.append(UInt8(ascii: "\""))
        out.append(UInt8(ascii: "}"))
        return out.count < Int(MSG_MAX_SIZE) - 64
    }

    /// Nil: too large.
    private mutating func makeTable() -> Item? {
        out.removeAll(keepingCapacity: out.count <= 1 << 20)
        out.append(zeros: Int(MSG_HEADER_SIZE))
        out.append(UInt8(MSG_TABLE_IS_ORDERED))
        out.append(number: 0)
        out.append(number: header.count)
        for i in 0..<header.count {
            header[i].withUnsafeBytes { out.append(string: $0) }
            let (bytes, isDoubled) = parser.field(i)
            if isDoubled {
                parser.value(i).withUnsafeBytes { out.append(string: $0) }
            } else {
                out.append(string: bytes)
            }
        }
        guard out.count < Int(MSG_MAX_SIZE) - 64 else { return nil }
        let size = msg_padded(UInt32(out.count))
        out.append(zeros: Int(size) - out.count)
        return out.finishMessage(msg_header(size: size, kind: UInt8(MSG_TABLE), flags: 0, shape: 0))
    }
}

extension ByteWriter {
    fileprivate mutating func append(zeros count: Int) { for _ in 0..<count { append(UInt8(0)) } }

    fileprivate mutating func append(number: Int) {
        var number = UInt32(truncatingIfNeeded: number)
        withUnsafeBytes(of: &number) { append($0) }
    }

    /// As a nested value.
    fileprivate mutating func append(string: UnsafeRawBufferPointer) {
        append(UInt8(MSG_VALUE_STRING))
        append(number: string.count)
        append(string)
    }

    /// Puts the header over the first bytes. Memory of a writer is aligned as malloc's.
    fileprivate func finishMessage(_ header: msg_header) -> CSVReader.Item? {
        guard let start = bytes.baseAddress else { return nil }
        UnsafeMutableRawPointer(mutating: start).storeBytes(of: header, as: msg_header.self)
        return .table(start.assumingMemoryBound(to: msg_header.self))
    }
}

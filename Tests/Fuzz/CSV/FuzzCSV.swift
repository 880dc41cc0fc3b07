// Fuzz target: reading CSV and lines, and writing CSV.
//
// The first byte of the input chooses the limit of a record, the second how the rest, which is a file, is cut into chunks.
//  - What CSVReader gives, and LineSplitter, is the same however the file is cut: in one piece, by bytes, by the drawn cuts.
//    Each chunk lies in memory of its exact size, which AddressSanitizer watches.
//  - What it gives is a message: its JSON is JSON, and the places of its fields are those that a checker finds.
//  - Written by CSVWriter and read again, the records are the same.
import CMessage
import Glibc
import StreamCore

@testable import StreamIO

private func must(_ condition: Bool, _ text: @autoclosure () -> String, line: UInt = #line) {
    guard !condition else { return }
    let words = Array("FuzzCSV.swift:\(line): must hold: \(text())\n".utf8)
    _ = write(2, words, words.count)
    abort()
}

/// What a reader gives, as bytes: a message with its layout checked, or the words of a problem.
private enum Given: Equatable {
    case message([UInt8])
    case problem(String, [UInt8])
}

/// A message in memory of its own.
private func withMessage<R>(_ bytes: [UInt8], _ body: (MessagePointer) -> R) -> R {
    let place = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
    defer { place.deallocate() }
    place.copyBytes(from: bytes)
    return body(MessagePointer(place.baseAddress!.assumingMemoryBound(to: msg_header.self)))
}

private func messageBytes(json text: UnsafeRawBufferPointer, _ index: RecordIndex?) -> [UInt8] {
    var end = Int(MSG_TEXT_OFFSET) + text.count
    if let index { end = (end + 3) & ~3 + 4 * Int(index.shape.pointee.count) }
    let size = Int(msg_padded(UInt32(end)))
    var bytes = [UInt8](repeating: 0, count: size)
    bytes.withUnsafeMutableBytes { place in
        place.storeBytes(
            of: msg_header(
                size: UInt32(size), kind: UInt8(MSG_JSON), flags: index == nil ? 0 : UInt8(MSG_INDEXED),
                shape: index?.shape.pointee.number ?? 0), as: msg_header.self)
        place.storeBytes(of: UInt32(text.count), toByteOffset: Int(MSG_HEADER_SIZE), as: UInt32.self)
        UnsafeMutableRawBufferPointer(rebasing: place[Int(MSG_TEXT_OFFSET)...]).copyMemory(from: text)
        guard let index else { return }
        let from = UnsafeRawBufferPointer(start: index.offsets, count: 4 * Int(index.shape.pointee.count))
        UnsafeMutableRawBufferPointer(rebasing: place[(end - from.count)...]).copyMemory(from: from)
    }
    return bytes
}

/// Calls `body` with the chunks of a file, each in memory of its own, which is gone when `body` returns.
private func cut(_ file: [UInt8], _ next: () -> Int, _ body: (UnsafeRawBufferPointer) -> Void) {
    var rest = file[...]
    while !rest.isEmpty {
        let count = min(max(1, next()), rest.count)
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        chunk.copyBytes(from: rest.prefix(count))
        body(UnsafeRawBufferPointer(chunk))
        chunk.deallocate()
        rest = rest.dropFirst(count)
    }
}

private func read(_ file: [UInt8], limit: Int, _ next: () -> Int) -> [Given] {
    var reader = CSVReader(limit: limit)
    var given: [Given] = []
    func take(_ item: CSVReader.Item, _ index: RecordIndex?) {
        switch item {
        case .json(let text):
            let bytes = messageBytes(json: text, index)
            withMessage(bytes) {
                must(msg_check($0, bytes.count, nil), "no message: \(String(decoding: text, as: UTF8.self))")
            }
            given.append(.message(bytes))
        case .table(let message):
            let bytes = Array(UnsafeRawBufferPointer(start: message, count: Int(message.pointee.size)))
            withMessage(bytes) { must(msg_check($0, bytes.count, nil), "no table message") }
            given.append(.message(bytes))
        case .bad(let line, let problem, let text): given.append(.problem("\(line): \(problem)", Array(text)))
        case .failed(let line, let problem): given.append(.problem("\(line) failed: \(problem)", []))
        }
    }
    cut(file, next) { chunk in
        reader.begin(chunk)
        while let item = reader.next() { take(item, reader.index) }
    }
    if let item = reader.finish() { take(item, reader.index) }
    return given
}

private func lines(_ file: [UInt8], limit: Int, _ next: () -> Int) -> [[UInt8]?] {
    var splitter = LineSplitter(limit: limit)
    var given: [[UInt8]?] = []
    func take(_ item: LineSplitter.Item) {
        switch item {
        case .line(let text): given.append(Array(text))
        case .tooLong: given.append(nil)  // as much as is known by then is shown
        }
    }
    cut(file, next) { chunk in
        splitter.begin(chunk)
        while let item = splitter.next() { take(item) }
    }
    if let item = splitter.finish() { take(item) }
    return given
}

/// The records alone, written as a file; nil: they cannot be.
private func written(_ given: [Given]) -> [UInt8]? {
    var writer = CSVWriter()
    var out = ByteWriter()
    for case .message(let bytes) in given {
        let good = withMessage(bytes) { message in
            do {
                try writer.append(message, to: &out)
                return true
            } catch {
                return false
            }
        }
        if !good { return nil }
    }
    return Array(out.bytes)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCSV(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size >= 2 else { return 0 }
    let limit = data[0] < 128 ? Int(data[0]) + 1 : LineSplitter.defaultLimit
    let file = Array(UnsafeBufferPointer(start: data + 2, count: size - 2))
    var drawn = UInt32(data[1]) &* 2_654_435_769 | 1
    func draw() -> Int {
        drawn = drawn &* 1_664_525 &+ 1_013_904_223
        return Int(drawn >> 24) % 24
    }
    let whole = read(file, limit: limit) { .max }
    must(whole == read(file, limit: limit) { 1 }, "by bytes the records are others")
    must(whole == read(file, limit: limit, draw), "cut into pieces the records are others")
    let wholeLines = lines(file, limit: limit) { .max }
    must(wholeLines == lines(file, limit: limit) { 1 }, "by bytes the lines are others")
    must(wholeLines == lines(file, limit: limit, draw), "cut into pieces the lines are others")
    // After a header that failed the reader takes the next record for one: a source ends there.
    guard !whole.contains(where: { if case .problem(let text, _) = $0 { text.contains(" failed: ") } else { false } })
    else { return 0 }
    guard let written = written(whole) else {
        must(false, "what was read is not written")
        return 0
    }
    let records = whole.filter { if case .message = $0 { true } else { false } }
    must(read(written, limit: LineSplitter.defaultLimit) { .max } == records, "written and read they are others")
    return 0
}

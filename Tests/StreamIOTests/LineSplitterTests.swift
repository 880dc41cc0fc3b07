import StreamIO
import Testing

/// The lines of `text`, given in pieces of the sizes; "TOO LONG 3" for a problem.
private func lines(_ text: String, pieces: [Int], limit: Int = LineSplitter.defaultLimit) -> [String] {
    var splitter = LineSplitter(limit: limit)
    var lines: [String] = []
    func show(_ item: LineSplitter.Item, _ number: Int) -> String {
        switch item {
        case .line(let bytes): String(decoding: bytes, as: UTF8.self)
        case .tooLong: "TOO LONG \(number)"
        }
    }
    var rest = Array(text.utf8)[...]
    for piece in pieces + [rest.count] {
        let chunk = Array(rest.prefix(piece))  // memory of its own: gone after the chunk
        rest = rest.dropFirst(piece)
        chunk.withUnsafeBytes {
            splitter.begin($0)
            while let item = splitter.next() { lines.append(show(item, splitter.lineNumber)) }
        }
    }
    if let item = splitter.finish() { lines.append(show(item, splitter.lineNumber)) }
    return lines
}

@Suite("Line splitter")
struct LineSplitterTests {
    @Test(
        "ends are removed, a last line without its end counts",
        arguments: [
            ("", []),
            ("\n", [""]),
            ("a", ["a"]),
            ("a\n", ["a"]),
            ("a\n\n", ["a", ""]),
            ("a\nb", ["a", "b"]),
            ("a\r\nb\r\n", ["a", "b"]),
            ("\r\n\r\n", ["", ""]),
            ("a\r", ["a\r"]),
            ("a\rb\n", ["a\rb"]),
            ("a\r\r\n", ["a\r"]),
            ("\0\n\0a\0", ["\0", "\0a\0"]),
        ] as [(String, [String])])
    func endsAreRemoved(text: String, expected: [String]) {
        #expect(lines(text, pieces: []) == expected)
        #expect(lines(text, pieces: Array(repeating: 1, count: text.utf8.count)) == expected)
    }

    @Test("wherever chunks end, the lines are the same")
    func anySplit() {
        let sample = "one\r\n\r\n\0two\r\rthree\n\n0123456789ABCDEF\r\n0123456789\n012345678901\r\nlast\r"
        for limit in [9, 10, 12, 16, 100] {
            let expected = lines(sample, pieces: [], limit: limit)
            let count = sample.utf8.count
            for first in 0...count {
                for second in 0...(count - first) {
                    #expect(lines(sample, pieces: [first, second], limit: limit) == expected)
                }
            }
        }
    }

    @Test("a line over the limit is reported once with its number, and the next ones are given")
    func overLimit() {
        #expect(
            lines("ab\n1234\n1234\r\n12345\ncd\n123456", pieces: [], limit: 4) == [
                "ab", "1234", "1234", "TOO LONG 4", "cd", "TOO LONG 6",
            ])
        #expect(lines("12345678901234567890", pieces: [3, 3, 3], limit: 4) == ["TOO LONG 1"])
        #expect(LineSplitter.problem(line: 3, limit: LineSplitter.defaultLimit) == "line 3 is longer than 64 MB")
    }

    @Test("a line that lies whole in a chunk is not copied")
    func notCopied() {
        let chunk = Array("ab\ncd\n".utf8)
        chunk.withUnsafeBytes { bytes in
            var splitter = LineSplitter()
            splitter.begin(bytes)
            _ = splitter.next()
            guard case .line(let line) = splitter.next() else {
                Issue.record("there is a second line")
                return
            }
            #expect(line.baseAddress == bytes.baseAddress! + 3)
        }
    }

    @Test("lines longer than a chunk come whole, large and small in turn")
    func largeLines() {
        let text = (0..<6).map { String(repeating: "x", count: $0 % 2 == 0 ? 300_000 : 3) }
        let pieces = Array(repeating: 65536, count: 14)
        #expect(lines(text.joined(separator: "\n"), pieces: pieces) == text)
    }
}

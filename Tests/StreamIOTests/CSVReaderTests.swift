import CMessage
import StreamCore
import Testing

@testable import StreamIO

/// What the reader gives: JSON texts; `name=value|...` for tables; `LINE!problem` and `LINE failed: problem`.
private func read(_ bytes: [UInt8], columns: [String] = [], step: Int = .max) -> [String] {
    var reader = CSVReader(columns: columns)
    var items: [String] = []
    func show(_ item: CSVReader.Item) -> String {
        switch item {
        case .json(let text): String(decoding: text, as: UTF8.self)
        case .table(let message): strings(of: message).map { "\($0)=\($1)" }.joined(separator: "|")
        case .bad(let line, let problem, let text):
            "\(line)!\(problem) <\(String(decoding: text, as: UTF8.self))>"
        case .failed(let line, let problem): "\(line) failed: \(problem)"
        }
    }
    var rest = bytes[...]
    while !rest.isEmpty {
        let chunk = Array(rest.prefix(step))
        rest = rest.dropFirst(chunk.count)
        chunk.withUnsafeBytes { bytes in
            reader.begin(bytes)
            while let item = reader.next() { items.append(show(item)) }
        }
    }
    if let item = reader.finish() { items.append(show(item)) }
    return items
}

/// The pairs of a table message of strings; bytes as Latin-1.
private func strings(of message: MessagePointer) -> [(String, String)] {
    let start = UnsafeRawPointer(message) + Int(MSG_HEADER_SIZE)
    #expect(message.size % 8 == 0)
    #expect((start + 1).loadUnaligned(as: UInt32.self) == 0)
    var cursor = start + 9
    func string() -> String {
        #expect(cursor.load(as: UInt8.self) == UInt8(MSG_VALUE_STRING))
        let length = Int((cursor + 1).loadUnaligned(as: UInt32.self))
        let bytes = UnsafeRawBufferPointer(start: cursor + 5, count: length)
        cursor += 5 + length
        return String(String.UnicodeScalarView(bytes.map { UnicodeScalar($0) }))
    }
    let pairs = (0..<(start + 5).loadUnaligned(as: UInt32.self)).map { _ in
        let name = string()
        return (name, string())
    }
    #expect(cursor <= UnsafeRawPointer(message) + message.size)
    return pairs
}

@Suite("CSV reader")
struct CSVReaderTests {
    @Test(
        "records become objects in the header's order",
        arguments: [
            ("", []), ("a,b\n", []), ("b,a\n1,x\n", [#"{"b":"1","a":"x"}"#]),
            ("a\n\"x\"\"y\"\"\"\n", [#"{"a":"x\"y\""}"#]),
            ("a\n\\,\n", ["2!2 fields, the header has 1 <\\,>"]),
            ("a\n\\\t\u{01}\u{8}\u{C}é\u{1F600}\n", [#"{"a":"\\\t\u0001\b\fé😀"}"#]),
            ("a\n\"l1\nl2\r\n\"\n", [#"{"a":"l1\nl2\r\n"}"#]),
            ("\"a\"\"b\",\"c\n\"\n1,2\n", [#"{"a\"b":"1","c\n":"2"}"#]),
            ("a\n\"\"\n\n", [#"{"a":""}"#]),
        ] as [(String, [String])])
    func objects(text: String, items: [String]) {
        for step in [Int.max, 1, 3] { #expect(read(Array(text.utf8), step: step) == items) }
    }

    @Test(
        "what is no record is named with its line",
        arguments: [
            (
                "a,b\n1\n2,3\n4,5,6\n",
                ["2!1 field, the header has 2 <1>", #"{"a":"2","b":"3"}"#, "4!3 fields, the header has 2 <4,5,6>"]
            ),
            ("a,b\n1,\"x\ny\"\n2\n", [#"{"a":"1","b":"x\ny"}"#, "4!1 field, the header has 2 <2>"]),
            ("a\nx\n\"y\nz\n", [#"{"a":"x"}"#, "3!\(CSVParser.Problem.openQuote) <\"y\nz\n>"]),
            ("\na,b,a\n1,2,3\n", ["2 failed: the header has 'a' twice, as fields 1 and 3"]),
            ("a,,b\n", ["1 failed: field 2 of the header has no name"]),
            ("a,\"b\n1,2\n", ["1 failed: the header cannot be read: \(CSVParser.Problem.openQuote)"]),
        ] as [(String, [String])])
    func problems(text: String, items: [String]) {
        // A source ends at what failed; the reader alone would take the next record for the header.
        let found = read(Array(text.utf8))
        #expect(Array(found.prefix(items.count)) == items)
    }

    @Test("escapes at every place of a field, in short records and long ones")
    func escapes() {
        let pieces: [(csv: String, json: String)] = [
            ("\"\"", #"\""#), ("\\", #"\\"#), ("\n", #"\n"#), ("\u{1F}", #"\u001f"#), ("é", "é"), ("\u{1F600}", "😀"),
            ("\u{7F}", "\u{7F}"),
        ]
        for fill in [0, 100_000] {
            for before in 0..<18 {
                for (csv, json) in pieces {
                    let head = String(repeating: "x", count: before), tail = String(repeating: "y", count: fill)
                    #expect(
                        read(Array("a,b\n\"\(head)\(csv)\(csv)z\(tail)\",\"\(csv)\"".utf8))
                            == ["{\"a\":\"\(head)\(json)\(json)z\(tail)\",\"b\":\"\(json)\"}"])
                }
                if fill > 0, before > 2 { break }
            }
        }
    }

    @Test("columns stand in place of a header, and every line is data")
    func columns() {
        #expect(
            read(Array("1,2\n3\n".utf8), columns: ["x", "y"])
                == [#"{"x":"1","y":"2"}"#, "2!1 field, there are 2 columns <3>"])
    }

    @Test("a record with bytes that are not UTF-8 is a table, in the same order, without a loss")
    func invalidUTF8() {
        let bytes: [UInt8] =
            Array("b,a\n1,caf".utf8) + [0xE9] + Array("\n\"".utf8) + [0xFF] + Array("\"\"\",2\n3,4\n".utf8)
        #expect(read(bytes) == ["b=1|a=caf\u{E9}", "b=\u{FF}\"|a=2", #"{"b":"3","a":"4"}"#])
        #expect(read([0xE9] + Array(",b\n1,2\n".utf8)) == ["\u{E9}=1|b=2"])
    }

    @Test("an object says where its values stand")
    func index() {
        var reader = CSVReader()
        let bytes = Array(
            "a,\"b\"\"\n\",long name\n1,\"x\"\"\ny\",\n,é,\(String(repeating: "z", count: 100_000))\n".utf8)
        bytes.withUnsafeBytes { bytes in
            reader.begin(bytes)
            var records = 0
            while case .json(let text)? = reader.next() {
                records += 1
                guard let index = reader.index else {
                    Issue.record("no index")
                    return
                }
                #expect(index.shape.pointee.count == 3)
                // Each offset is behind the field's name and a colon, and at its value.
                let string = Array(text)
                for (i, name) in ["\"a\":", "\"b\\\"\\n\":", "\"long name\":"].enumerated() {
                    let offset = Int(index.offsets[i])
                    #expect(string[..<offset].suffix(name.utf8.count) == Array(name.utf8)[...])
                    #expect(string[offset] == UInt8(ascii: "\""))
                    let key = UnsafeRawBufferPointer(
                        start: index.shape.pointee.keys[i], count: Int(index.shape.pointee.key_lengths[i]))
                    #expect(Array(key) == Array(name.utf8.dropLast()))
                }
            }
            #expect(records == 2)
        }
    }
}

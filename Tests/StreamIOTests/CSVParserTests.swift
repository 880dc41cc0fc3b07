import StreamIO
import Testing

/// What the parser gives for chunks: `LINE:FIELD|FIELD` for a record, `LINE!PROBLEM` for what is none. Each chunk is
/// overwritten when it is used up.
private func parse(_ chunks: [ArraySlice<UInt8>], limit: Int = 1000) -> [String] {
    var parser = CSVParser(limit: limit)
    var items: [String] = []
    func add(_ item: CSVParser.Item, _ parser: borrowing CSVParser) {
        switch item {
        case .bad(let problem): items.append("\(parser.line)!\(problem)")
        case .record:
            var fields: [String] = []
            for i in 0..<parser.fieldCount { fields.append(String(decoding: parser.value(i), as: UTF8.self)) }
            items.append("\(parser.line):" + fields.joined(separator: "|"))
        }
    }
    for chunk in chunks {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: chunk)
        parser.begin(UnsafeRawBufferPointer(copy))
        while let item = parser.next() { add(item, parser) }
        for i in 0..<copy.count { copy[i] = UInt8(ascii: "#") }
    }
    if let item = parser.finish() { add(item, parser) }
    return items
}

@Suite("CSV parser")
struct CSVParserTests {
    static let quoteIn2 = CSVParser.Problem.quoteInField(2), afterQuote1 = CSVParser.Problem.textAfterQuote(1)

    static let cases: [(text: String, items: [String])] = [
        ("", []),
        ("\n\r\n\n", []),
        ("a,b\n1,2\n", ["1:a|b", "2:1|2"]),
        ("a,b\r\n1,2\r\n", ["1:a|b", "2:1|2"]),
        ("a,b\r\n1,2", ["1:a|b", "2:1|2"]),
        ("a,b\r", ["1:a|b"]),
        (",\n", ["1:|"]),
        ("a,\r\n,b\n,", ["1:a|", "2:|b", "3:|"]),
        ("\n\na\n\n\nb\n", ["3:a", "6:b"]),
        ("\"\"\n\"\"", ["1:", "2:"]),
        ("\"a,b\",\"c\"\"d\"\"\",\"\"\"\"\n", ["1:a,b|c\"d\"|\""]),
        ("\"a\r\nb\nc\",d\ne\n", ["1:a\r\nb\nc|d", "4:e"]),
        ("\"a\"\r\n\"b\"\r", ["1:a", "2:b"]),
        (" a , b \n", ["1: a | b "]),
        ("a\rb,c\0d\n", ["1:a\rb|c\0d"]),
        ("a\r\r\n", ["1:a\r"]),
        ("\u{FEFF}a,b\n1,2\n", ["1:a|b", "2:1|2"]),
        ("\u{FEFF}\"a\"\n", ["1:a"]),
        ("\u{FEFF}", []),
        ("\u{FEFF}\r\n\u{FEFF}a\n", ["2:\u{FEFF}a"]),
        ("\u{FF0C},b\n", ["1:\u{FF0C}|b"]),  // begins with the first byte of a mark
        ("a\"b,c\nd\n", ["1!\(CSVParser.Problem.quoteInField(1))", "2:d"]),
        ("a,b\"c\r\nd,e\n", ["1!\(quoteIn2)", "2:d|e"]),
        ("\"a\"b,\"c\nd\"\ne\n", ["1!\(afterQuote1)", "2!\(CSVParser.Problem.quoteInField(1))", "3:e"]),
        ("\"a\" ,b\nc\n", ["1!\(afterQuote1)", "2:c"]),
        ("\"a\"\rb\nc\n", ["1!\(afterQuote1)", "2:c"]),
        ("a\"b", ["1!\(CSVParser.Problem.quoteInField(1))"]),
        ("a,b\n1,\"x\ny\n", ["1:a|b", "2!\(CSVParser.Problem.openQuote)"]),
        ("\"a\nb\",\"\nc\n\n", ["2!\(CSVParser.Problem.openQuote)"]),
        ("\"", ["1!\(CSVParser.Problem.openQuote)"]),
        ("\"a\"\"", ["1!\(CSVParser.Problem.openQuote)"]),
    ]

    @Test("records, however the bytes are cut into chunks", arguments: cases)
    func records(text: String, items: [String]) {
        let bytes = Array(text.utf8)
        #expect(parse([bytes[...]]) == items)
        for cut in 0...bytes.count {
            #expect(parse([bytes[..<cut], bytes[cut...]]) == items, "cut at \(cut)")
        }
        #expect(parse(bytes.indices.map { bytes[$0..<($0 + 1)] }) == items, "byte by byte")
    }

    @Test(
        "a record over the limit is given up, and the next line is read",
        arguments: [
            ("abcd\nx\n", ["1:abcd", "2:x"]),
            ("abcd\r\nx\n", ["1:abcd", "2:x"]),
            ("abcde\nx\n", ["1!\(CSVParser.Problem.tooLong(limit: 4, inQuotes: false))", "2:x"]),
            ("abcdefghij\nx\n", ["1!\(CSVParser.Problem.tooLong(limit: 4, inQuotes: false))", "2:x"]),
            ("a\n\"b\nc\nde\",\nx\n", ["1:a", "2!\(CSVParser.Problem.tooLong(limit: 4, inQuotes: true))", "5:x"]),
            ("a\n1,\"23456789", ["1:a", "2!\(CSVParser.Problem.tooLong(limit: 4, inQuotes: true))"]),
        ] as [(String, [String])])
    func tooLong(text: String, items: [String]) {
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            #expect(parse([bytes[..<cut], bytes[cut...]], limit: 4) == items, "cut at \(cut)")
        }
        #expect(parse(bytes.indices.map { bytes[$0..<($0 + 1)] }, limit: 4) == items, "byte by byte")
    }

    @Test("all fields are counted, and no more kept than wanted")
    func keptFields() {
        var parser = CSVParser()
        parser.keptFields = 2
        let bytes = Array("a,b,c,d\n".utf8)
        bytes.withUnsafeBytes { bytes in
            parser.begin(bytes)
            let item = parser.next()
            #expect(item == .record)
            #expect(parser.fieldCount == 4)
            #expect(parser.value(1) == Array("b".utf8))
            let end = parser.next()
            #expect(end == nil)
        }
    }

    @Test("a record of 10,000 fields")
    func manyFields() {
        let fields = (0..<10_000).map { "f\($0)" }
        #expect(
            parse([Array(fields.joined(separator: ",").utf8)[...]], limit: 1 << 20) == [
                "1:" + fields.joined(separator: "|")
            ])
    }
}

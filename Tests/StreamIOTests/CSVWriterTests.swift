import CMessage
import StreamCore
import StreamIO
import Testing

/// A table message without an array part: pairs of nested values as bytes, tags included.
private func withTable<R>(_ pairs: [([UInt8], [UInt8])], _ body: (MessagePointer) throws -> R) rethrows -> R {
    var bytes: [UInt8] = [0] + number(0) + number(pairs.count)
    for pair in pairs { bytes += pair.0 + pair.1 }
    let size = Int(msg_padded(UInt32(8 + bytes.count)))
    let place = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
    defer { place.deallocate() }
    for i in 0..<size { place[i] = 0 }
    place.storeBytes(
        of: msg_header(size: UInt32(size), kind: UInt8(MSG_TABLE), flags: 0, shape: 0), as: msg_header.self)
    for (i, byte) in bytes.enumerated() { place[8 + i] = byte }
    return try body(MessagePointer(place.baseAddress!.assumingMemoryBound(to: msg_header.self)))
}

private func number(_ value: Int) -> [UInt8] { withUnsafeBytes(of: UInt32(value)) { Array($0) } }
private func string(_ text: String) -> [UInt8] {
    [UInt8(MSG_VALUE_STRING)] + number(text.utf8.count) + Array(text.utf8)
}
private func integer(_ value: Int64) -> [UInt8] {
    [UInt8(MSG_VALUE_INTEGER)] + withUnsafeBytes(of: value) { Array($0) }
}
private func float(_ value: Double) -> [UInt8] { [UInt8(MSG_VALUE_FLOAT)] + withUnsafeBytes(of: value) { Array($0) } }

/// What a sink writes for JSON texts; or its problem.
private func written(_ records: [String], columns: [String] = []) -> String {
    let file = TemporaryPath()
    defer { file.remove() }
    let sink = FileSink(path: file.path, format: .csv, columns: columns)
    do {
        try sink.open()
        for record in records { try withMessage(record, kind: MSG_JSON) { try sink.write($0) } }
        try sink.close()
        return file.content
    } catch {
        try? sink.close()
        return "\(error)"
    }
}

@Suite("CSV writer")
struct CSVWriterTests {
    @Test(
        "JSON records: a header in the first one's order; values as they are spelled",
        arguments: [
            ([], ""),
            ([#"{"b":"1","a":"x"}"#, #"{"a":"y","b":"2"}"#, #"{"a":"z"}"#], "b,a\n1,x\n2,y\n,z\n"),
            ([#" { "n" : 1.50e3 , "t" : true,"f":false,"z":null,"i":-0 } "#], "n,t,f,z,i\n1.50e3,true,false,,-0\n"),
            (
                [#"{"a":"x,y","b":"q\"q","c":"l\nm","d":"\r","e":" s "}"#],
                "a,b,c,d,e\n\"x,y\",\"q\"\"q\",\"l\nm\",\"\r\", s \n"
            ),
            ([#"{"\u0061\u00e9":"\ud83d\ude00\/\t\b\f\\"}"#, #"{"aé":1}"#], "aé\n\u{1F600}/\t\u{8}\u{C}\\\n1\n"),
            ([#"{"a":1,"a":2}"#], "a\n2\n"),
            ([#"{"a":""}"#, #"{}"#, #"{"a":null}"#, #"{"a":"x"}"#], "a\n\"\"\n\"\"\n\"\"\nx\n"),
            ([#"{"a,b":"","c\"d":""}"#], "\"a,b\",\"c\"\"d\"\n,\n"),
            (["{\"\u{FEFF}a\":1,\"b\":2}"], "\"\u{FEFF}a\",b\n1,2\n"),
        ] as [([String], String)])
    func json(records: [String], expected: String) { #expect(written(records) == expected) }

    @Test("columns are the header, also without a record")
    func columns() {
        #expect(written([], columns: ["x", "y"]) == "x,y\n")
        #expect(written([#"{"y":1}"#, #"{"y":2,"x":"3"}"#], columns: ["x", "y"]) == "x,y\n,1\n3,2\n")
    }

    @Test("a table's fields are sorted by bytes; numbers are the shortest that read back")
    func table() throws {
        let file = TemporaryPath()
        defer { file.remove() }
        let sink = FileSink(path: file.path, format: .csv)
        try sink.open()
        try withTable([
            (string("é"), string("x\"")), (string("b"), float(0.1)), (string("B"), integer(-7)), (string("c"), [1]),
            (string("d"), [UInt8(MSG_VALUE_NULL)]),
        ]) { try sink.write($0) }
        try withTable([(string("c"), [2])]) { try sink.write($0) }
        try sink.close()
        #expect(file.content == "B,b,c,d,é\n-7,0.1,false,,\"x\"\"\"\n,,true,,\n")
    }

    @Test("names as symbols, and values that are JSON texts still")
    func symbolsAndTexts() throws {
        func key(_ name: String) -> [UInt8] {
            [UInt8(MSG_VALUE_KEY)] + number(Int(msg_symbol(name, name.utf8.count)))
        }
        func json(_ text: String) -> [UInt8] { [UInt8(MSG_VALUE_JSON)] + string(text).dropFirst() }
        let file = TemporaryPath()
        defer { file.remove() }
        let sink = FileSink(path: file.path, format: .csv)
        try sink.open()
        try withTable([
            (key("b"), json("1.50")), (string("c"), json("\"\\u0041,\"")), (key("a"), json("null")),
            (key("d"), integer(2)),
        ]) { try sink.write($0) }
        #expect(throws: ConnectorError.self) { try withTable([(key("a"), json("[1]"))]) { try sink.write($0) } }
        try sink.close()
        #expect(file.content == "a,b,c,d\n,1.50,\"A,\",2\n")
    }

    @Test(
        "what cannot be written is named with the record's number and the field",
        arguments: [
            (
                [#"{"a":1}"#, #"{"a":1,"x":2}"#],
                "cannot write record 2 as CSV: field 'x' is not in the header; name all fields with columns = { ... }, or take it out of the record before"
            ),
            (
                [#"{"a":[1]}"#],
                "cannot write record 1 as CSV: field 'a' is a table; make it a string before, as by stream.json.encode"
            ),
            (
                [#"{"a":1}"#, #"{"a":{"b":"}"}}"#],
                "cannot write record 2 as CSV: field 'a' is a table; make it a string before, as by stream.json.encode"
            ),
            (["[1,2]"], "cannot write record 1 as CSV: [1,2] is not a record (a table with names as keys)"),
            (["7"], "cannot write record 1 as CSV: 7 is not a record (a table with names as keys)"),
            (["{}"], "cannot write record 1 as CSV: it has no fields, so there is no header; give columns = { ... }"),
            ([#"{"":1}"#], "cannot write record 1 as CSV: a field has an empty name"),
        ] as [([String], String)])
    func problems(records: [String], problem: String) { #expect(written(records) == problem) }

    @Test("a record that fails leaves nothing of itself, and those before it stand")
    func partOfARecord() throws {
        let file = TemporaryPath()
        defer { file.remove() }
        let sink = FileSink(path: file.path, format: .csv)
        try sink.open()
        try withMessage(#"{"a":1,"b":2}"#, kind: MSG_JSON) { try sink.write($0) }
        #expect(throws: ConnectorError.self) {
            try withMessage(#"{"a":3,"b":[]}"#, kind: MSG_JSON) { try sink.write($0) }
        }
        try sink.close()
        #expect(file.content == "a,b\n1,2\n")
    }

    @Test(
        "appending goes on under the header that is there",
        arguments: [
            ("", [], "a,b\n1,2\n"),
            ("b,a\n0,0\n", [], "b,a\n0,0\n2,1\n"),
            ("a,b\n0,0", [], "a,b\n0,0\n1,2\n"),
            ("\r\n\"a\",\"b\"\r\n", ["a", "b"], "\r\n\"a\",\"b\"\r\n1,2\n"),
            ("\n", ["b", "a"], "\nb,a\n2,1\n"),
        ] as [(String, [String], String)])
    func append(content: String, columns: [String], expected: String) throws {
        let file = TemporaryPath(content)
        defer { file.remove() }
        let sink = FileSink(path: file.path, append: true, format: .csv, columns: columns)
        try sink.open()
        try withMessage(#"{"a":1,"b":2}"#, kind: MSG_JSON) { try sink.write($0) }
        try sink.close()
        #expect(file.content == expected)
    }

    @Test("a header that differs or cannot be read is an error, and the file stays as it was")
    func appendToOther() {
        for (content, problem) in [
            ("a,c", "its header is a, c, and the columns are a, b"),
            ("a,c\n", "its header is a, c, and the columns are a, b"),
            ("b,a\n", "its header is b, a, and the columns are a, b"),
            ("x\na,a\n", "its header is x, and the columns are a, b"),
            ("a,a\n", "line 1: the header has 'a' twice, as fields 1 and 2"),
        ] {
            let file = TemporaryPath(content)
            defer { file.remove() }
            let sink = FileSink(path: file.path, append: true, format: .csv, columns: ["a", "b"])
            #expect { try sink.open() } throws: { "\($0)" == "cannot append to '\(file.path)': \(problem)" }
            try? sink.close()
            #expect(file.content == content)
        }
    }

    @Test("what is written reads back the same: random fields, as JSON texts and as tables")
    func roundTrip() throws {
        var state: UInt64 = 42
        func random(_ n: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % n
        }
        // As CSV's value, and as it is spelled inside a JSON string.
        let letters = [
            ("a", "a"), (",", ","), ("\"", "\\\""), ("\n", "\\n"), ("\r", "\\r"), ("\\", "\\\\"), ("é", "\\u00e9"),
            (" ", " "),
            ("\u{1F600}", "\u{1F600}"), ("\0", "\\u0000"), ("{", "{"), ("]", "]"), ("bcdefghij", "bcdefghij"),
        ]
        let file = TemporaryPath()
        defer { file.remove() }
        let columns = ["one", "t,w\"o", "three"]
        let sink = FileSink(path: file.path, format: .csv, columns: columns)
        try sink.open()
        var expected = [columns]
        for i in 0..<500 {
            let fields = columns.map { _ in (0..<random(9)).map { _ in letters[random(letters.count)] } }
            expected.append(fields.map { $0.map(\.0).joined() })
            let order = [[0, 1, 2], [2, 0, 1], [1, 2, 0]][random(3)]
            if i % 2 == 0 {
                let members = order.map { column in
                    let name = ["one", "t,w\\\"o", "\\u0074hree"][column]
                    return "\"\(name)\" : \"\(fields[column].map(\.1).joined())\""
                }
                try withMessage("{\(members.joined(separator: " , "))}", kind: MSG_JSON) { try sink.write($0) }
            } else {
                let pairs = order.map { (string(columns[$0]), string(fields[$0].map(\.0).joined())) }
                try withTable(pairs) { try sink.write($0) }
            }
        }
        try sink.close()
        var parser = CSVParser()
        var found: [[String]] = []
        Array(file.content.utf8).withUnsafeBytes { bytes in
            parser.begin(bytes)
            while let item = parser.next() {
                #expect(item == .record)
                var fields: [String] = []
                for i in 0..<parser.fieldCount { fields.append(String(decoding: parser.value(i), as: UTF8.self)) }
                found.append(fields)
            }
        }
        #expect(found == expected)
    }
}

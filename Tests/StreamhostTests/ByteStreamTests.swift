// Readers and writers of bytes, as scripts use them.
import Glibc
import Testing

@Suite struct ByteStreamTests {
    private static let head = "local stream = require \"stream\"\nlocal folder = arg[1]\n"

    private func folder() -> String {
        var name = Array("/tmp/streamhost-bytes-XXXXXX".utf8CString)
        return name.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!).map { String(cString: $0) } ?? "/tmp" }
    }

    /// The lines that a script writes; it has a folder of its own as its argument.
    private func lines(_ script: String, input: String = "") throws -> [String] {
        let outcome = try CommandLine.run(Self.head + script, input: input, arguments: [folder()])
        #expect(outcome.status == 0, "\(outcome.errors)")
        return outcome.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    @Test func aFile_isReadByBytesAndLines_asItWasWritten() throws {
        let written = try lines(
            """
            local path = folder .. "/text"
            do
              local w <close> = assert(stream.writer(stream.file { path = path }))
              print(w:write("one\\ntwo\\r\\n\\nthree"), w:write(""), w:flush())
            end
            local r <close> = assert(stream.reader(stream.file { path = path }))
            print(r:read(2), r:read_line(), r:read_line(), "[" .. r:read_line() .. "]", r:read_line(), r:read_line())
            print(r:read(1))
            local s = stream.reader(stream.file { path = path })
            print(s:read_exactly(5), s:read_exactly(100))
            print(#s:read_all(), s:read_all(), s:read(1))
            s:close() s:close()
            print(s:read_line())
            local n = 0
            for line in stream.reader(stream.file { path = path }):lines() do n = n + #line end
            print(n)
            """)
        #expect(
            written == [
                "15\t0\ttrue", "on\te\ttwo\t[]\tthree\tnil\tclosed", "nil\tclosed", "one", "t\tnil\tclosed",
                "10\t\tnil\tclosed", "nil\tclosed", "11",
            ])
    }

    @Test func whatCanHappen_isReturned() throws {
        let written = try lines(
            """
            print(stream.reader(stream.file { path = "/nonexistent" }))
            print(stream.reader(stream.file { path = "/tmp" }))
            print(stream.writer(stream.file { path = "/nonexistent/x" }))
            local w = assert(stream.writer(stream.file { path = "/dev/full" }))
            print(w:write("x"), w:flush())
            print(w:write("y"))
            print(w:close())
            print(w:write("z"))
            print(stream.reader(stream.stdin()):read_line("10ms"))
            """, input: "")
        let full = "cannot write '/dev/full': no space left on device"
        #expect(
            written == [
                "nil\tcannot open '/nonexistent': no such file or directory", "nil\tcannot read '/tmp': is a directory",
                "nil\tcannot open '/nonexistent/x': no such file or directory", "1\tnil\t\(full)", "0\t\(full)",
                "nil\t\(full)", "0\tclosed", "nil\tclosed",
            ])
    }

    @Test func aLineBeyondTheLimit_isSkipped_andSaysSo() throws {
        let written = try lines(
            """
            local r = stream.reader(stream.stdin(), { limit = 5 })
            for _ = 1, 6 do print(r:read_line()) end
            """, input: "12345\n123456\n" + String(repeating: "x", count: 300_000) + "\nabc\r\nlast")
        #expect(written == ["12345", "nil\tline too long", "nil\tline too long", "abc", "last", "nil\tclosed"])
    }

    @Test func manyFiles_areClosedOnEveryWay() throws {
        let written = try lines(
            """
            local path = folder .. "/f"
            for i = 1, 500 do
              local w <close> = assert(stream.writer(stream.file { path = path }))
              w:write(("x"):rep(200000))
            end
            for i = 1, 500 do
              local r = assert(stream.reader(stream.file { path = path }))
              assert(#r:read(1000) <= 1000)
              r:close()
            end
            for i = 1, 500 do
              assert(#assert(stream.reader(stream.file { path = path })):read_all() == 200000)
            end
            for i = 1, 20 do
              stream.from(stream.values { path }):map("opens", function(path)
                local r, w = assert(stream.reader(stream.file { path = path })), stream.writer(stream.null_sink())
                return w:write(r:read(10))
              end):collect()
            end
            local size  -- of the table of descriptors, which grows to twice the largest and never shrinks
            for line in stream.reader(stream.file { path = "/proc/self/status" }):lines() do
              size = size or line:match("^FDSize:%s*(%d+)")
            end
            print(tonumber(size) <= 256)
            """)
        #expect(written == ["true"])
    }

    @Test func capturingOne_isAnErrorThatNamesItsKind() throws {
        for (make, kind) in [
            ("stream.reader(stream.chan(1))", "a reader"), ("stream.writer(stream.null_sink())", "a writer"),
        ] {
            let outcome = try CommandLine.run(
                Self.head + "local it = \(make)\nstream.from(stream.range(1, 2)):map('m', function() return it end)"
                    + ":to(stream.null_sink())")
            #expect(outcome.status == 2)
            #expect(outcome.errors.contains("stage \"m\" captures 'it', \(kind), which cannot leave its worker"))
        }
    }

    private static let mistakes: [(String, String)] = [
        ("stream.reader(1)", "argument 1 of reader expected stream.file"),
        ("stream.reader(stream.range(1, 2))", "argument 1 of reader expected stream.file"),
        ("stream.reader(stream.file { path = 'x', format = 'json' })", "leave out format = \"json\""),
        ("stream.reader(stream.file { path = 'x', append = true })", "append is an option of a sink"),
        ("stream.reader(stream.chan(1), { limit = 0 })", "limit of stream.reader expected"),
        ("stream.writer(stream.stdin())", "argument 1 of writer expected"),
        ("stream.writer(stream.null_sink()):write(1)", "argument 1 of write expected a string"),
        ("stream.reader(stream.chan(1)):read(0)", "argument 1 of read expected a whole number"),
        ("stream.reader(stream.chan(1)):read(1, 'soon')", "argument 2 of read expected a duration"),
        ("stream.reader(stream.chan(1)):read_lin()", "did you mean 'read_line'"),
        ("stream.pipe(0)", "argument 1 of pipe expected a capacity"),
        ("local c = stream.chan(1) c:send(1) stream.reader(c):read(1)", "expected strings on its channel"),
        (
            "local a = stream.reader(stream.stdin()) local b = stream.reader(stream.stdin())",
            "standard input can be read by one reader"
        ),
    ]

    @Test(arguments: mistakes) func mistakes_nameTheLineAndTheRemedy(_ script: String, _ part: String) throws {
        let outcome = try CommandLine.run(Self.head + script)
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("script.lua:3:") && outcome.errors.contains(part), "\(outcome.errors)")
    }
}

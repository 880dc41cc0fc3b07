// What stands at the begin or at the end of a regular file, read without moving its position.
import Glibc

enum FileHeader {
    /// Reads on until `records` knows its header; the problem with that, or nil. No header: the file has no record.
    static func read(_ descriptor: Int32, _ records: inout CSVReader) -> (line: Int, problem: String)? {
        let size = 64 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        defer { buffer.deallocate() }
        var position = 0
        while records.header.isEmpty {
            let count = pread(descriptor, buffer, size, position)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return (1, "cannot be read: \(systemError(errno))") }
            if count == 0 {
                if case .failed(let line, let problem)? = records.finish() { return (line, problem) }
                return nil
            }
            position += count
            records.begin(UnsafeRawBufferPointer(start: buffer, count: count))
            while let item = records.next() {
                if case .failed(let line, let problem) = item { return (line, problem) }
            }
        }
        return nil
    }

    /// Where the last line end before `size` ends: 0 if there is none.
    static func endOfLines(_ descriptor: Int32, size: Int) -> Int {
        let step = 64 << 10
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: step, alignment: 16)
        defer { buffer.deallocate() }
        var end = size
        while end > 0 {
            let begin = max(0, end - step)
            let count = pread(descriptor, buffer, end - begin, begin)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return end }
            let bytes = UnsafeRawBufferPointer(start: buffer, count: count)
            if let found = bytes.lastIndex(of: 0x0A) { return begin + found + 1 }
            end = begin
        }
        return 0
    }
}

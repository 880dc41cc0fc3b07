import CMessage
import Glibc
import StreamCore

/// Why a text is not JSON.
public struct JSONProblem: Error, Equatable, Sendable, CustomStringConvertible {
    /// The byte where it stopped being JSON; the first is 1.
    public var position: Int
    /// What is wrong there: "expected a value".
    public let text: String

    /// The problem in the words of `stream.json.decode`: "byte 17: expected a value".
    public var description: String { "byte \(position): \(text)" }
}

/// Checks that bytes are one JSON text (RFC 8259, in UTF-8), without making values of it: what the host reads is
/// checked before a script sees it, and most of it is passed on as it came. Of an object it notes where the fields
/// stand, so that a stage that reads one of them need not look at the others.
///
/// It accepts exactly what `stream.json.decode` accepts, and names the same position otherwise.
/// - Complexity: O(length), no memory.
public final class JSONChecker: @unchecked Sendable {  // one thread's: that of the source it belongs to
    private let checker: UnsafeMutablePointer<msg_json_checker>

    public init() {
        checker = .allocate(capacity: 1)
        checker.initialize(to: msg_json_checker())
    }

    deinit { checker.deallocate() }

    /// What is wrong with `text`, or nil.
    public func check(_ text: UnsafeRawBufferPointer) -> JSONProblem? {
        var problem = msg_json_problem()
        let start = text.baseAddress?.assumingMemoryBound(to: CChar.self)
        if msg_json_check(checker, start, text.count, &problem) { return nil }
        return JSONProblem(position: problem.position, text: String(cString: problem.text))
    }

    /// Sends the text that was checked last as one message, with its fields' places. False: closed.
    public func send(_ text: UnsafeRawBufferPointer, to outlet: Outlet) -> Bool {
        guard let shape = checker.pointee.shape else { return outlet.send(text: text, kind: UInt8(MSG_JSON)) }
        let index = (Int(MSG_TEXT_OFFSET) + text.count + 3) & ~3, count = Int(shape.pointee.count)
        let size = Int(msg_padded(UInt32(index + 4 * count)))
        guard let place = outlet.reserve(size: size) else { return false }
        (place + size - 8).storeBytes(of: 0, as: UInt64.self)  // the padding, before what it pads
        place.storeBytes(
            of: msg_header(
                size: UInt32(size), kind: UInt8(MSG_JSON), flags: UInt8(MSG_INDEXED), shape: shape.pointee.number),
            as: msg_header.self)
        place.storeBytes(of: UInt32(text.count), toByteOffset: 8, as: UInt32.self)
        memcpy(place + Int(MSG_TEXT_OFFSET), text.baseAddress!, text.count)
        if count > 0 {
            withUnsafeBytes(of: &checker.pointee.offsets) { _ = memcpy(place + index, $0.baseAddress!, 4 * count) }
        }
        return true
    }
}

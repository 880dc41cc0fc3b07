// Where the fields of a JSON record stand in its text.
import CMessage
import Glibc
import StreamCore

/// The shape of a record and the offsets of its values: with it a stage reads one field without a look at the others.
struct RecordIndex {
    let shape: UnsafePointer<msg_shape>
    /// As many as the shape has fields.
    let offsets: UnsafePointer<UInt32>
}

extension Outlet {
    /// Sends a JSON text, an object of the index' shape if there is one, as one message. False: closed.
    func send(_ text: UnsafeRawBufferPointer, index: RecordIndex?) -> Bool {
        guard let index, let start = text.baseAddress else { return send(text: text, kind: UInt8(MSG_JSON)) }
        let place = (Int(MSG_TEXT_OFFSET) + text.count + 3) & ~3, count = Int(index.shape.pointee.count)
        let size = Int(msg_padded(UInt32(place + 4 * count)))
        guard let message = reserve(size: size) else { return false }
        (message + size - 8).storeBytes(of: 0, as: UInt64.self)  // the padding, before what it pads
        let header = msg_header(
            size: UInt32(size), kind: UInt8(MSG_JSON), flags: UInt8(MSG_INDEXED), shape: index.shape.pointee.number)
        message.storeBytes(of: header, as: msg_header.self)
        message.storeBytes(of: UInt32(text.count), toByteOffset: 8, as: UInt32.self)
        memcpy(message + Int(MSG_TEXT_OFFSET), start, text.count)
        memcpy(message + place, index.offsets, 4 * count)
        return true
    }
}

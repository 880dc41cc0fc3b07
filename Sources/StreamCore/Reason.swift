/// Why a call that can fail in a correct program did: what Lua sees as the second result of `nil, reason`.
public enum Reason: UInt8, Sendable, CustomStringConvertible {
    case closed, full, empty, timeout, canceled, deadlineExceeded, limited

    public var description: String {
        switch self {
        case .closed: "closed"
        case .full: "full"
        case .empty: "empty"
        case .timeout: "timeout"
        case .canceled: "canceled"
        case .deadlineExceeded: "deadline exceeded"
        case .limited: "limited"
        }
    }
}

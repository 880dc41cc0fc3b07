/// How values stand in a stream of bytes.
public enum TextFormat: String, Sendable, CaseIterable {
    /// One string a line.
    case lines
    /// One JSON text a line.
    case json
    /// Records under a header.
    case csv
    /// Chunks of bytes.
    case bytes
}

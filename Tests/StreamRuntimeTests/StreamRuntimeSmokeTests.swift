import Testing

@testable import StreamRuntime

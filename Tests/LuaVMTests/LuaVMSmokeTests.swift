import Testing

@testable import LuaVM

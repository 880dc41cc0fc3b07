// As ParsableCommand.main, but that a wrong command line ends with 2 and not with the library's 64.
import ArgumentParser
import Glibc

occupyClosedDescriptors()
RunCommand.runIfPlain(CommandLine.arguments)
do {
    var command = try Streamhost.parseAsRoot()
    try command.run()
} catch {
    let isWrong = Streamhost.exitCode(for: error) == .validationFailure
    guard isWrong else { Streamhost.exit(withError: error) }
    var text = Streamhost.fullMessage(for: error) + "\n"
    if CommandLine.arguments.count > 1, CommandLine.arguments[1].hasSuffix(".lua") {
        text += "  To run a script: streamhost run \(CommandLine.arguments[1])\n"
    }
    _ = text.utf8CString.withUnsafeBytes { write(2, $0.baseAddress!, $0.count - 1) }
    exit(2)
}

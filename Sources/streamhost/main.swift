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
    let text = Streamhost.fullMessage(for: error) + "\n"
    _ = text.utf8CString.withUnsafeBytes { write(2, $0.baseAddress!, $0.count - 1) }
    exit(2)
}

// Completions of the command line for shells.
import ArgumentParser

struct CompletionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions", abstract: "Prints a shell's completion script.",
        discussion: """
            bash:  streamhost completions bash > ~/.local/share/bash-completion/completions/streamhost
            zsh:   streamhost completions zsh > DIRECTORY/_streamhost      (a directory of $fpath)
            fish:  streamhost completions fish > ~/.config/fish/completions/streamhost.fish
            """)

    enum Shell: String, CaseIterable, ExpressibleByArgument {
        case bash, zsh, fish

        var completion: CompletionShell {
            switch self {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        }
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() throws { print(Streamhost.completionScript(for: shell.completion)) }
}

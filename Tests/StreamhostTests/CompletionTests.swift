// Completion scripts for shells.
import Foundation
import Testing

@Suite struct CompletionTests {
    private static func isInstalled(_ shell: String) -> Bool {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
            .contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(shell)") }
    }

    /// A shell reads the script without running it; one that is not installed is not asked.
    @Test(arguments: ["bash", "zsh", "fish"]) func script_isOneThatTheShellAccepts(_ shell: String) throws {
        let outcome = try CommandLine.execute(["completions", shell])
        #expect(outcome.status == 0)
        #expect(outcome.errors == "")
        for word in ["streamhost", "run", "drain-timeout", "no-progress", "lua"] {
            #expect(outcome.output.contains(word), "\(word)")
        }
        #expect(!outcome.output.contains("progress-delay"))
        guard Self.isInstalled(shell) else { return }
        let check = try CommandLine.shell(
            "\(shell) -n completions.\(shell)", script: "", files: ["completions.\(shell)": outcome.output])
        #expect(check.errors == "")
        #expect(check.status == 0)
    }

    /// What bash offers after these words, in a folder with a script, a text and a folder.
    @Test(arguments: [
        ("streamhost r", ["run"]), ("streamhost run --no", ["--no-progress"]),
        ("streamhost run ", ["folder", "script.lua"]), ("streamhost completions z", ["zsh"]),
        ("streamhost run script.lua n", ["notes.txt"]),
    ]) func bash_offers(_ words: String, _ offered: [String]) throws {
        let outcome = try CommandLine.shell(
            """
            source <($STREAMHOST completions bash)
            words='\(words)'
            COMP_LINE=$words COMP_POINT=${#words} COMP_TYPE=9
            read -ra COMP_WORDS <<<"$words"
            [[ $words == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _streamhost streamhost "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
            printf '%s\\n' "${COMPREPLY[@]}" | sort
            """, script: "", files: ["notes.txt": "", "folder/a.lua": ""])
        #expect(outcome.lines == offered)
        #expect(outcome.status == 0)
    }

    @Test func otherShell_isAMistake() throws {
        let outcome = try CommandLine.execute(["completions", "tcsh"])
        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("tcsh"))
        #expect(outcome.errors.contains("'bash', 'zsh' or 'fish'"))
    }
}

// A test script, read once however often it runs.
import Glibc
import StreamCore
import StreamHost
import StreamIO
import StreamRuntime

/// A script and the modules beside it, as they were when they were first read.
final class ScriptFile: Sendable {
    let path: String
    let source: [UInt8]
    private let folder: String
    private let lock = Lock()
    nonisolated(unsafe) private var modules: [String: (path: String, source: [UInt8])?] = [:]  // `lock`

    init(path: String) throws(ConnectorError) {
        self.path = path
        folder = Host.folder(of: path)
        source = try TextFile.read(path).get()
    }

    func module(_ name: String) -> (path: String, source: [UInt8])? {
        lock.withLock {
            if let known = modules[name] { return known }
            let found = Host.readModule(name, in: folder)
            modules[name] = .some(found)
            return found
        }
    }
}

/// The test scripts that paths name.
public enum TestFiles {
    /// Files as they are given, whatever their names; of folders all that are called `*_test.lua`, at any depth, by name.
    /// What is named twice is there once.
    public static func find(_ paths: [String]) -> Result<[String], ConnectorError> {
        var found: [String] = [], seen: Set<String> = []
        for path in paths {
            var status = stat()
            guard stat(path, &status) == 0 else {
                return .failure(
                    ConnectorError("cannot open '\(path)': \(String(cString: strerror(errno)).lowercased())"))
            }
            var inside: [String] = [path]
            if isFolder(status) {
                inside = []
                var visited: Set<Identity> = []
                search(path.hasSuffix("/") && path.count > 1 ? String(path.dropLast()) : path, &inside, &visited)
                if inside.isEmpty { return .failure(ConnectorError("there is no *_test.lua in '\(path)'")) }
            }
            for file in inside where seen.insert(file).inserted { found.append(file) }
        }
        return .success(found)
    }

    private struct Identity: Hashable { let device: UInt64, file: UInt64 }

    private static func isFolder(_ status: stat) -> Bool { status.st_mode & S_IFMT == S_IFDIR }

    /// Names that begin with a dot are left out; a folder is visited once, however many links lead to it.
    private static func search(_ folder: String, _ found: inout [String], _ visited: inout Set<Identity>) {
        var status = stat()
        guard stat(folder, &status) == 0,
            visited.insert(Identity(device: UInt64(status.st_dev), file: UInt64(status.st_ino))).inserted,
            let stream = opendir(folder)
        else { return }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        closedir(stream)
        names.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        for name in names {
            let path = folder == "." ? name : folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
            guard stat(path, &status) == 0 else { continue }
            if isFolder(status) {
                search(path, &found, &visited)
            } else if name.hasSuffix("_test.lua") {
                found.append(path)
            }
        }
    }
}

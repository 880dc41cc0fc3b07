// The report of a run for people, and as JSON.

extension RunReport {
    /// Lines for standard error; the first says how it ended.
    ///
    /// - Parameter signal: `SIGINT`, if that began its end.
    public func lines(signal: String?) -> [String] {
        var lines = [headline(signal: signal)]
        let rows = pipelines.map { ($0.runs > 1 ? "\($0.place) (\($0.runs) runs)" : $0.place, $0) }
        let width = rows.map(\.0.count).max() ?? 0
        for (place, pipeline) in rows {
            let still = pipeline.isOver ? "" : ", not ended"
            lines.append("  \(place.padded(to: width))  \(pipeline.account)\(still)")
        }
        lines += Self.list("stuck", stuck) + Self.list("stopped", stopped)
        return lines
    }

    private func headline(signal: String?) -> String {
        let began = signal.map { "ended by \($0)" } ?? "ended"
        let time = "after \(Self.seconds(duration)) s"
        switch ending {
        case .natural: return "\(began) \(time)"
        case .drained: return "\(began) \(time): drained"
        case .drainTimeout: return "\(began) \(time): draining took too long, and what went on was cancelled"
        case .canceled: return "\(began) \(time): cancelled"
        case .stopped: return "\(began) \(time): cancelled, and what went on was stopped for good"
        }
    }

    private static let longestList = 20

    private static func list(_ title: String, _ all: [Stuck]) -> [String] {
        let roots = all.filter { !$0.isPassive }
        let shown = roots.isEmpty ? all : roots
        var lines = shown.prefix(longestList).map { "  \(title): \($0)" }
        if shown.count > longestList { lines.append("  \(title): and \(shown.count - longestList) more") }
        return lines
    }

    /// `3.25`, without more digits than anyone reads.
    private static func seconds(_ nanoseconds: Int64) -> String {
        let hundredths = nanoseconds / 10_000_000
        let digits = hundredths % 100
        return "\(hundredths / 100).\(digits < 10 ? "0" : "")\(digits)"
    }
}

extension RunReport.Stuck: CustomStringConvertible {
    /// A part of the host's.
    package init(_ part: String, state: String) { self.init(part: part, place: "", state: state) }

    public var description: String {
        let hand = value.map { ", with the value \($0) in hand" } ?? ""
        return "\(place.isEmpty ? "" : "\(place): ")\(part) is \(state)\(hand)"
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}

// MARK: JSON

extension RunResult {
    /// The report as one JSON object, ended by a newline. README.md names its fields.
    ///
    /// - Parameters:
    ///   - script: the script's path.
    ///   - signal: `SIGINT`, if that began its end.
    ///   - exitStatus: of the process.
    public func json(script: String, signal: String?, exitStatus: Int32) -> String {
        var out = JSONObject()
        out["version"] = "1"
        out["script"] = script.json
        out["status"] = "\(status)".json
        out["exit_status"] = "\(exitStatus)"
        out["signal"] = signal?.json ?? "null"
        out["ending"] = report.ending.rawValue.json
        out["duration"] = "\(Double(report.duration) / 1e9)"
        out["account"] = account.json
        out["pipelines"] = report.pipelines.map(\.json).array
        out["stuck"] = report.stuck.map(\.json).array
        out["stopped"] = report.stopped.map(\.json).array
        out["failures"] = failures.map(\.json).array
        return out.text + "\n"
    }
}

/// Fields in the order in which they were set, each with its JSON.
private struct JSONObject {
    private var fields: [String] = []
    subscript(name: String) -> String {
        get { "" }
        set { fields.append("\(name.json): \(newValue)") }
    }
    var text: String { "{\(fields.joined(separator: ", "))}" }
}

extension Account {
    fileprivate var json: String {
        var out = JSONObject()
        out["created"] = "\(created)"
        out["delivered"] = "\(delivered)"
        out["consumed"] = "\(consumed)"
        out["filtered"] = "\(filtered)"
        out["failed"] = "\(failed)"
        out["dead_lettered"] = "\(deadLettered)"
        out["returned"] = "\(returned)"
        out["dropped"] = "\(dropped)"
        out["drops"] = drops.json
        return out.text
    }
}

extension RunReport.Pipeline {
    fileprivate var json: String {
        var out = JSONObject()
        out["place"] = place.json
        out["runs"] = "\(runs)"
        out["outcome"] = (!isOver ? "running" : hasFailed ? "failed" : reason != nil ? "canceled" : "done").json
        out["reason"] = reason?.json ?? "null"
        out["account"] = account.json
        out["stages"] = stages.map(\.json).array
        return out.text
    }
}

extension RunReport.Stage {
    fileprivate var json: String {
        var out = JSONObject()
        out["name"] = name.json
        out["received"] = "\(received)"
        out["emitted"] = "\(emitted)"
        out["filtered"] = "\(filtered)"
        out["failed"] = "\(failed)"
        out["dropped"] = "\(dropped)"
        out["drops"] = drops.json
        out["restarts"] = "\(restarts)"
        out["capacity"] = "\(capacity)"
        if let first = limits.first {
            out["limits"] = first.limits.json
            let fused = limits.dropFirst().map { limits in
                var out = JSONObject()
                out["name"] = limits.name.json
                out["limits"] = limits.limits.json
                return out.text
            }
            if !fused.isEmpty { out["fused"] = fused.array }
        }
        return out.text
    }
}

extension StageLimits {
    fileprivate var json: String {
        func text(_ value: Double, _ isBytes: Bool) -> String { isBytes ? "\(Int(value))" : "\(value)" }
        var out = JSONObject()
        for (name, use, isBytes) in named {
            guard let limit = use.limit else { continue }
            var entry = JSONObject()
            entry["limit"] = text(limit, isBytes)
            entry["current"] = text(use.current, isBytes)
            entry["peak"] = text(use.peak, isBytes)
            entry["stopped"] = "\(use.stopped)"
            out[name] = entry.text
        }
        if maxValue > 0 {
            var entry = JSONObject()
            entry["limit"] = "\(maxValue)"
            out["max_value"] = entry.text
        }
        return out.text
    }
}

extension RunReport.Stuck {
    fileprivate var json: String {
        var out = JSONObject()
        out["part"] = part.json
        out["place"] = place.json
        out["state"] = state.json
        out["value"] = value?.json ?? "null"
        out["passive"] = "\(isPassive)"
        return out.text
    }
}

extension [String: Int] {
    fileprivate var json: String {
        "{\(sorted { $0.key < $1.key }.map { "\($0.key.json): \($0.value)" }.joined(separator: ", "))}"
    }
}

extension [String] {
    fileprivate var array: String { "[\(joined(separator: ", "))]" }
}

extension String {
    /// As a JSON string; bytes that are no UTF-8 were replaced when it became a string.
    fileprivate var json: String {
        var out = "\""
        for scalar in unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\u{0}"..."\u{1F}":
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}

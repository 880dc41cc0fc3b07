// How a long run goes on, in one line on the terminal.
import Glibc
import StreamHost

/// Shows values in and out, the rate, and the fullest queue of a run that lasts.
struct Progress: Sendable {
    /// Nanoseconds between two looks.
    static let interval: Int64 = 200_000_000

    /// Nanoseconds that a run lasts before it is shown.
    let delay: Int64

    /// Whether a terminal called `TERM` can show it.
    static func canShow(term: String?) -> Bool { term != nil && term != "" && term != "dumb" }

    /// Begins to watch the run; its status ends with `run.status.end()`. Nothing where standard error is no terminal.
    func show(_ run: HostRun) {
        guard let status = run.status else { return }
        let delay = self.delay
        spawnDetached(stack: 256 << 10) {
            let start = Self.now
            var meter = RateMeter()
            while true {
                let elapsed = Self.now - start
                let progress = run.progress
                meter.add(progress.entered, at: elapsed)
                if elapsed >= delay {
                    guard status.show(Self.text(progress, rate: meter.rate, columns: status.columns - 1)) else {
                        return
                    }
                }
                Self.sleep(elapsed < delay ? min(Self.interval, delay - elapsed) : Self.interval)
            }
        }
    }

    private static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private static func sleep(_ nanoseconds: Int64) {
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nil)  // a signal's end of it is no matter
    }

    // MARK: The text

    /// `1 204 331 in, 26 511 out, 402 000/s, fullest: the queue of "parse" 256/256`, in at most `columns` columns.
    static func text(_ progress: RunProgress, rate: Double, columns: Int) -> String {
        var text = "\(grouped(progress.entered)) in, \(grouped(progress.delivered)) out, \(rounded(rate))/s"
        if let queue = progress.fullest { text += ", fullest: \(queue.name) \(queue.count)/\(queue.capacity)" }
        return cut(text, columns)
    }

    /// Digits in groups of three.
    static func grouped(_ number: Int) -> String {
        var text = ""
        let digits = String(max(0, number))
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % 3 == 0 { text.append(" ") }
            text.append(digit)
        }
        return text
    }

    /// Three digits that count; under ten, one behind the point.
    static func rounded(_ rate: Double) -> String {
        guard rate.isFinite, rate > 0 else { return "0" }
        if rate < 9.95 {
            let tenths = Int((rate * 10).rounded())
            return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
        }
        var unit = 1.0
        while rate / unit >= 999.5 { unit *= 10 }
        return grouped(Int((rate / unit).rounded() * unit))
    }

    /// What of `text` fits; a stage's name may hold any characters, and those that control a terminal are replaced.
    static func cut(_ text: String, _ columns: Int) -> String {
        var result = String.UnicodeScalarView()
        var width = 0
        for scalar in text.unicodeScalars {
            let isControl =
                scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
            width += isWide(scalar) ? 2 : 1
            if width > columns { break }
            result.append(isControl ? "?" : scalar)
        }
        return String(result)
    }

    /// Whether a terminal gives a character two columns: East Asian scripts and emoji. Combining ones count as one, so
    /// that a line may end early and never too late.
    private static func isWide(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60,
            0xFFE0...0xFFE6, 0x1F000...0x1FAFF, 0x20000...0x3FFFD:
            true
        default: false
        }
    }
}

/// The rate of a growing count over the last second or so.
struct RateMeter {
    /// Nanoseconds.
    private static let span: Int64 = 1_000_000_000
    private var samples: [(count: Int, time: Int64)] = []

    mutating func add(_ count: Int, at time: Int64) {
        samples.append((count, time))
        // One of before the span stays: the rate covers all of it.
        while samples.count > 2, samples[1].time <= time - Self.span { samples.removeFirst() }
    }

    /// In a second.
    var rate: Double {
        guard let first = samples.first, let last = samples.last, last.time > first.time else { return 0 }
        return Double(last.count - first.count) * 1e9 / Double(last.time - first.time)
    }
}

// Pipes, readers and writers over channels, in every order that a range of seeds gives.
import StreamRuntime

private let head = "local stream = require 'stream'\n"

package let byteStreamCases: [SeededCase] = [
    SeededCase(
        name: "a pipe holds its capacity, and loses and reorders nothing",
        script: head + """
            for _, capacity in ipairs { 1, 2, 7, 1000 } do
              local r, w = stream.pipe(capacity)
              local text = {}
              for i = 1, 60 do text[i] = i .. "," end
              stream.go(function()
                for _, part in ipairs(text) do assert(w:write(part) == #part) end
                w:close()
              end)
              local got = {}
              while true do
                local bytes, reason = r:read(math.random(1, 9))
                if not bytes then assert(reason == "closed") break end
                got[#got + 1] = bytes
                if math.random(3) == 1 then stream.sleep(0.01) end
              end
              assert(table.concat(got) == table.concat(text))
              local _, full = stream.pipe(capacity)
              print(full:write(("x"):rep(capacity + 5), "1s"))
            end
            """,
        output: [1, 2, 7, 1000].map { "\($0)\ttimeout" }),
    SeededCase(
        name: "closing the reader ends who writes; a context ends both",
        script: head + """
            local r, w = stream.pipe(4)
            stream.go(function() stream.sleep(1) r:close() end)
            print(w:write("abcdefgh"))
            print(w:write("i"))
            local r, w = stream.pipe(4)
            local reading = stream.go(function() return r:read(1) end)
            stream.sleep(1)
            reading:cancel()
            print(reading:wait())
            local writing = stream.go(function() return w:write("abcdef") end)
            stream.sleep(1)
            writing:cancel()
            print(writing:wait())
            """,
        output: ["4\tclosed", "0\tclosed", "nil\tcanceled", "4\tcanceled"]),
    SeededCase(
        name: "several tasks write to and read from one pipe",
        script: head + """
            local r, w = stream.pipe(3)
            local left, read = 4, {}
            for k = 1, 4 do
              stream.go(function()
                for _ = 1, 10 do assert(w:write("x") == 1) end
                left = left - 1
                if left == 0 then w:close() end
              end)
            end
            local tasks = {}
            for k = 1, 3 do
              tasks[k] = stream.go(function()
                local n = 0
                while true do
                  local bytes = r:read(2)
                  if not bytes then return n end
                  n = n + #bytes
                end
              end)
            end
            local sum = 0
            for _, task in ipairs(tasks) do sum = sum + task:wait() end
            print(sum)
            """,
        output: ["40"]),
    SeededCase(
        name: "records with a length before them, out of chunks of any size",
        script: head + """
            local bytes = ""
            for i = 1, 20 do local text = ("r"):rep(i) bytes = bytes .. string.pack(">s2", text) end
            local list = stream.from(stream.generate(function(emit)
                local at = 1
                while at <= #bytes do
                  local n = math.random(1, 30)
                  emit(bytes:sub(at, at + n - 1))
                  at = at + n
                end
              end))
              :stage("records", function(input, output)
                local reader = stream.reader(input)
                while true do
                  local length, reason = reader:read_exactly(2)
                  if not length then return end
                  output:send(reader:read_exactly((string.unpack(">I2", length))))
                end
              end):collect()
            for i = 1, 20 do assert(list[i] == ("r"):rep(i)) end
            print(#list)
            """,
        output: ["20"]),
]

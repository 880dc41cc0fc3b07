-- Readers and writers of bytes: over channels of strings, files, standard streams, and pipes between tasks. All waits
-- are waits of channels, so they end with the context.
local host = ...

local misuse = host.misuse
local options_of, connectors = host.part "options", host.part "connectors"
local check_options, whole, unknown = options_of.check, options_of.whole, options_of.unknown

local chunk_size = 65536
local default_limit = 67108864 -- 64 MB, as of a file's lines

-- When a wait that begins now and may last `timeout` ends; nil: whenever.
local function deadline_of(method, position, timeout)
  if timeout == nil then return nil end
  local seconds = host.duration(timeout)
  if not seconds then
    misuse(([[argument %d of %s expected a duration: seconds (0.8) or text such as "800ms", got %s]]):format(position,
      method, host.kind(timeout)))
  end
  return host.now() + seconds
end

local function left(deadline) return deadline and math.max(0, deadline - host.now()) end

local function class(name, phrase)
  local methods = {}
  return methods, {
    __stays = phrase, __name = name, __metatable = false,
    __index = function(_, key)
      local method = methods[key]
      if method == nil then unknown(("method of %s:"):format(phrase), key, methods) end
      return method
    end,
    __close = function(self) methods.close(self) end,
  }
end

-- ---- Readers ----------------------------------------------------------------------------------------------------
-- `fill(deadline, most)` gives the next bytes, or nil and the reason; a source that can gives no more than `most`.

local Reader, reader_meta = class("reader", "a reader")

local function new_reader(fill, close, limit)
  return setmetatable({ fill = fill, stop = close, limit = limit or default_limit, data = "", position = 1,
    closed = false, skips = false }, reader_meta)
end

local function expect(self, meta_name, method)
  if type(self) ~= "table" or rawget(self, "data") == nil and rawget(self, "put") == nil then
    misuse(("%s expected a %s, got %s: call it as %s:%s(...)"):format(method, meta_name, host.kind(self), meta_name,
      method))
  end
end

-- The next bytes, never "".
local function next_chunk(self, deadline, most)
  while true do
    if self.closed then return nil, "closed" end
    local chunk, reason = self.fill(deadline, most)
    if chunk == nil then return nil, reason end
    if type(chunk) ~= "string" then
      misuse(("a reader expected strings on its channel, got %s"):format(host.kind(chunk)))
    end
    if chunk ~= "" then return chunk end
  end
end

-- Puts bytes that were gathered, and not handed out, before what is there.
local function put_back(self, parts)
  parts[#parts + 1] = self.data:sub(self.position)
  self.data, self.position = table.concat(parts), 1
end

function Reader.read(self, n, timeout)
  expect(self, "reader", "read")
  n = whole("argument 1 of read", n, 1, math.maxinteger)
  local deadline = deadline_of("read", 2, timeout)
  if self.closed then return nil, "closed" end
  if self.position > #self.data then
    local chunk, reason = next_chunk(self, deadline, n)
    if not chunk then return nil, reason end
    self.data, self.position = self.data:sub(self.position) .. chunk, 1  -- another task may have put some there
  end
  local from = self.position
  local last = n > #self.data - from and #self.data or from + n - 1
  self.position = last + 1
  return self.data:sub(from, last)
end

-- Gathers until `enough(length, data, from)` gives the index of the last byte in `data`. Returns bytes, or nil and the
-- reason; at the end of the source (`whole_rest`) what there is.
local function gather(self, deadline, enough, whole_rest)
  local parts, length = {}, 0
  while true do
    if self.closed then return nil, "closed" end
    local data, from = self.data, self.position
    local last = enough(length, data, from)
    if last then
      self.position = last + 1
      if length == 0 then return data:sub(from, last) end
      parts[#parts + 1] = data:sub(from, last)
      return table.concat(parts)
    end
    if from <= #data then
      parts[#parts + 1] = data:sub(from)
      length = length + #parts[#parts]
    end
    self.data, self.position = "", 1
    if last == false then return nil, "line too long" end
    local chunk, reason = next_chunk(self, deadline)
    if not chunk then
      if reason == "closed" and whole_rest and not self.closed then return table.concat(parts) end
      put_back(self, parts)
      return nil, reason
    end
    self.data = self.data .. chunk
  end
end

function Reader.read_exactly(self, n, timeout)
  expect(self, "reader", "read_exactly")
  n = whole("argument 1 of read_exactly", n, 0, math.maxinteger)
  return gather(self, deadline_of("read_exactly", 2, timeout), function(length, data, from)
    if length + #data - from + 1 >= n then return from + (n - length) - 1 end
  end)
end

function Reader.read_all(self, timeout)
  expect(self, "reader", "read_all")
  return gather(self, deadline_of("read_all", 1, timeout), function() end, true)
end

function Reader.read_line(self, timeout)
  expect(self, "reader", "read_line")
  local deadline, limit = deadline_of("read_line", 1, timeout), self.limit
  local function line_end(length, data, from)
    local at = data:find("\n", from, true)
    if at then return at end
    if length + #data - from + 1 > limit + 2 then return false end
  end
  if self.skips then  -- the rest of a line that was too long
    local rest, reason
    repeat
      rest, reason = gather(self, deadline, function(_, data, from)
        local at = data:find("\n", from, true)
        if at then return at end
        if from <= #data then return false end  -- all of this is the line's
      end, true)
    until rest or reason ~= "line too long"
    if not rest then return nil, reason end
    self.skips = false
  end
  local line, reason = gather(self, deadline, line_end, true)
  if line == "" then return nil, "closed" end  -- a line has its end, or some bytes
  if not line then
    self.skips = reason == "line too long"
    return nil, reason
  end
  if line:byte(-1) == 10 then line = line:sub(1, line:byte(-2) == 13 and -3 or -2) end
  if #line > limit then return nil, "line too long" end
  return line
end

local ends = { closed = true, canceled = true, ["deadline exceeded"] = true }

function Reader.lines(self)
  expect(self, "reader", "lines")
  return function()
    local line, reason = Reader.read_line(self)
    if line == nil and not ends[reason] then error(reason, 2) end
    return line
  end
end

function Reader.close(self)
  expect(self, "reader", "close")
  if self.closed then return end
  self.closed, self.data, self.position = true, "", 1
  if self.stop then self.stop() end
end

-- ---- Writers ----------------------------------------------------------------------------------------------------
-- `put(bytes, deadline)` returns how many were taken, and the reason where not all; `settle(deadline, closes)` waits
-- until they have arrived.

local Writer, writer_meta = class("writer", "a writer")

local function new_writer(put, settle)
  return setmetatable({ put = put, settle = settle or false, closed = false }, writer_meta)
end

function Writer.write(self, bytes, timeout)
  expect(self, "writer", "write")
  if type(bytes) ~= "string" then
    misuse(("argument 1 of write expected a string, got %s"):format(host.kind(bytes)))
  end
  local deadline = deadline_of("write", 2, timeout)
  if self.closed then return 0, "closed" end
  if bytes == "" then return 0 end
  return self.put(bytes, deadline)
end

function Writer.flush(self, timeout)
  expect(self, "writer", "flush")
  local deadline = deadline_of("flush", 1, timeout)
  if self.closed then return nil, "closed" end
  if not self.settle then return true end
  return self.settle(deadline, false)
end

function Writer.close(self, timeout)
  expect(self, "writer", "close")
  local deadline = deadline_of("close", 1, timeout)
  if self.closed then return true end
  self.closed = true
  if not self.settle then return true end
  return self.settle(deadline, true)
end

-- ---- What they read from and write to ---------------------------------------------------------------------------

local function check_format(what, description)
  if description.format ~= "lines" and description.format ~= "bytes" then
    misuse(("%s is about bytes: leave out format = \"%s\""):format(what, description.format))
  end
end

local function channel_fill(channel)
  return function(deadline) return channel:recv(left(deadline)) end
end

local function reader(source, options)
  options = check_options("stream.reader", options, { limit = true })
  local limit
  if options.limit ~= nil then
    limit = host.size(options.limit)
    if not limit or limit < 1 then
      misuse(([[limit of stream.reader expected the size of the longest line, such as 65536 or "1MB", got %s]]):format(
        host.kind(options.limit)))
    end
  end
  if host.is_channel(source) then return new_reader(channel_fill(source), nil, limit) end
  if not connectors.is_source(source) or source.kind ~= "stdin" and source.kind ~= "file" then
    misuse(("argument 1 of reader expected stream.file { path = }, stream.stdin() or a channel, got %s"):format(
      host.kind(source)))
  end
  connectors.check_end(source, "append", "sink")
  check_format("stream.reader", source)
  local file, chunks, opening = host.byte_source(source)
  if not file then return nil, chunks end
  local opened, reason = opening:recv()
  if opened == nil and reason ~= "closed" then
    file:stop()
    return nil, reason
  end
  local failure = file:failure()
  if failure and #chunks == 0 then return nil, failure end
  return new_reader(function(deadline)
    local chunk, ended = chunks:recv(left(deadline))
    if chunk == nil and ended == "closed" then ended = file:failure() or ended end
    return chunk, ended
  end, function() file:stop() end, limit)
end

local function channel_writer(channel)
  return new_writer(function(bytes, deadline)
    local taken, reason = channel:send(bytes, left(deadline))
    if taken then return #bytes end
    return 0, reason
  end)
end

local function file_writer(sink)
  local file, chunks, answers = host.byte_sink(sink)
  if not file then return nil, chunks end
  local opened, reason = answers:recv()
  if opened == nil then return nil, reason == "closed" and file:failure() or reason end
  local asked = 0
  return new_writer(function(bytes, deadline)
    local done, length = 0, #bytes
    while done < length do
      local part = length <= chunk_size and bytes or bytes:sub(done + 1, done + chunk_size)
      local sent, why = chunks:send(part, left(deadline))
      if not sent then return done, why == "closed" and file:failure() or why end
      done = done + #part
    end
    return length
  end, function(deadline, closes)
    if closes then
      pcall(chunks.close, chunks)  -- raises where the other end has failed meanwhile
      while true do
        local answer, why = answers:recv(left(deadline))
        if answer == nil then
          if why ~= "closed" then return nil, why end
          why = file:failure()
          if why then return nil, why end
          return true
        end
      end
    end
    asked = asked + 1
    local mine = asked
    local sent, why = chunks:send(mine, left(deadline))
    if not sent then return nil, why == "closed" and file:failure() or why end
    while true do
      local answer
      answer, why = answers:recv(left(deadline))
      if answer == nil then return nil, why == "closed" and file:failure() or why end
      if answer >= mine then return true end
    end
  end)
end

local function writer(sink)
  if host.is_channel(sink) then return channel_writer(sink) end
  if type(sink) == "function" and sink == connectors.make.stderr then sink = sink() end  -- stream.stderr itself
  local kinds = { stdout = true, stderr = true, file = true, null = true }
  if not connectors.is_sink(sink) or not kinds[sink.kind] then
    misuse(("argument 1 of writer expected stream.file { path = }, stream.stdout(), stream.stderr(), "
      .. "stream.null_sink() or a channel, got %s"):format(host.kind(sink)))
  end
  if sink.kind == "null" then return new_writer(function(bytes) return #bytes end) end
  connectors.check_end(sink, "follow", "source")
  check_format("stream.writer", sink)
  return file_writer(sink)
end

-- A pipe between tasks of one worker. `capacity` bounds what was written and the reader has not taken in hand.
local function pipe(capacity)
  local most = chunk_size
  if capacity ~= nil then
    most = host.size(capacity)
    if not most or most < 1 then
      misuse(([[argument 1 of pipe expected a capacity in bytes such as 65536 or "64KB", got %s]]):format(
        host.kind(capacity)))
    end
  end
  local readable, writable = host.chan(1), host.chan(1)  -- each holds a wake-up for one of those who wait
  local queue, first, last, size = {}, 1, 0, 0
  local is_read_closed, is_write_closed = false, false
  local function fill(deadline, wanted)
    while size == 0 do
      if is_write_closed then return nil, "closed" end
      local woken, reason = readable:recv(left(deadline))
      if woken == nil and reason ~= "closed" then return nil, reason end
      if is_read_closed then return nil, "closed" end
    end
    local chunk = queue[first]
    if wanted and wanted < #chunk then
      queue[first] = chunk:sub(wanted + 1)
      chunk = chunk:sub(1, wanted)
    else
      queue[first], first = nil, first + 1
    end
    size = size - #chunk
    if size > 0 then readable:try_send(true) end
    writable:try_send(true)
    return chunk
  end
  local function put(bytes, deadline)
    local done, length = 0, #bytes
    while done < length do
      while size >= most and not is_read_closed do
        local woken, reason = writable:recv(left(deadline))
        if woken == nil and reason ~= "closed" then return done, reason end
      end
      if is_read_closed or is_write_closed then return done, "closed" end
      local part = bytes:sub(done + 1, done + most - size)
      last = last + 1
      queue[last], size, done = part, size + #part, done + #part
      readable:try_send(true)
    end
    if size < most then writable:try_send(true) end
    return length
  end
  return new_reader(fill, function()
    is_read_closed, queue, size = true, {}, 0
    if not writable:is_closed() then writable:close() end
    if not is_write_closed then readable:close() end
  end), new_writer(put, function(_, closes)
    if closes and not is_write_closed then
      is_write_closed = true
      if not readable:is_closed() then readable:close() end
      if not writable:is_closed() then writable:close() end
    end
    return true
  end)
end

return { make = { reader = reader, writer = writer, pipe = pipe } }

-- CSV with a header to JSON lines. The arguments name the columns that are numbers; the others stay text, so that a
-- postal code keeps its zeros. Shows formats, and a stage that sees the script's arguments.
--   streamhost run csv_to_json.lua price quantity < orders.csv
local stream = require "stream"

stream.from(stream.stdin { format = "csv" })
  :map("numbers", function(row)
    for _, column in ipairs(arg) do row[column] = tonumber(row[column]) or row[column] end
    return row
  end)
  :to(stream.stdout { format = "json" })

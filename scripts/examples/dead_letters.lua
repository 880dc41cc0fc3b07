-- Payments from standard input, a JSON object a line, with their amounts in cents. What cannot be read or has no amount
-- goes to a file, with the reason: dead_letters.lua [FILE]
local stream = require "stream"

local letters = stream.file { path = arg[1] or "dead_letters.json", format = "json" }

-- Of a number or text with two decimals at most.
local function cents_of(amount)
  local number = tonumber(amount)
  local cents = number and number >= 0 and math.tointeger((number * 100 + 0.5) // 1)
  if not cents or cents / 100 ~= number then
    error(("amount expected a number such as 12.50, got %s"):format(amount))
  end
  return cents
end

stream.from(stream.stdin { format = "json" }, { on_error = { to = letters } })
  :map("cents", function(payment)
    payment.cents = cents_of(payment.amount)
    return payment
  end)
  :to(stream.stdout { format = "json" })

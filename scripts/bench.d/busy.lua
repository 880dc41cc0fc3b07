-- Computes without waiting: numbers, tables, strings, calls. Prints one sum.
local rounds = tonumber(arg[1])

local function round(seed)
  local values = {}
  for i = 1, 2000 do
    seed = (seed * 1103515245 + 12345) % 2147483648
    values[i] = seed
  end
  table.sort(values)
  local words = {}
  for i = 1, #values, 10 do words[#words + 1] = ("%x"):format(values[i]):upper() end
  local sum = 0
  for word in table.concat(words, " "):gmatch("%x+") do sum = sum + #word end
  for i = 2, #values do sum = sum + (values[i] - values[i - 1]) % 7 end
  return sum, seed
end

local total, seed = 0, 1
for _ = 1, rounds do
  local sum
  sum, seed = round(seed)
  total = total + sum
end
print(total)

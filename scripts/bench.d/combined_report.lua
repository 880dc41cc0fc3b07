-- The report of the combined_* scripts: requests by status, then the ten busiest paths.
return function(counts, emit)
  local statuses, paths = {}, {}
  for status in pairs(counts.status) do statuses[#statuses + 1] = status end
  for path in pairs(counts.paths) do paths[#paths + 1] = path end
  table.sort(statuses)
  table.sort(paths, function(a, b)
    local m, n = counts.paths[a], counts.paths[b]
    return m > n or m == n and a < b
  end)
  for _, status in ipairs(statuses) do emit(counts.status[status] .. " " .. status) end
  for i = 1, math.min(10, #paths) do emit(counts.paths[paths[i]] .. " " .. paths[i]) end
end

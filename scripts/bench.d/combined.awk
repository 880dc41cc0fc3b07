# The peer of combined.lua: requests by status, and the ten busiest paths.
NF >= 9 {
    status[$9]++
    paths[$7]++
}
END {
    sorted = "sort -k2,2"
    for (code in status) print status[code], code | sorted
    close(sorted)
    busiest = "sort -k1,1nr -k2,2 | head -n 10"
    for (path in paths) print paths[path], path | busiest
    close(busiest)
}

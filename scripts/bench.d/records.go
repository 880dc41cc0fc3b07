// Builds n records of ten fields, keeps those with an even id, sums another field: the peer of records.lua.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	n := int64(1000000)
	if len(os.Args) > 1 {
		var err error
		if n, err = strconv.ParseInt(os.Args[1], 10, 64); err != nil {
			fmt.Fprintln(os.Stderr, "usage: records [N]")
			os.Exit(2)
		}
	}
	records, evens := make(chan map[string]any, 1024), make(chan map[string]any, 1024)
	result := make(chan int64)
	go func() {
		for i := int64(1); i <= n; i++ {
			records <- map[string]any{
				"id": i, "user": "user-17", "host": "www.example.com", "path": "/api/v1/orders", "method": "GET",
				"status": int64(200), "bytes": i % 5000, "duration": float64(i) / 8, "cached": i%3 == 0,
				"region": "eu-west",
			}
		}
		close(records)
	}()
	go func() {
		for record := range records {
			if record["id"].(int64)%2 == 0 {
				evens <- record
			}
		}
		close(evens)
	}()
	go func() {
		var sum int64
		for record := range evens {
			sum += record["bytes"].(int64)
		}
		result <- sum
	}()
	fmt.Println(<-result)
}

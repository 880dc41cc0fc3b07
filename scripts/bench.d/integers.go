// Sums the even ones of 1..n through three goroutines and two channels of capacity 1024: the peer of integers.lua.
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
			fmt.Fprintln(os.Stderr, "usage: integers [N]")
			os.Exit(2)
		}
	}
	numbers, evens, result := make(chan int64, 1024), make(chan int64, 1024), make(chan int64)
	go func() {
		for i := int64(1); i <= n; i++ {
			numbers <- i
		}
		close(numbers)
	}()
	go func() {
		for v := range numbers {
			if v%2 == 0 {
				evens <- v
			}
		}
		close(evens)
	}()
	go func() {
		var sum int64
		for v := range evens {
			sum += v
		}
		result <- sum
	}()
	fmt.Println(<-result)
}

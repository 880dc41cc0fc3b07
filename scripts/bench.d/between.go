// Two goroutines and a channel of a given capacity: 1..n go from one to the other. The peer of between.lua.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	n, capacity := int64(100000), 0
	if len(os.Args) > 2 {
		var err, other error
		n, err = strconv.ParseInt(os.Args[1], 10, 64)
		capacity, other = strconv.Atoi(os.Args[2])
		if err != nil || other != nil {
			fmt.Fprintln(os.Stderr, "usage: between [N CAPACITY]")
			os.Exit(2)
		}
	}
	channel, result := make(chan int64, capacity), make(chan int64)
	go func() {
		for i := int64(1); i <= n; i++ {
			channel <- i
		}
		close(channel)
	}()
	go func() {
		var sum int64
		for v := range channel {
			sum += v
		}
		result <- sum
	}()
	fmt.Println(<-result)
}

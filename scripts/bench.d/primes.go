// The first n primes by a chain of goroutines, one a prime, linked by unbuffered channels. The peer of primes.lua.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func filter(from <-chan int, to chan<- int, prime int) {
	for v := range from {
		if v%prime != 0 {
			to <- v
		}
	}
}

func main() {
	n := 100
	if len(os.Args) > 1 {
		var err error
		if n, err = strconv.Atoi(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "usage: primes [N]")
			os.Exit(2)
		}
	}
	numbers := make(chan int)
	go func() {
		for i := 2; ; i++ {
			numbers <- i
		}
	}()
	chain, last := numbers, 0
	for k := 0; k < n; k++ {
		last = <-chain
		following := make(chan int)
		go filter(chain, following, last)
		chain = following
	}
	fmt.Println(last)
}

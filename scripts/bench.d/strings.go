// Builds n strings of 100 bytes, keeps those whose number is even, sums the lengths: the peer of strings.lua.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	n := int64(1000000)
	if len(os.Args) > 1 {
		var err error
		if n, err = strconv.ParseInt(os.Args[1], 10, 64); err != nil {
			fmt.Fprintln(os.Stderr, "usage: strings [N]")
			os.Exit(2)
		}
	}
	padding := strings.Repeat("x", 90)
	texts, evens, result := make(chan string, 1024), make(chan string, 1024), make(chan int)
	go func() {
		for i := int64(1); i <= n; i++ {
			texts <- strconv.FormatInt(1000000000+i, 10) + padding
		}
		close(texts)
	}()
	go func() {
		for text := range texts {
			if text[9]%2 == 0 {
				evens <- text
			}
		}
		close(evens)
	}()
	go func() {
		sum := 0
		for text := range evens {
			sum += len(text)
		}
		result <- sum
	}()
	fmt.Println(<-result)
}

// The failed requests of an access log in JSON lines: the peer of json_filter.lua, with encoding/json.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
)

func main() {
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriterSize(os.Stdout, 65536)
	in.Buffer(make([]byte, 65536), 1<<26)
	for in.Scan() {
		var event map[string]any
		if err := json.Unmarshal(in.Bytes(), &event); err != nil {
			log.Fatal(err)
		}
		if event["status"].(float64) >= 400 {
			out.Write(in.Bytes())
			out.WriteByte('\n')
		}
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

// Drops the small responses of an access log, gives each other one a field: the peer of json_edit.lua.
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
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for in.Scan() {
		var event map[string]any
		if err := json.Unmarshal(in.Bytes(), &event); err != nil {
			log.Fatal(err)
		}
		if event["bytes"].(float64) < 18000 {
			continue
		}
		if event["status"].(float64) >= 400 {
			event["class"] = "error"
		} else {
			event["class"] = "ok"
		}
		if err := encoder.Encode(event); err != nil {
			log.Fatal(err)
		}
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

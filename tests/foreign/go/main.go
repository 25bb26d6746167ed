// Watches a symbol over server-sent events and prints its prices, one JSON value a line; comes back as the library does.
package main

import (
	"fmt"
	"net/url"
	"os"

	"github.com/r3labs/sse/v2"
)

func main() {
	server, token, symbol := os.Args[1], os.Args[2], os.Args[3]
	client := sse.NewClient(server + "/market-data/stream?mode=every&symbols=" + url.QueryEscape(symbol))
	client.Headers["Authorization"] = "Bearer " + token
	err := client.SubscribeRaw(func(event *sse.Event) {
		if string(event.Event) == "price" {
			fmt.Println(string(event.Data))
		}
	})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

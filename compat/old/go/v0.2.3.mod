module old

go 1.22

require github.com/centrifugal/centrifuge-go v0.2.3

require (
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/jpillora/backoff v1.1.0 // indirect
)

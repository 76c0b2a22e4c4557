module old

go 1.22

require github.com/centrifugal/centrifuge-go v0.7.2

require (
	github.com/centrifugal/protocol v0.5.0 // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/gorilla/websocket v1.4.2 // indirect
	github.com/jpillora/backoff v1.0.0 // indirect
)

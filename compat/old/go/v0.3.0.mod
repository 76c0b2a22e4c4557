module old

go 1.22

require github.com/centrifugal/centrifuge-go v0.3.0

require (
	github.com/centrifugal/protocol v0.1.0 // indirect
	github.com/gogo/protobuf v1.3.1 // indirect
	github.com/gorilla/websocket v1.4.1 // indirect
	github.com/jpillora/backoff v0.0.0-20170918002102-8eab2debe79d // indirect
)

module old

go 1.22

require github.com/centrifugal/centrifuge-go v0.8.3

require (
	github.com/centrifugal/protocol v0.7.3 // indirect
	github.com/gorilla/websocket v1.4.2 // indirect
	github.com/josharian/intern v1.0.0 // indirect
	github.com/jpillora/backoff v1.0.0 // indirect
	github.com/klauspost/cpuid/v2 v2.0.5 // indirect
	github.com/mailru/easyjson v0.7.7 // indirect
	github.com/segmentio/encoding v0.2.19 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	google.golang.org/protobuf v1.27.1 // indirect
)

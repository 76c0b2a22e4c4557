// Package compat is Spinward seen through the official Go SDK.
package compat

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	secret   = "secret"
	apiKey   = "api-key"
	patience = 10 * time.Second
)

type object = map[string]any

// binary is the server: SPINWARD_BIN, or a release build of this repository.
func binary() string {
	if named := os.Getenv("SPINWARD_BIN"); named != "" {
		return named
	}
	return "../../target/release/spinward"
}

// config has one namespace for each thing that the scenarios need.
func config() object {
	history := func(name string, more object) object {
		namespace := object{
			"name": name, "allow_subscribe_for_client": true, "allow_publish_for_client": true,
			"allow_history_for_client": true, "history_size": 100, "history_ttl": "300s",
		}
		for key, value := range more {
			namespace[key] = value
		}
		return namespace
	}
	return object{
		"log":      object{"level": "info"},
		"health":   object{"enabled": true},
		"http_api": object{"key": apiKey},
		"client": object{
			"token":                    object{"hmac_secret_key": secret},
			"expired_close_delay":      "1s",
			"presence_update_interval": "1s",
		},
		"channel": object{"namespaces": []object{
			{"name": "room", "allow_subscribe_for_client": true, "allow_publish_for_client": true, "presence": true,
				"join_leave": true, "force_push_join_leave": true, "allow_presence_for_client": true},
			history("recov", object{"force_recovery": true}),
			history("short", object{"force_recovery": true, "history_size": 3}),
			history("delta", object{"force_recovery": true, "allowed_delta_types": []string{"fossil"}, "delta_publish": true}),
			history("tags", object{"allow_tags_filter": true}),
			{"name": "closed"},
		}},
	}
}

type server struct {
	t       *testing.T
	address string
}

// startServer runs the binary on a free port of 127.0.0.1 until the test ends.
func startServer(t *testing.T) *server {
	t.Helper()
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := probe.Addr().String()
	must(t, probe.Close())
	text, err := json.Marshal(config())
	must(t, err)
	file := filepath.Join(t.TempDir(), "config.json")
	must(t, os.WriteFile(file, text, 0o600))
	command := exec.Command(binary(), "-c", file)
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "SPINWARD_") && !strings.HasPrefix(setting, "CENTRIFUGO_") {
			command.Env = append(command.Env, setting)
		}
	}
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	for _, prefix := range []string{"SPINWARD", "CENTRIFUGO"} {
		command.Env = append(command.Env, prefix+"_HTTP_SERVER_ADDRESS=127.0.0.1", prefix+"_HTTP_SERVER_PORT="+port)
	}
	must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	running := &server{t, address}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get("http://" + address + "/health")
		if err == nil {
			_ = answer.Body.Close()
			return running
		}
		if time.Since(began) > patience {
			t.Fatalf("the server did not start: %v", err)
		}
	}
}

func (s *server) url() string { return url(s.address) }

func url(address string) string { return "ws://" + address + "/connection/websocket" }

// api calls a method of the server API.
func (s *server) api(method string, params object) {
	s.t.Helper()
	body, err := json.Marshal(params)
	must(s.t, err)
	request, err := http.NewRequest(http.MethodPost, "http://"+s.address+"/api/"+method, bytes.NewReader(body))
	must(s.t, err)
	request.Header.Set("X-API-Key", apiKey)
	answer, err := http.DefaultClient.Do(request)
	must(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	must(s.t, err)
	if answer.StatusCode != http.StatusOK || !bytes.HasPrefix(text, []byte(`{"result"`)) {
		s.t.Fatalf("%s: %d %s", method, answer.StatusCode, text)
	}
}

func (s *server) publish(channel string, n int) {
	s.t.Helper()
	s.api("publish", object{"channel": channel, "data": object{"n": n}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// jwt is a token of these claims.
func jwt(claims object, key string) string {
	body, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(body)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

var next atomic.Uint64

// unique gives a name that no other test has.
func unique(prefix string) string { return fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), next.Add(1)) }

// record is what happened, in order.
type record[T any] struct {
	mutex   sync.Mutex
	entries []T
}

func (r *record[T]) add(entry T) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.entries = append(r.entries, entry)
}

func (r *record[T]) all() []T {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return append([]T(nil), r.entries...)
}

// wait gives all entries once there are so many.
func (r *record[T]) wait(t *testing.T, count int) []T {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if entries := r.all(); len(entries) >= count {
			return entries
		}
		if time.Since(began) > patience {
			t.Fatalf("waited in vain for %d entries: %v", count, r.all())
		}
	}
}

// relay is a TCP relay in front of a server, whose connections can be cut at will.
type relay struct {
	listener net.Listener
	mutex    sync.Mutex
	refusing bool
	open     map[net.Conn]struct{}
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &relay{listener: listener, open: map[net.Conn]struct{}{}}
	t.Cleanup(func() {
		_ = listener.Close()
		r.cut()
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go r.carry(near, to)
		}
	}()
	return r
}

func (r *relay) carry(near net.Conn, to string) {
	far, err := net.Dial("tcp", to)
	if err != nil || !r.enter(near, far) {
		_ = near.Close()
		if far != nil {
			_ = far.Close()
		}
		return
	}
	over := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			over <- struct{}{}
		}()
	}
	<-over
	r.mutex.Lock()
	delete(r.open, near)
	delete(r.open, far)
	r.mutex.Unlock()
	_ = near.Close()
	_ = far.Close()
}

func (r *relay) enter(near, far net.Conn) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.refusing {
		return false
	}
	r.open[near], r.open[far] = struct{}{}, struct{}{}
	return true
}

func (r *relay) url() string { return url(r.listener.Addr().String()) }

// cut ends all connections, without a word of either side.
func (r *relay) cut() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for connection := range r.open {
		_ = connection.Close()
	}
}

// refuse makes new connections be hung up on, or no longer so.
func (r *relay) refuse(refuse bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.refusing = refuse
}

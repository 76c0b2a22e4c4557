// Command old drives a Go SDK of 2019 to 2022 for the scenarios beside it: one JSON command a line comes in, answers and
// questions for tokens go out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	centrifuge "github.com/centrifugal/centrifuge-go"
)

type object = map[string]any

var out struct {
	sync.Mutex
	asked   int
	answers map[int]chan string
}

func write(value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	fmt.Println(string(text))
}

// ask gets a token from the other side.
func ask(question object) string {
	answer := make(chan string, 1)
	out.Lock()
	out.asked++
	question["ask"] = out.asked
	out.answers[out.asked] = answer
	out.Unlock()
	write(question)
	return <-answer
}

type event struct {
	name    string
	context any
}

// client is one client, and all that has happened to it.
type client struct {
	sync.Mutex
	id     string
	sdk    *centrifuge.Client
	subs   map[string]*centrifuge.Subscription
	events []event
}

func (c *client) note(name string, context any) {
	c.Lock()
	defer c.Unlock()
	c.events = append(c.events, event{name, context})
}

func info(of *centrifuge.ClientInfo) any {
	if of == nil {
		return nil
	}
	return object{"user": of.User, "client": of.Client}
}

func publication(of centrifuge.Publication) object {
	return object{"data": json.RawMessage(of.Data), "info": info(of.Info)}
}

func (c *client) OnConnect(_ *centrifuge.Client, e centrifuge.ConnectEvent) {
	c.note("connect", object{"client": e.ClientID, "transport": "websocket"})
}

func (c *client) OnDisconnect(_ *centrifuge.Client, e centrifuge.DisconnectEvent) {
	c.note("disconnect", object{"reason": e.Reason, "reconnect": e.Reconnect})
}

func (c *client) OnRefresh(*centrifuge.Client) (string, error) {
	return ask(object{"kind": "refresh", "id": c.id}), nil
}

func (c *client) OnPrivateSub(_ *centrifuge.Client, e centrifuge.PrivateSubEvent) (string, error) {
	return ask(object{"kind": "private", "client": e.ClientID, "channel": e.Channel}), nil
}

func (c *client) OnSubscribeSuccess(s *centrifuge.Subscription, e centrifuge.SubscribeSuccessEvent) {
	c.note(s.Channel()+" subscribe", object{"recovered": e.Recovered})
}

func (c *client) OnSubscribeError(s *centrifuge.Subscription, e centrifuge.SubscribeErrorEvent) {
	c.note(s.Channel()+" error", object{"message": e.Error})
}

func (c *client) OnUnsubscribe(s *centrifuge.Subscription, _ centrifuge.UnsubscribeEvent) {
	c.note(s.Channel()+" unsubscribe", object{})
}

func (c *client) OnPublish(s *centrifuge.Subscription, e centrifuge.PublishEvent) {
	c.note(s.Channel()+" publish", publication(e.Publication))
}

func (c *client) OnJoin(s *centrifuge.Subscription, e centrifuge.JoinEvent) {
	c.note(s.Channel()+" join", object{"info": info(&e.ClientInfo)})
}

func (c *client) OnLeave(s *centrifuge.Subscription, e centrifuge.LeaveEvent) {
	c.note(s.Channel()+" leave", object{"info": info(&e.ClientInfo)})
}

var clients sync.Map

// The first argument of every operation is the name of a client.
var operations = map[string]func(c *client, rest []json.RawMessage) (any, error){
	"connect":    func(c *client, _ []json.RawMessage) (any, error) { return nil, c.sdk.Connect() },
	"disconnect": func(c *client, _ []json.RawMessage) (any, error) { return nil, c.sdk.Disconnect() },
	"subscribe": func(c *client, rest []json.RawMessage) (any, error) {
		channel := text(rest[0])
		if known := c.subs[channel]; known != nil {
			return nil, known.Subscribe()
		}
		sub, err := c.sdk.NewSubscription(channel)
		if err != nil {
			return nil, err
		}
		c.subs[channel] = sub
		sub.OnSubscribeSuccess(c)
		sub.OnSubscribeError(c)
		sub.OnUnsubscribe(c)
		sub.OnPublish(c)
		sub.OnJoin(c)
		sub.OnLeave(c)
		return nil, sub.Subscribe()
	},
	"unsubscribe": func(c *client, rest []json.RawMessage) (any, error) {
		return nil, c.subs[text(rest[0])].Unsubscribe()
	},
	"publish": func(c *client, rest []json.RawMessage) (any, error) {
		return object{}, publish(c.subs[text(rest[0])], rest[1])
	},
	"burst": func(c *client, rest []json.RawMessage) (any, error) {
		var count int
		if err := json.Unmarshal(rest[1], &count); err != nil {
			return nil, err
		}
		for number := range count {
			if err := publish(c.subs[text(rest[0])], fmt.Append(nil, number)); err != nil {
				return nil, err
			}
		}
		return count, nil
	},
	"presence": func(c *client, rest []json.RawMessage) (any, error) {
		found, err := presence(c.subs[text(rest[0])])
		all := object{}
		for client, of := range found {
			all[client] = info(&of)
		}
		return object{"presence": all}, err
	},
	"presenceStats": func(c *client, rest []json.RawMessage) (any, error) {
		clients, users, err := presenceStats(c.subs[text(rest[0])])
		return object{"num_clients": clients, "num_users": users}, err
	},
	"history": func(c *client, rest []json.RawMessage) (any, error) {
		found, err := history(c.subs[text(rest[0])])
		all := []object{}
		for _, one := range found {
			all = append(all, publication(one))
		}
		return object{"publications": all}, err
	},
	"rpc": func(c *client, rest []json.RawMessage) (any, error) {
		if err := rpc(c.sdk, rest[0]); err != nil {
			return object{"error": object{"message": err.Error()}}, nil
		}
		return object{}, nil
	},
	"events": func(c *client, _ []json.RawMessage) (any, error) {
		c.Lock()
		defer c.Unlock()
		all := []any{}
		for _, one := range c.events {
			all = append(all, []any{one.name, one.context})
		}
		return all, nil
	},
	"count": func(c *client, rest []json.RawMessage) (any, error) {
		c.Lock()
		defer c.Unlock()
		count := 0
		for _, one := range c.events {
			if one.name == text(rest[0]) {
				count++
			}
		}
		return count, nil
	},
}

func text(raw json.RawMessage) (value string) {
	if err := json.Unmarshal(raw, &value); err != nil {
		panic(err)
	}
	return
}

func open(id string, raw json.RawMessage) error {
	var asked struct{ URL, Token string }
	if err := json.Unmarshal(raw, &asked); err != nil {
		return err
	}
	c := &client{id: id, sdk: newClient(asked.URL), subs: map[string]*centrifuge.Subscription{}}
	clients.Store(id, c)
	c.sdk.OnConnect(c)
	c.sdk.OnDisconnect(c)
	c.sdk.OnRefresh(c)
	c.sdk.OnPrivateSub(c)
	c.sdk.SetToken(asked.Token)
	// The SDK returns the error of a first attempt that fails, and tries again by itself where it is to.
	_ = c.sdk.Connect()
	return nil
}

func serve(op string, rest []json.RawMessage) (any, error) {
	id := text(rest[0])
	if op == "open" {
		return nil, open(id, rest[1])
	}
	found, ok := clients.Load(id)
	if !ok {
		return nil, fmt.Errorf("no client %s", id)
	}
	return operations[op](found.(*client), rest[1:])
}

func main() {
	out.answers = map[int]chan string{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var line struct {
			N, Answer int
			Op, Token string
			Rest      []json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			panic(err)
		}
		if line.Answer > 0 {
			out.Lock()
			answer := out.answers[line.Answer]
			out.Unlock()
			answer <- line.Token
			continue
		}
		go func() {
			result, err := serve(line.Op, line.Rest)
			reply := object{"n": line.N, "result": result}
			if err != nil {
				reply["error"] = err.Error()
			}
			write(reply)
		}()
	}
}

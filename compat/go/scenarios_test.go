package compat

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// makeClient gives a client of one encoding.
type makeClient func(endpoint string, config centrifuge.Config) *centrifuge.Client

// both runs a scenario in both encodings of the protocol, each with a server of its own.
func both(t *testing.T, scenario func(*testing.T, *server, makeClient)) {
	for name, client := range map[string]makeClient{"json": centrifuge.NewJsonClient, "protobuf": centrifuge.NewProtobufClient} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario(t, startServer(t), client)
		})
	}
}

func settings(claims object) centrifuge.Config {
	return centrifuge.Config{
		Token:             jwt(claims, secret),
		MinReconnectDelay: 50 * time.Millisecond,
		MaxReconnectDelay: 200 * time.Millisecond,
	}
}

// connect connects and waits until that is done.
func connect(t *testing.T, client *centrifuge.Client) *centrifuge.Client {
	t.Helper()
	connected := &record[string]{}
	client.OnConnected(func(event centrifuge.ConnectedEvent) { connected.add(event.ClientID) })
	t.Cleanup(client.Close)
	must(t, client.Connect())
	connected.wait(t, 1)
	return client
}

type publication struct {
	Offset uint64
	N      int
}

// subscribe subscribes, waits until that is done, and records publications.
func subscribe(t *testing.T, client *centrifuge.Client, channel string, config centrifuge.SubscriptionConfig) (
	*centrifuge.Subscription, *record[publication], *record[centrifuge.SubscribedEvent],
) {
	t.Helper()
	sub, err := client.NewSubscription(channel, config)
	must(t, err)
	seen, entered := &record[publication]{}, &record[centrifuge.SubscribedEvent]{}
	sub.OnPublication(func(event centrifuge.PublicationEvent) { seen.add(publication{event.Offset, number(event.Data)}) })
	sub.OnSubscribed(func(event centrifuge.SubscribedEvent) { entered.add(event) })
	must(t, sub.Subscribe())
	entered.wait(t, 1)
	return sub, seen, entered
}

func number(data []byte) int {
	var payload struct{ N int }
	if json.Unmarshal(data, &payload) != nil {
		return -1
	}
	return payload.N
}

func numbers(publications []publication) (got []int) {
	for _, each := range publications {
		got = append(got, each.N)
	}
	return got
}

func upTo(last int) (all []int) {
	for n := 1; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func code(t *testing.T, err error, want uint32) {
	t.Helper()
	var refused *centrifuge.Error
	if !errors.As(err, &refused) || refused.Code != want {
		t.Fatalf("got %v, want code %d", err, want)
	}
}

func TestConnectSubscribePublish(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		channel := unique("room:")
		ada := connect(t, client(server.url(), settings(object{"sub": "42", "info": object{"name": "Ada"}})))
		ben := connect(t, client(server.url(), settings(object{"sub": "43"})))
		sub, err := ben.NewSubscription(channel)
		must(t, err)
		seen, entered := &record[centrifuge.Publication]{}, &record[bool]{}
		sub.OnPublication(func(event centrifuge.PublicationEvent) { seen.add(event.Publication) })
		sub.OnSubscribed(func(centrifuge.SubscribedEvent) { entered.add(true) })
		must(t, sub.Subscribe())
		entered.wait(t, 1)
		_, err = ada.Publish(context.Background(), channel, []byte(`{"n":7}`))
		must(t, err)
		got := seen.wait(t, 1)[0]
		equal(t, string(got.Data), `{"n":7}`)
		equal(t, got.Info.User, "42")
		equal(t, string(got.Info.ConnInfo), `{"name":"Ada"}`)
	})
}

func TestServerPublishes(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		channel := unique("recov:")
		_, seen, _ := subscribe(t, connect(t, client(server.url(), settings(object{"sub": "42"}))), channel, centrifuge.SubscriptionConfig{})
		for n := range 20 {
			server.publish(channel, n+1)
		}
		got := seen.wait(t, 20)
		equal(t, numbers(got), upTo(20))
		for at, each := range got {
			equal(t, each.Offset, uint64(at+1))
		}
	})
}

func TestPresence(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		channel, ctx := unique("room:"), context.Background()
		sub, _, _ := subscribe(t, connect(t, client(server.url(), settings(object{"sub": "42"}))), channel, centrifuge.SubscriptionConfig{})
		other := connect(t, client(server.url(), settings(object{"sub": "43"})))
		subscribe(t, other, channel, centrifuge.SubscriptionConfig{})
		stats, err := sub.PresenceStats(ctx)
		must(t, err)
		equal(t, []int{stats.NumClients, stats.NumUsers}, []int{2, 2})
		people, err := sub.Presence(ctx)
		must(t, err)
		var users []string
		for _, info := range people.Clients {
			users = append(users, info.User)
		}
		slices.Sort(users)
		equal(t, users, []string{"42", "43"})
		other.Close()
		for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			if stats, err = sub.PresenceStats(ctx); err == nil && stats.NumClients == 1 {
				return
			}
			if time.Since(began) > patience {
				t.Fatal("who has left is still there")
			}
		}
	})
}

func TestJoinLeave(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		channel := unique("room:")
		sub, err := connect(t, client(server.url(), settings(object{"sub": "42"}))).NewSubscription(channel)
		must(t, err)
		log := &record[string]{}
		sub.OnJoin(func(event centrifuge.JoinEvent) { log.add("join " + event.User) })
		sub.OnLeave(func(event centrifuge.LeaveEvent) { log.add("leave " + event.User) })
		must(t, sub.Subscribe())
		log.wait(t, 1)
		theirs, _, _ := subscribe(t, connect(t, client(server.url(), settings(object{"sub": "43"}))), channel, centrifuge.SubscriptionConfig{})
		must(t, theirs.Unsubscribe())
		equal(t, log.wait(t, 3), []string{"join 42", "join 43", "leave 43"})
	})
}

func TestHistory(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		channel, ctx := unique("recov:"), context.Background()
		reader := connect(t, client(server.url(), settings(object{"sub": "42"})))
		for n := range 5 {
			server.publish(channel, n+1)
		}
		top, err := reader.History(ctx, channel)
		must(t, err)
		equal(t, []uint64{top.Offset, uint64(len(top.Publications))}, []uint64{5, 0})
		var pages [][]uint64
		at := centrifuge.StreamPosition{Epoch: top.Epoch}
		for {
			page, err := reader.History(ctx, channel, centrifuge.WithHistoryLimit(2), centrifuge.WithHistorySince(&at))
			must(t, err)
			if len(page.Publications) == 0 {
				break
			}
			pages = append(pages, offsets(page.Publications))
			at.Offset = page.Publications[len(page.Publications)-1].Offset
		}
		equal(t, pages, [][]uint64{{1, 2}, {3, 4}, {5}})
		newest, err := reader.History(ctx, channel, centrifuge.WithHistoryLimit(2), centrifuge.WithHistoryReverse(true))
		must(t, err)
		equal(t, offsets(newest.Publications), []uint64{5, 4})
		elsewhere := centrifuge.StreamPosition{Offset: 2, Epoch: "another-epoch"}
		_, err = reader.History(ctx, channel, centrifuge.WithHistoryLimit(-1), centrifuge.WithHistorySince(&elsewhere))
		code(t, err, 112)
	})
}

func offsets(publications []centrifuge.Publication) (all []uint64) {
	for _, each := range publications {
		all = append(all, each.Offset)
	}
	return all
}

func TestRecoveryAfterACutSocket(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		between := startRelay(t, server.address)
		channel := unique("recov:")
		_, seen, entered := subscribe(t, connect(t, client(between.url(), settings(object{"sub": "42"}))), channel, centrifuge.SubscriptionConfig{})
		n := 0
		for round := range 3 {
			server.publish(channel, n+1)
			seen.wait(t, n+1)
			between.refuse(true)
			between.cut()
			for missed := 2; missed <= 4; missed++ {
				server.publish(channel, n+missed)
			}
			between.refuse(false)
			n += 4
			seen.wait(t, n)
			again := entered.wait(t, round+2)[round+1]
			equal(t, []bool{again.WasRecovering, again.Recovered}, []bool{true, true})
		}
		server.publish(channel, n+1)
		equal(t, numbers(seen.wait(t, n+1)), upTo(13))
	})
}

func TestWhatCannotBeRecovered(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		between := startRelay(t, server.address)
		channel := unique("short:")
		_, _, entered := subscribe(t, connect(t, client(between.url(), settings(object{"sub": "42"}))), channel, centrifuge.SubscriptionConfig{})
		between.refuse(true)
		between.cut()
		for n := range 10 {
			server.publish(channel, n+1)
		}
		between.refuse(false)
		again := entered.wait(t, 2)[1]
		equal(t, []bool{again.WasRecovering, again.Recovered}, []bool{true, false})
	})
}

func TestServerSideSubscriptions(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		between := startRelay(t, server.address)
		mine, plain, later, user := unique("recov:"), unique("room:"), unique("room:"), unique("user-")
		log := &record[string]{}
		listener := client(between.url(), settings(object{"sub": user, "subs": object{mine: object{"data": object{"hello": 1}}, plain: object{}}}))
		listener.OnSubscribed(func(event centrifuge.ServerSubscribedEvent) {
			if event.Recovered {
				log.add("again " + event.Channel)
			} else {
				log.add("in " + event.Channel)
			}
		})
		listener.OnUnsubscribed(func(event centrifuge.ServerUnsubscribedEvent) { log.add("out " + event.Channel) })
		listener.OnPublication(func(event centrifuge.ServerPublicationEvent) { log.add("got " + event.Channel) })
		connect(t, listener)
		first := log.wait(t, 2)
		slices.Sort(first)
		equal(t, first, []string{"in " + mine, "in " + plain})
		server.publish(mine, 1)
		server.api("subscribe", object{"user": user, "channel": later})
		server.publish(later, 1)
		server.api("unsubscribe", object{"user": user, "channel": later})
		equal(t, log.wait(t, 6)[2:], []string{"got " + mine, "in " + later, "got " + later, "out " + later})
		between.refuse(true)
		between.cut()
		server.publish(mine, 2)
		between.refuse(false)
		after := log.wait(t, 9)[6:]
		for _, wanted := range []string{"again " + mine, "got " + mine, "in " + plain} {
			if !slices.Contains(after, wanted) {
				t.Fatalf("%q is not in %v", wanted, after)
			}
		}
	})
}

func TestBadTokens(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		for _, token := range []string{
			jwt(object{"sub": "42"}, "another secret"),
			jwt(object{"sub": 42}, secret),
			jwt(object{"sub": "42", "channel": "x"}, secret),
			"no token",
		} {
			refused := client(server.url(), centrifuge.Config{Token: token})
			ended := &record[centrifuge.DisconnectedEvent]{}
			refused.OnDisconnected(func(event centrifuge.DisconnectedEvent) { ended.add(event) })
			must(t, refused.Connect())
			equal(t, ended.wait(t, 1)[0], centrifuge.DisconnectedEvent{Code: 3500, Reason: "invalid token"})
			refused.Close()
		}
	})
}

func TestRenewal(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		for _, first := range []int64{-10, 2} {
			config := settings(object{"sub": "42", "exp": time.Now().Unix() + first})
			asked, connecting := &record[bool]{}, &record[uint32]{}
			config.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) {
				asked.add(true)
				return jwt(object{"sub": "42", "exp": time.Now().Unix() + 60}, secret), nil
			}
			renewing := client(server.url(), config)
			renewing.OnConnecting(func(event centrifuge.ConnectingEvent) { connecting.add(event.Code) })
			connect(t, renewing)
			asked.wait(t, 1)
			if first > 0 {
				time.Sleep(4 * time.Second)
				equal(t, connecting.all(), []uint32{0})
			}
			equal(t, renewing.State(), centrifuge.StateConnected)
		}
	})
}

func TestDisconnectCodes(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		user := unique("user-")
		moved := client(server.url(), settings(object{"sub": user}))
		connecting, ended, connected := &record[uint32]{}, &record[centrifuge.DisconnectedEvent]{}, &record[bool]{}
		moved.OnConnecting(func(event centrifuge.ConnectingEvent) { connecting.add(event.Code) })
		moved.OnDisconnected(func(event centrifuge.DisconnectedEvent) { ended.add(event) })
		moved.OnConnected(func(centrifuge.ConnectedEvent) { connected.add(true) })
		t.Cleanup(moved.Close)
		must(t, moved.Connect())
		connected.wait(t, 1)
		server.api("disconnect", object{"user": user, "disconnect": object{"code": 3200, "reason": "move over"}})
		connected.wait(t, 2)
		equal(t, connecting.all(), []uint32{0, 3200})
		server.api("disconnect", object{"user": user})
		equal(t, ended.wait(t, 1)[0], centrifuge.DisconnectedEvent{Code: 3503, Reason: "force disconnect"})
	})
}

func TestClosedChannels(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		ctx := context.Background()
		outsider := connect(t, client(server.url(), settings(object{"sub": "42"})))
		for channel, want := range map[string]uint32{"closed:x": 103, "nowhere:x": 102} {
			sub, err := outsider.NewSubscription(channel)
			must(t, err)
			ended := &record[uint32]{}
			sub.OnUnsubscribed(func(event centrifuge.UnsubscribedEvent) { ended.add(event.Code) })
			must(t, sub.Subscribe())
			equal(t, ended.wait(t, 1), []uint32{want})
		}
		_, err := outsider.Publish(ctx, "closed:x", []byte("{}"))
		code(t, err, 103)
		_, err = outsider.RPC(ctx, "nothing", []byte("{}"))
		code(t, err, 108)
	})
}

func TestDeltas(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		channel := unique("delta:")
		sub, err := connect(t, client(server.url(), settings(object{"sub": "42"}))).NewSubscription(channel, centrifuge.SubscriptionConfig{Delta: centrifuge.DeltaTypeFossil})
		must(t, err)
		seen, entered := &record[string]{}, &record[bool]{}
		sub.OnPublication(func(event centrifuge.PublicationEvent) { seen.add(string(event.Data)) })
		sub.OnSubscribed(func(centrifuge.SubscribedEvent) { entered.add(true) })
		must(t, sub.Subscribe())
		entered.wait(t, 1)
		var sent []string
		for n := range 10 {
			payload := object{"n": n, "padding": strings.Repeat("the same words over and over again ", 60)}
			text, err := json.Marshal(payload)
			must(t, err)
			sent = append(sent, string(text))
			server.api("publish", object{"channel": channel, "data": payload})
		}
		equal(t, seen.wait(t, 10), sent)
	})
}

func TestTagsFilter(t *testing.T) {
	both(t, func(t *testing.T, server *server, client makeClient) {
		channel := unique("tags:")
		wanted := centrifuge.FilterAnd(centrifuge.FilterEq("kind", "goal"), centrifuge.FilterGte("minute", "10"))
		_, seen, _ := subscribe(t, connect(t, client(server.url(), settings(object{"sub": "42"}))), channel, centrifuge.SubscriptionConfig{TagsFilter: wanted})
		for n, tags := range []object{
			{"kind": "goal", "minute": "9"}, {"kind": "goal", "minute": "10"}, {"kind": "foul", "minute": "50"},
			{"kind": "goal", "minute": "90.5"}, {}, {"kind": "goal", "minute": "91"},
		} {
			server.api("publish", object{"channel": channel, "data": object{"n": n + 1}, "tags": tags})
		}
		equal(t, numbers(seen.wait(t, 3)), []int{2, 4, 6})
	})
}

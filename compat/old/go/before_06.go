//go:build before_06

package main

import centrifuge "github.com/centrifugal/centrifuge-go"

func newClient(url string) *centrifuge.Client { return centrifuge.New(url, centrifuge.DefaultConfig()) }

func publish(sub *centrifuge.Subscription, data []byte) error { return sub.Publish(data) }

func presence(sub *centrifuge.Subscription) (map[string]centrifuge.ClientInfo, error) {
	return sub.Presence()
}

func presenceStats(sub *centrifuge.Subscription) (int, int, error) {
	stats, err := sub.PresenceStats()
	return stats.NumClients, stats.NumUsers, err
}

func history(sub *centrifuge.Subscription) ([]centrifuge.Publication, error) { return sub.History() }

func rpc(client *centrifuge.Client, data []byte) error {
	_, err := client.RPC(data)
	return err
}

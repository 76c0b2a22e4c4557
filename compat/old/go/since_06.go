//go:build !before_06

package main

import centrifuge "github.com/centrifugal/centrifuge-go"

func newClient(url string) *centrifuge.Client { return centrifuge.New(url, centrifuge.DefaultConfig()) }

func publish(sub *centrifuge.Subscription, data []byte) error {
	_, err := sub.Publish(data)
	return err
}

func presence(sub *centrifuge.Subscription) (map[string]centrifuge.ClientInfo, error) {
	result, err := sub.Presence()
	return result.Presence, err
}

func presenceStats(sub *centrifuge.Subscription) (int, int, error) {
	stats, err := sub.PresenceStats()
	return stats.NumClients, stats.NumUsers, err
}

func history(sub *centrifuge.Subscription) ([]centrifuge.Publication, error) {
	result, err := sub.History()
	return result.Publications, err
}

func rpc(client *centrifuge.Client, data []byte) error {
	_, err := client.RPC(data)
	return err
}

package main

import (
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v2"
	"github.com/pion/webrtc/v3"
)

var publisherAndSlots = shape{audio: true, video: webrtc.MimeTypeVP8, audioSlots: 2, videoSlots: 2}
var slotsOnly = shape{audioSlots: 2, videoSlots: 2}

// start runs an SFU for a test and returns where its door is.
func start(t *testing.T, srtp string) string {
	t.Helper()
	sfu, err := newSFU(net.IPv4(127, 0, 0, 1), srtp)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(door(sfu))
	t.Cleanup(server.Close)
	return server.URL
}

func TestPublishersFillTheSlotsInTheOrderTheyCame(t *testing.T) {
	url := start(t, "default")
	ada := join(t, url, 1, "m", publisherAndSlots)
	ada.publish()
	subscribers := []*participant{
		join(t, url, 11, "m", slotsOnly), join(t, url, 12, "m", slotsOnly), join(t, url, 13, "m", slotsOnly),
	}
	elsewhere := join(t, url, 21, "another", slotsOnly)
	for _, subscriber := range subscribers {
		subscriber.hears(ada, 0)
		subscriber.sees(ada, 0)
		subscriber.isShownNothing(1)
	}

	bob := join(t, url, 2, "m", publisherAndSlots)
	bob.publish()
	for _, subscriber := range subscribers {
		subscriber.hears(bob, 1)
		subscriber.sees(bob, 1)
		subscriber.sees(ada, 0)
	}
	// Nobody counts oneself.
	ada.sees(bob, 0)
	bob.sees(ada, 0)
	bob.isShownNothing(1)

	late := join(t, url, 14, "m", slotsOnly)
	late.hears(ada, 0)
	late.hears(bob, 1)
	late.sees(ada, 0)
	late.sees(bob, 1)
	elsewhere.isShownNothing(0)
}

func TestSlotsAreFilledInTheOrderInWhichTheClientNamesThem(t *testing.T) {
	url := start(t, "default")
	ada := join(t, url, 1, "m", publisherAndSlots)
	ada.publish()
	backwards := slotsOnly
	backwards.backwards = true
	subscriber := join(t, url, 11, "m", backwards)
	// The last m-line of each kind is the first slot.
	subscriber.sees(ada, 1)
	subscriber.hears(ada, 1)
	subscriber.isShownNothing(0)
}

func TestAPacketArrivesAsItWasSent(t *testing.T) {
	url := start(t, "default")
	ada := join(t, url, 1, "m", publisherAndSlots)
	ada.publish()
	subscriber := join(t, url, 11, "m", slotsOnly)
	for _, slot := range []string{subscriber.audioSlots[0], subscriber.videoSlots[0]} {
		for _, packet := range subscriber.packets(slot, 20) {
			count := number(packet.Payload)
			if packet.SequenceNumber != ada.sequence(count) || packet.Timestamp != timestamp(count) ||
				packet.Marker != marker(count) || packet.Extension || packet.Padding {
				t.Fatalf("packet %d arrived as %v", count, packet)
			}
		}
	}
}

func TestAPLIReachesThePublisherAtMostOnceInTheInterval(t *testing.T) {
	url := start(t, "default")
	ada := join(t, url, 1, "m", publisherAndSlots)
	ada.publish()
	subscribers := []*participant{
		join(t, url, 11, "m", slotsOnly), join(t, url, 12, "m", slotsOnly), join(t, url, 13, "m", slotsOnly),
	}
	var arrived []time.Time
	// For the one that connects.
	arrived = append(arrived, ada.pli())
	for _, subscriber := range subscribers {
		subscriber.sees(ada, 0)
	}
	for round := 0; round < 4; round++ {
		for _, subscriber := range subscribers {
			for i := 0; i < 5; i++ {
				subscriber.askForKeyframe(subscriber.videoSlots[0])
			}
		}
		arrived = append(arrived, ada.pli())
	}
	for i := 1; i < len(arrived); i++ {
		// The way through two sockets may shorten a gap.
		if gap := arrived[i].Sub(arrived[i-1]); gap < keyframeInterval-50*time.Millisecond {
			t.Fatalf("PLI %d came %v after the one before", i, gap)
		}
	}
}

func TestASubscriberThatConnectsAsksForAKeyframe(t *testing.T) {
	url := start(t, "default")
	ada := join(t, url, 1, "m", publisherAndSlots)
	ada.publish()
	for id := uint64(11); id < 14; id++ {
		subscriber := knock(t, url, id, "m", slotsOnly)
		// For a slot that shows something new.
		ada.pli()
		subscriber.accept()
		ada.pli()
	}
}

func TestAFreeSlotGoesToWhoeverWaitsAndItsSequenceGoesOn(t *testing.T) {
	for _, way := range []string{"leave", "close"} {
		t.Run(way, func(t *testing.T) {
			url := start(t, "default")
			subscriber := join(t, url, 11, "m", slotsOnly)
			var publishers []*participant
			for id := uint64(1); id <= 3; id++ {
				publisher := join(t, url, id, "m", publisherAndSlots)
				publisher.publish()
				publishers = append(publishers, publisher)
				if id < 3 {
					subscriber.sees(publisher, int(id)-1)
					subscriber.hears(publisher, int(id)-1)
				}
			}
			// The third has published too when somebody with a slot free sees it.
			publishers[0].sees(publishers[2], 1)
			last := subscriber.packets(subscriber.videoSlots[0], 1)[0].SequenceNumber
			if way == "leave" {
				publishers[0].leave()
			} else {
				publishers[0].close()
			}
			subscriber.sees(publishers[2], 0)
			subscriber.hears(publishers[2], 0)
			subscriber.sees(publishers[1], 1)
			for _, packet := range subscriber.packets(subscriber.videoSlots[0], 20) {
				// Four seconds of packets; the publishers' own numbers are 20000 apart.
				if ahead := packet.SequenceNumber - last; ahead > 2000 {
					t.Fatalf("the sequence leapt by %d", ahead)
				}
			}
		})
	}
}

func TestASlotTakesOverTheCodecOfItsPublisher(t *testing.T) {
	url := start(t, "default")
	for i, codec := range []string{webrtc.MimeTypeVP9, webrtc.MimeTypeH264, webrtc.MimeTypeAV1, webrtc.MimeTypeVP8} {
		meeting := codec
		publisher := join(t, url, uint64(100+i), meeting, shape{audio: true, video: codec})
		publisher.publish()
		subscriber := join(t, url, uint64(200+i), meeting, slotsOnly)
		subscriber.sees(publisher, 0)
		packet := subscriber.packets(subscriber.videoSlots[0], 1)[0]
		if got := subscriber.codecOf(packet.PayloadType); !strings.EqualFold(got, codec) {
			t.Fatalf("%s arrived as %s", codec, got)
		}
	}
}

func TestOnlyTheChosenProfileIsSpoken(t *testing.T) {
	gcm, cm := dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80
	for _, story := range []struct {
		server   string
		client   dtls.SRTPProtectionProfile
		connects bool
	}{
		{"gcm", gcm, true}, {"gcm", cm, false}, {"cm", cm, true}, {"cm", gcm, false},
		{"default", gcm, true}, {"default", cm, true},
	} {
		url := start(t, story.server)
		restricted := slotsOnly
		restricted.profile = story.client
		client := join(t, url, 1, "m", restricted)
		if connects := client.connects(); connects != story.connects {
			t.Fatalf("a server with %s and a client with %#x: connected is %v", story.server, story.client, connects)
		}
	}
}

func TestWhatIsNoOfferIsRefused(t *testing.T) {
	url := start(t, "default")
	join(t, url, 1, "m", slotsOnly)
	connection, offer := offering(t, slotsOnly)
	defer connection.Close()
	all := []string{"0", "1", "2", "3"}
	for why, request := range map[string]any{
		"client 1 is here already":     offerRequest{Client: 1, Meeting: "m", SDP: offer, Slots: all},
		`slot "9" is not one`:          offerRequest{Client: 2, Meeting: "m", SDP: offer, Slots: []string{"0", "1", "2", "9"}},
		`slot "0" is not one`:          offerRequest{Client: 2, Meeting: "m", SDP: offer, Slots: []string{"0", "0", "1", "2"}},
		"4 m-lines are recvonly":       offerRequest{Client: 2, Meeting: "m", SDP: offer, Slots: all[:3]},
		"no ice-ufrag":                 offerRequest{Client: 2, Meeting: "m", SDP: "nothing", Slots: nil},
		"not a request: json: unknown": map[string]any{"client": 2, "room": "m"},
	} {
		var refused errorResponse
		if status := post(t, url+"/offer", request, &refused); status != 400 {
			t.Fatalf("%s: status %d", why, status)
		}
		if !strings.Contains(strings.ToLower(refused.Error), strings.ToLower(why)) {
			t.Fatalf("%s: refused because %q", why, refused.Error)
		}
	}
	// The refused offers left nothing behind.
	join(t, url, 2, "m", slotsOnly)
}

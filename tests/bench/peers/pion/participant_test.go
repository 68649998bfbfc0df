package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v2"
	"github.com/pion/ice/v2"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"
)

// How long a condition may take to come true; more than it takes the SFU to miss somebody.
const patience = 2 * (disconnectedAfter + failedAfter)

// shape is what a participant offers.
type shape struct {
	audio bool
	// The codec of the camera; none without.
	video                  string
	audioSlots, videoSlots int
	// Names the last slot first.
	backwards bool
	// The only profile it speaks, if it is not 0.
	profile dtls.SRTPProtectionProfile
}

// participant is a client for the tests: it records what each of its slots receives.
type participant struct {
	t          *testing.T
	url        string
	id         uint64
	connection *webrtc.PeerConnection
	answer     offerResponse
	// By number, mids in the order of the offer.
	audioSlots, videoSlots []string
	locals                 []*webrtc.TrackLocalStaticRTP
	plis                   chan time.Time

	mu       sync.Mutex
	changed  *sync.Cond
	state    webrtc.PeerConnectionState
	received map[string]*reception
	stop     chan struct{}
}

type reception struct {
	ssrc    webrtc.SSRC
	packets []rtp.Packet
}

// offering is a PeerConnection with an offer of the shape, its candidates included.
func offering(t *testing.T, shape shape) (*webrtc.PeerConnection, string) {
	t.Helper()
	media, err := codecs()
	must(t, err)
	registry := &interceptor.Registry{}
	must(t, webrtc.RegisterDefaultInterceptors(media, registry))
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetICETimeouts(2*time.Second, failedAfter, 200*time.Millisecond)
	if shape.profile != 0 {
		settings.SetSRTPProtectionProfiles(shape.profile)
	}
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings),
	)
	connection, err := api.NewPeerConnection(webrtc.Configuration{})
	must(t, err)

	var tracks []webrtc.RTPCodecCapability
	if shape.audio {
		tracks = append(tracks, defaultCodec(webrtc.RTPCodecTypeAudio))
	}
	if shape.video != "" {
		tracks = append(tracks, webrtc.RTPCodecCapability{MimeType: shape.video, ClockRate: 90000})
	}
	for i, codec := range tracks {
		local, err := webrtc.NewTrackLocalStaticRTP(codec, fmt.Sprint("track-", i), "publisher")
		must(t, err)
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
		_, err = connection.AddTransceiverFromTrack(local, init)
		must(t, err)
	}
	receive := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	for i := 0; i < shape.audioSlots; i++ {
		_, err := connection.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, receive)
		must(t, err)
	}
	for i := 0; i < shape.videoSlots; i++ {
		_, err := connection.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, receive)
		must(t, err)
	}
	offer, err := connection.CreateOffer(nil)
	must(t, err)
	gathered := webrtc.GatheringCompletePromise(connection)
	must(t, connection.SetLocalDescription(offer))
	<-gathered
	return connection, connection.LocalDescription().SDP
}

// join offers and takes the answer; it does not wait until it is connected.
func join(t *testing.T, url string, id uint64, meeting string, shape shape) *participant {
	t.Helper()
	p := knock(t, url, id, meeting, shape)
	p.accept()
	return p
}

// knock offers; the SFU can't reach it before it accepts.
func knock(t *testing.T, url string, id uint64, meeting string, shape shape) *participant {
	t.Helper()
	connection, offer := offering(t, shape)
	p := &participant{
		t: t, url: url, id: id, connection: connection,
		plis: make(chan time.Time, 1000), received: map[string]*reception{}, stop: make(chan struct{}),
	}
	p.changed = sync.NewCond(&p.mu)
	for _, transceiver := range connection.GetTransceivers() {
		switch {
		case transceiver.Direction() == webrtc.RTPTransceiverDirectionSendonly:
			p.locals = append(p.locals, transceiver.Sender().Track().(*webrtc.TrackLocalStaticRTP))
			go p.readSender(transceiver)
		case transceiver.Kind() == webrtc.RTPCodecTypeAudio:
			p.audioSlots = append(p.audioSlots, transceiver.Mid())
		default:
			p.videoSlots = append(p.videoSlots, transceiver.Mid())
		}
	}
	connection.OnTrack(p.record)
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		p.change(func() { p.state = state })
	})
	slots := append(append([]string{}, p.audioSlots...), p.videoSlots...)
	if shape.backwards {
		for i, j := 0, len(slots)-1; i < j; i, j = i+1, j-1 {
			slots[i], slots[j] = slots[j], slots[i]
		}
	}
	request := offerRequest{Client: id, Meeting: meeting, SDP: offer, Slots: slots}
	if status := post(t, url+"/offer", request, &p.answer); status != http.StatusOK {
		t.Fatalf("the offer of %d: status %d", id, status)
	}
	t.Cleanup(p.close)
	return p
}

func (p *participant) accept() {
	p.t.Helper()
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: p.answer.SDP}
	must(p.t, p.connection.SetRemoteDescription(answer))
}

// What packet number count of a source is like. Its payload names the publisher and the kind, and ends in the number.
func timestamp(count uint32) uint32 { return 960 * count }
func marker(count uint32) bool      { return count%3 == 0 }
func padding(count uint32) bool     { return count%5 == 0 }
func number(payload []byte) uint32  { return binary.BigEndian.Uint32(payload[len(payload)-4:]) }
func origin(payload []byte) string  { return string(payload[:len(payload)-4]) }

// Those of different publishers are far apart, and those of the first soon wrap.
func (p *participant) sequence(count uint32) uint16 {
	return uint16(65500 + 20000*(uint32(p.id)-1) + count)
}

func (p *participant) label(kind webrtc.RTPCodecType) string {
	return fmt.Sprintf("%s of %d", kind, p.id)
}

// publish sends on all its tracks, until it closes.
func (p *participant) publish() {
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for count := uint32(0); ; count++ {
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
			for _, local := range p.locals {
				payload := binary.BigEndian.AppendUint32([]byte(p.label(local.Kind())), count)
				header := rtp.Header{
					Version: 2, SequenceNumber: p.sequence(count), Timestamp: timestamp(count), Marker: marker(count),
				}
				if padding(count) {
					header.Padding = true
					payload = append(payload, 1)
				}
				_ = header.SetExtension(5, []byte("mid"))
				_ = local.WriteRTP(&rtp.Packet{Header: header, Payload: payload})
			}
		}
	}()
}

// readSender reads the feedback to a track of its own.
func (p *participant) readSender(transceiver *webrtc.RTPTransceiver) {
	for {
		packets, _, err := transceiver.Sender().ReadRTCP()
		if err != nil {
			return
		}
		ssrc := uint32(transceiver.Sender().GetParameters().Encodings[0].SSRC)
		for _, packet := range packets {
			if pli, ok := packet.(*rtcp.PictureLossIndication); ok && pli.MediaSSRC == ssrc {
				p.plis <- time.Now()
			}
		}
	}
}

func (p *participant) record(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	var mid string
	for _, transceiver := range p.connection.GetTransceivers() {
		if transceiver.Receiver() == receiver {
			mid = transceiver.Mid()
		}
	}
	p.change(func() { p.received[mid] = &reception{ssrc: track.SSRC()} })
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		p.change(func() { p.received[mid].packets = append(p.received[mid].packets, *packet) })
	}
}

func (p *participant) change(what func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what()
	p.changed.Broadcast()
}

// wait waits until condition, with the lock held, or fails.
func (p *participant) wait(what string, condition func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	alarm := time.AfterFunc(patience, func() { p.change(func() {}) })
	defer alarm.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !condition() {
		if time.Now().After(deadline) {
			p.t.Fatalf("%d waited in vain: %s", p.id, what)
		}
		p.changed.Wait()
	}
}

func (p *participant) sees(who *participant, slot int) {
	p.t.Helper()
	p.receives(who.label(webrtc.RTPCodecTypeVideo), p.videoSlots[slot])
}

func (p *participant) hears(who *participant, slot int) {
	p.t.Helper()
	p.receives(who.label(webrtc.RTPCodecTypeAudio), p.audioSlots[slot])
}

// receives waits for packets from now on that say where they are from, in a slot.
func (p *participant) receives(from, mid string) {
	p.t.Helper()
	for _, packet := range p.packets(mid, 1) {
		if origin(packet.Payload) == from {
			return
		}
	}
	p.wait(from+" in slot "+mid, func() bool {
		received := p.received[mid].packets
		return origin(received[len(received)-1].Payload) == from
	})
}

// packets are the next ones of a slot.
func (p *participant) packets(mid string, count int) []rtp.Packet {
	p.t.Helper()
	p.mu.Lock()
	before := 0
	if r := p.received[mid]; r != nil {
		before = len(r.packets)
	}
	p.mu.Unlock()
	var packets []rtp.Packet
	p.wait(fmt.Sprintf("%d packets in slot %s", count, mid), func() bool {
		if r := p.received[mid]; r != nil && len(r.packets) >= before+count {
			packets = append(packets, r.packets[before:before+count]...)
			return true
		}
		return false
	})
	return packets
}

// isShownNothing fails when something has come in the slots with this number.
func (p *participant) isShownNothing(slot int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, mid := range []string{p.audioSlots[slot], p.videoSlots[slot]} {
		if r := p.received[mid]; r != nil {
			p.t.Fatalf("%d was sent %v in slot %s", p.id, r.packets, mid)
		}
	}
}

// pli waits for the next PLI to it, and says when it came.
func (p *participant) pli() time.Time {
	p.t.Helper()
	select {
	case at := <-p.plis:
		return at
	case <-time.After(patience):
		p.t.Fatalf("%d waited in vain for a PLI", p.id)
		return time.Time{}
	}
}

func (p *participant) askForKeyframe(mid string) {
	p.t.Helper()
	p.mu.Lock()
	ssrc := p.received[mid].ssrc
	p.mu.Unlock()
	must(p.t, p.connection.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(ssrc)}}))
}

// connects waits until it is connected or has lost the SFU, which closes what it can't agree with.
func (p *participant) connects() (connected bool) {
	p.t.Helper()
	p.wait("an end of connecting", func() bool {
		connected = p.state == webrtc.PeerConnectionStateConnected
		return connected || p.state >= webrtc.PeerConnectionStateDisconnected
	})
	return connected
}

// codecOf is the MIME type that its offer gave to a payload type.
func (p *participant) codecOf(payloadType uint8) string {
	for _, transceiver := range p.connection.GetTransceivers() {
		for _, codec := range transceiver.Receiver().GetParameters().Codecs {
			if uint8(codec.PayloadType) == payloadType {
				return codec.MimeType
			}
		}
	}
	return "nothing"
}

func (p *participant) leave() {
	p.t.Helper()
	if status := post(p.t, p.url+"/leave", leaveRequest{Client: p.id}, &leaveResponse{}); status != http.StatusOK {
		p.t.Fatalf("the leave of %d: status %d", p.id, status)
	}
}

// close closes its connection without a word to the door.
func (p *participant) close() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	_ = p.connection.Close()
}

func post(t *testing.T, url string, request, response any) int {
	t.Helper()
	body, err := json.Marshal(request)
	must(t, err)
	answer, err := http.Post(url, "application/json", bytes.NewReader(body))
	must(t, err)
	defer answer.Body.Close()
	must(t, json.NewDecoder(answer.Body).Decode(response))
	return answer.StatusCode
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

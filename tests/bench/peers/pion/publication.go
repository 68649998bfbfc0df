package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"
)

const (
	// Least time between two keyframe requests to a publisher: a keyframe is ten times as large as another frame, and
	// several subscribers that ask for one are served by the same.
	keyframeInterval = 300 * time.Millisecond

	// Largest datagram that is read; Pion itself reads no larger one.
	receiveMTU = 1500
)

// publication is one track that a client publishes.
type publication struct {
	owner *client
	track *webrtc.TrackRemote
	// Those that show it. The list is replaced as a whole, so that packets pass without a lock.
	slots atomic.Pointer[[]*slot]

	keyframe struct {
		sync.Mutex
		requested time.Time
		due       bool
	}
}

func newPublication(owner *client, track *webrtc.TrackRemote) *publication {
	p := &publication{owner: owner, track: track}
	p.slots.Store(&[]*slot{})
	return p
}

// forward sends every packet of the track to its slots, until the track ends.
func (p *publication) forward() {
	buffer := make([]byte, receiveMTU)
	packet := &rtp.Packet{}
	for {
		n, _, err := p.track.Read(buffer)
		if err != nil {
			return
		}
		if packet.Unmarshal(buffer[:n]) != nil {
			continue
		}
		packet.Header.Extension = false
		packet.Header.Extensions = packet.Header.Extensions[:0]
		// Unmarshal has cut the padding off.
		packet.Header.Padding = false
		for _, slot := range *p.slots.Load() {
			slot.write(p, packet)
		}
	}
}

// attach adds a slot. The SFU's lock is held.
func (p *publication) attach(added *slot) {
	old := *p.slots.Load()
	slots := append(old[:len(old):len(old)], added)
	p.slots.Store(&slots)
}

// detach takes a slot away. The SFU's lock is held.
func (p *publication) detach(removed *slot) {
	var slots []*slot
	for _, slot := range *p.slots.Load() {
		if slot != removed {
			slots = append(slots, slot)
		}
	}
	p.slots.Store(&slots)
}

// requestKeyframe asks the publisher for a keyframe, now or when it may be asked again. Sound has none.
func (p *publication) requestKeyframe() {
	if p.track.Kind() != webrtc.RTPCodecTypeVideo {
		return
	}
	p.keyframe.Lock()
	defer p.keyframe.Unlock()
	if p.keyframe.due {
		return
	}
	p.keyframe.due = true
	// A timer also when it is due at once: nobody who asks waits for the socket.
	time.AfterFunc(keyframeInterval-time.Since(p.keyframe.requested), p.sendPLI)
}

func (p *publication) sendPLI() {
	p.keyframe.Lock()
	p.keyframe.due = false
	p.keyframe.requested = time.Now()
	p.keyframe.Unlock()
	// RFC 4585 §6.3.1: Picture Loss Indication. The error is that of a connection that has closed.
	pli := &rtcp.PictureLossIndication{MediaSSRC: uint32(p.track.SSRC())}
	_ = p.owner.connection.WriteRTCP([]rtcp.Packet{pli})
}

// drain reads the sender reports of a track, which the interceptors see on their way, until the track ends.
func drain(receiver *webrtc.RTPReceiver) {
	buffer := make([]byte, receiveMTU)
	for {
		if _, _, err := receiver.Read(buffer); err != nil {
			return
		}
	}
}

package main

import (
	"fmt"
	"net"
	"sync"

	"github.com/pion/webrtc/v3"
)

// sfu is everybody there is. Its lock guards who is where, and is not taken for a packet.
type sfu struct {
	api           *webrtc.API
	configuration webrtc.Configuration

	mu       sync.Mutex
	clients  map[uint64]*client
	meetings map[string]*meeting
}

// meeting is the clients that see and hear each other.
//
// Invariant: as long as a slot is free, no track of its kind waits for it, except the client's own and those whose codec
// the client did not offer.
type meeting struct {
	clients map[*client]struct{}
	// In the order of their first packets.
	publications []*publication
}

// client is one participant: its PeerConnection, and the slots it is sent to, in the order it named them.
type client struct {
	id         uint64
	meeting    string
	connection *webrtc.PeerConnection
	slots      []*slot
}

func newSFU(ip net.IP, srtp string) (*sfu, error) {
	api, configuration, err := newEngine(ip, srtp)
	if err != nil {
		return nil, err
	}
	return &sfu{
		api: api, configuration: configuration,
		clients: map[uint64]*client{}, meetings: map[string]*meeting{},
	}, nil
}

// offer admits a client and returns the answer to its offer.
func (s *sfu) offer(request offerRequest) (string, error) {
	connection, err := s.api.NewPeerConnection(s.configuration)
	if err != nil {
		return "", err
	}
	c := &client{id: request.Client, meeting: request.Meeting, connection: connection}
	if err := s.admit(c); err != nil {
		_ = connection.Close()
		return "", err
	}
	connection.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		s.receive(c, track, receiver)
	})
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			s.connected(c)
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			s.remove(c)
		}
	})
	answer, slots, err := negotiate(connection, request.SDP, request.Slots)
	if err != nil {
		s.remove(c)
		return "", err
	}
	s.provide(c, slots)
	return answer, nil
}

// leave removes a client, if it is there.
func (s *sfu) leave(id uint64) {
	s.mu.Lock()
	c := s.clients[id]
	s.mu.Unlock()
	if c != nil {
		s.remove(c)
	}
}

func (s *sfu) admit(c *client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[c.id] != nil {
		return fmt.Errorf("client %d is here already", c.id)
	}
	s.clients[c.id] = c
	m := s.meetings[c.meeting]
	if m == nil {
		m = &meeting{clients: map[*client]struct{}{}}
		s.meetings[c.meeting] = m
	}
	m.clients[c] = struct{}{}
	return nil
}

// remove ends the tracks of c, frees its slots and closes its connection. It may be called again.
func (s *sfu) remove(c *client) {
	s.mu.Lock()
	if s.clients[c.id] == c {
		delete(s.clients, c.id)
		m := s.meetings[c.meeting]
		delete(m.clients, c)
		for _, slot := range c.slots {
			slot.clear()
		}
		for _, p := range append([]*publication(nil), m.publications...) {
			if p.owner == c {
				m.unpublish(p)
			}
		}
		if len(m.clients) == 0 {
			delete(s.meetings, c.meeting)
		}
	}
	s.mu.Unlock()
	_ = c.connection.Close()
}

// provide shows c what is there in its slots.
func (s *sfu) provide(c *client, slots []*slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// It may have been told to leave while it was negotiating.
	if s.clients[c.id] != c {
		return
	}
	c.slots = slots
	for _, slot := range slots {
		go slot.readRTCP()
	}
	s.meetings[c.meeting].fill(c)
}

// connected asks for keyframes of all that c is shown: what was sent before has not reached it.
func (s *sfu) connected(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slot := range c.slots {
		if slot.publication != nil {
			slot.publication.requestKeyframe()
		}
	}
}

// receive publishes a track of c until it ends. Pion calls it when the track's first packet has come.
func (s *sfu) receive(c *client, track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	p := newPublication(c, track)
	s.mu.Lock()
	if s.clients[c.id] != c {
		s.mu.Unlock()
		return
	}
	s.meetings[c.meeting].publish(p)
	s.mu.Unlock()

	go drain(receiver)
	p.forward()

	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.meetings[c.meeting]; m != nil {
		m.unpublish(p)
	}
}

// publish adds p and shows it to everybody who has a slot free.
func (m *meeting) publish(p *publication) {
	m.publications = append(m.publications, p)
	for c := range m.clients {
		if c != p.owner {
			c.show(p)
		}
	}
}

// unpublish takes p away, if it is there, and shows others in the slots that it leaves.
func (m *meeting) unpublish(p *publication) {
	for i, other := range m.publications {
		if other != p {
			continue
		}
		m.publications = append(m.publications[:i:i], m.publications[i+1:]...)
		for c := range m.clients {
			if slot := c.slotOf(p); slot != nil {
				slot.clear()
				m.fill(c)
			}
		}
		return
	}
}

// fill shows c what waits for a slot of it.
func (m *meeting) fill(c *client) {
	for _, p := range m.publications {
		if p.owner != c && c.slotOf(p) == nil {
			c.show(p)
		}
	}
}

// show shows p in the first free slot of its kind, if there is one.
func (c *client) show(p *publication) {
	for _, slot := range c.slots {
		if slot.publication == nil && slot.kind == p.track.Kind() {
			slot.show(p)
			return
		}
	}
}

// slotOf is the slot that shows p.
func (c *client) slotOf(p *publication) *slot {
	for _, slot := range c.slots {
		if slot.publication == p {
			return slot
		}
	}
	return nil
}

package main

import (
	"log"
	"strings"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"
)

// slot is an m-line that a client is sent one track in.
type slot struct {
	mid    string
	kind   webrtc.RTPCodecType
	sender *webrtc.RTPSender
	ssrc   webrtc.SSRC

	// What it shows. Changed with the SFU's lock and its own held, read with one of them.
	publication *publication

	// Held for a packet: two publications may meet here when one takes over from another.
	mu    sync.Mutex
	track *webrtc.TrackLocalStaticRTP
	// Whether the next packet is the first of its publication.
	first bool
	// Added to sequence numbers, so that those of the next publication follow those of the last.
	offset uint16
	// The sequence number after the highest that was sent; none before the first.
	next  uint16
	begun bool
}

// show shows p from now on, if the client offered its codec. The SFU's lock is held.
func (s *slot) show(p *publication) {
	track, err := s.trackFor(p.track.Codec().RTPCodecCapability)
	if err != nil {
		log.Printf("slot %q can't show a track of client %d: %v", s.mid, p.owner.id, err)
		return
	}
	s.mu.Lock()
	s.publication, s.track, s.first = p, track, true
	s.mu.Unlock()
	p.attach(s)
	p.requestKeyframe()
}

// trackFor is a local track with a codec: the present one, or one in its place.
func (s *slot) trackFor(codec webrtc.RTPCodecCapability) (*webrtc.TrackLocalStaticRTP, error) {
	present := s.track.Codec()
	if strings.EqualFold(present.MimeType, codec.MimeType) && present.SDPFmtpLine == codec.SDPFmtpLine {
		return s.track, nil
	}
	track, err := localTrack(s.mid, codec)
	if err != nil {
		return nil, err
	}
	return track, s.sender.ReplaceTrack(track)
}

// clear shows nothing from now on. The SFU's lock is held.
func (s *slot) clear() {
	if s.publication == nil {
		return
	}
	s.publication.detach(s)
	s.mu.Lock()
	s.publication = nil
	s.mu.Unlock()
}

// write sends a packet of a publication, unless the slot has just been given to another.
func (s *slot) write(from *publication, packet *rtp.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publication != from {
		return
	}
	if s.first {
		s.first = false
		if s.begun {
			s.offset = s.next - packet.SequenceNumber
		}
	}
	sent := *packet
	sent.SequenceNumber += s.offset
	// RFC 1982: later, also across the wrap.
	if after := sent.SequenceNumber + 1; !s.begun || int16(after-s.next) > 0 {
		s.begun, s.next = true, after
	}
	// An error is that of a connection that has closed; its end is seen elsewhere.
	_ = s.track.WriteRTP(&sent)
}

// readRTCP reads what the client says about the slot, until it is gone: the interceptors answer NACKs on the way, and a
// keyframe request is passed on.
func (s *slot) readRTCP() {
	buffer := make([]byte, receiveMTU)
	for {
		n, attributes, err := s.sender.Read(buffer)
		if err != nil {
			return
		}
		if attributes == nil {
			attributes = interceptor.Attributes{}
		}
		// Parsed once, with the interceptors.
		packets, err := attributes.GetRTCPPackets(buffer[:n])
		if err != nil {
			continue
		}
		if s.wantsKeyframe(packets) {
			s.mu.Lock()
			shown := s.publication
			s.mu.Unlock()
			if shown != nil {
				shown.requestKeyframe()
			}
		}
	}
}

// wantsKeyframe tells whether packets ask for a keyframe of this slot: those of other slots may come along.
func (s *slot) wantsKeyframe(packets []rtcp.Packet) bool {
	for _, packet := range packets {
		switch packet := packet.(type) {
		case *rtcp.PictureLossIndication:
			if packet.MediaSSRC == uint32(s.ssrc) {
				return true
			}
		case *rtcp.FullIntraRequest:
			// RFC 5104 §4.3.1.2: the media source is named in the entries.
			for _, entry := range packet.FIR {
				if entry.SSRC == uint32(s.ssrc) {
					return true
				}
			}
		}
	}
	return false
}

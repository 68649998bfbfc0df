package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pion/webrtc/v3"
)

const mimeTypeRTX = "video/rtx"

// negotiate answers an offer, with a slot for each of mids, in their order.
//
// Pion gives a transceiver that was there before the offer to the first recvonly m-line of its kind. So there is one per
// slot, in the order of the m-lines, and what came of that is looked at.
func negotiate(connection *webrtc.PeerConnection, offer string, mids []string) (string, []*slot, error) {
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}
	kinds, order, err := slotKinds(description, mids)
	if err != nil {
		return "", nil, err
	}
	transceivers := map[string]*webrtc.RTPTransceiver{}
	for _, mid := range order {
		track, err := localTrack(mid, defaultCodec(kinds[mid]))
		if err != nil {
			return "", nil, err
		}
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
		if transceivers[mid], err = connection.AddTransceiverFromTrack(track, init); err != nil {
			return "", nil, err
		}
	}
	if err := connection.SetRemoteDescription(description); err != nil {
		return "", nil, err
	}
	slots := make([]*slot, 0, len(mids))
	for _, mid := range mids {
		slot, err := newSlot(mid, transceivers[mid])
		if err != nil {
			return "", nil, err
		}
		slots = append(slots, slot)
	}
	answer, err := connection.CreateAnswer(nil)
	if err != nil {
		return "", nil, err
	}
	gathered := webrtc.GatheringCompletePromise(connection)
	if err := connection.SetLocalDescription(answer); err != nil {
		return "", nil, err
	}
	<-gathered
	return connection.LocalDescription().SDP, slots, nil
}

// slotKinds are the kinds of the slots by mid, and their mids in the order of the offer. It is an error when the recvonly
// m-lines of the offer are not exactly mids.
func slotKinds(offer webrtc.SessionDescription, mids []string) (map[string]webrtc.RTPCodecType, []string, error) {
	parsed, err := offer.Unmarshal()
	if err != nil {
		return nil, nil, err
	}
	kinds := map[string]webrtc.RTPCodecType{}
	var order []string
	for _, media := range parsed.MediaDescriptions {
		if _, receives := media.Attribute("recvonly"); receives {
			mid, _ := media.Attribute("mid")
			kinds[mid] = webrtc.NewRTPCodecType(media.MediaName.Media)
			order = append(order, mid)
		}
	}
	named := map[string]bool{}
	for _, mid := range mids {
		if kinds[mid] == 0 || named[mid] {
			return nil, nil, fmt.Errorf("slot %q is not one recvonly m-line of sound or pictures", mid)
		}
		named[mid] = true
	}
	if len(order) != len(mids) {
		return nil, nil, fmt.Errorf("%d m-lines are recvonly, but %d are slots", len(order), len(mids))
	}
	return kinds, order, nil
}

func newSlot(mid string, transceiver *webrtc.RTPTransceiver) (*slot, error) {
	if transceiver.Mid() != mid {
		return nil, fmt.Errorf("slot %q became m-line %q", mid, transceiver.Mid())
	}
	sender := transceiver.Sender()
	parameters := sender.GetParameters()
	codec, err := firstCodec(parameters.Codecs, defaultCodec(transceiver.Kind()))
	if err != nil {
		return nil, fmt.Errorf("slot %q: %w", mid, err)
	}
	track, err := localTrack(mid, codec)
	if err != nil {
		return nil, err
	}
	if err := sender.ReplaceTrack(track); err != nil {
		return nil, err
	}
	return &slot{
		mid: mid, kind: transceiver.Kind(), sender: sender, ssrc: parameters.Encodings[0].SSRC, track: track,
	}, nil
}

func localTrack(mid string, codec webrtc.RTPCodecCapability) (*webrtc.TrackLocalStaticRTP, error) {
	return webrtc.NewTrackLocalStaticRTP(codec, "track-"+mid, "slot-"+mid)
}

func defaultCodec(kind webrtc.RTPCodecType) webrtc.RTPCodecCapability {
	if kind == webrtc.RTPCodecTypeAudio {
		return webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	}
	return webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
}

// firstCodec is the wished one of offered, else the first that is no RTX.
func firstCodec(offered []webrtc.RTPCodecParameters, wished webrtc.RTPCodecCapability) (webrtc.RTPCodecCapability, error) {
	var first *webrtc.RTPCodecCapability
	for i := range offered {
		codec := &offered[i].RTPCodecCapability
		if strings.EqualFold(codec.MimeType, wished.MimeType) {
			return *codec, nil
		}
		if first == nil && !strings.EqualFold(codec.MimeType, mimeTypeRTX) {
			first = codec
		}
	}
	if first == nil {
		return webrtc.RTPCodecCapability{}, errors.New("no codec is known to both sides")
	}
	return *first, nil
}

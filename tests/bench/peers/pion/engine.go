package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"time"

	"github.com/pion/dtls/v2"
	"github.com/pion/ice/v2"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v3"
)

// Bytes the media socket may hold in each direction, as far as net.core.rmem_max and wmem_max allow: a burst of
// keyframes from a full meeting.
const socketBuffer = 8 << 20

// A client that vanishes without a word is removed after disconnectedAfter and failedAfter: Pion doesn't tell when only
// its DTLS says goodbye. All but failedAfter are Pion's defaults.
const (
	disconnectedAfter = 5 * time.Second
	failedAfter       = 10 * time.Second
	keepaliveInterval = 2 * time.Second
)

// newEngine sets Pion up for a server with one UDP port of ip, and makes the certificate of its PeerConnections.
func newEngine(ip net.IP, srtp string) (*webrtc.API, webrtc.Configuration, error) {
	settings, err := settings(ip, srtp)
	if err != nil {
		return nil, webrtc.Configuration{}, err
	}
	media, err := codecs()
	if err != nil {
		return nil, webrtc.Configuration{}, err
	}
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		return nil, webrtc.Configuration{}, err
	}
	// One key pair for all, as joining shall not cost another.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, webrtc.Configuration{}, err
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, webrtc.Configuration{}, err
	}
	api := webrtc.NewAPI(
		webrtc.WithSettingEngine(settings),
		webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(registry),
	)
	return api, webrtc.Configuration{Certificates: []webrtc.Certificate{*certificate}}, nil
}

func settings(ip net.IP, srtp string) (webrtc.SettingEngine, error) {
	var settings webrtc.SettingEngine
	switch srtp {
	case "default":
	case "gcm":
		// The only AEAD profile that this version of Pion encrypts with.
		settings.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM)
	case "cm":
		settings.SetSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	default:
		return settings, fmt.Errorf("--srtp takes default, gcm or cm, not %q", srtp)
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		return settings, err
	}
	if err := socket.SetReadBuffer(socketBuffer); err != nil {
		return settings, err
	}
	if err := socket.SetWriteBuffer(socketBuffer); err != nil {
		return settings, err
	}
	settings.SetICEUDPMux(webrtc.NewICEUDPMux(nil, socket))
	settings.SetLite(true)
	settings.SetICETimeouts(disconnectedAfter, failedAfter, keepaliveInterval)
	settings.SetIncludeLoopbackCandidate(true)
	network := webrtc.NetworkTypeUDP4
	if ip.To4() == nil {
		network = webrtc.NetworkTypeUDP6
	}
	settings.SetNetworkTypes([]webrtc.NetworkType{network})
	// Otherwise every PeerConnection listens to multicast.
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	return settings, nil
}

// codecs are those that browsers send. Payload types only matter where the client offers none: the offer's are taken.
func codecs() (*webrtc.MediaEngine, error) {
	media := &webrtc.MediaEngine{}
	opus := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}
	if err := media.RegisterCodec(opus, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, err
	}
	const h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="
	for _, codec := range []struct {
		mime, format string
		payloadType  webrtc.PayloadType
	}{
		{webrtc.MimeTypeVP8, "", 96},
		{webrtc.MimeTypeVP9, "profile-id=0", 98},
		{webrtc.MimeTypeH264, h264 + "42e01f", 102},
		{webrtc.MimeTypeH264, h264 + "42001f", 104},
		{webrtc.MimeTypeH264, h264 + "640032", 106},
		{webrtc.MimeTypeAV1, "", 108},
	} {
		if err := registerVideo(media, codec.mime, codec.format, codec.payloadType); err != nil {
			return nil, err
		}
	}
	return media, nil
}

// registerVideo registers a codec, and its RTX under the payload type after it. NACK and PLI feedback come with the
// default interceptors.
func registerVideo(media *webrtc.MediaEngine, mime, format string, payloadType webrtc.PayloadType) error {
	codec := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: 90000, SDPFmtpLine: format,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBCCM, Parameter: "fir"}},
		},
		PayloadType: payloadType,
	}
	if err := media.RegisterCodec(codec, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	rtx := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", payloadType),
		},
		PayloadType: payloadType + 1,
	}
	return media.RegisterCodec(rtx, webrtc.RTPCodecTypeVideo)
}

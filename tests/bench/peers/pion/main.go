// A small SFU on Pion WebRTC v3, to be measured beside Plenary: the packet path under LiveKit without what LiveKit adds
// to it. It has no simulcast, no bandwidth estimation, no speakers and no signalling of its own.
//
//	publisher ──► UDP mux ──► SRTP ──► publication.forward ──► slot.write ──► TrackLocalStaticRTP ──► SRTP ──► UDP
//	              one port             one per track           one per subscriber
//
// main.go is the door, engine.go what Pion is set to, negotiation.go the answer, meeting.go who is shown in which slot,
// publication.go and slot.go the way of a packet.
//
// # How to talk to it
//
// `pion --listen IP [--srtp default|gcm|cm]` takes two ports of IP from the system: TCP for HTTP, UDP for the media of
// everybody. The first line on stdout is the base address, `http://IP:PORT`. It ends when it is killed.
//
// A request and its answer are one JSON object each. 200 is success; 400 comes with {"error": "why"}.
//
//	POST /offer {"client": 7, "meeting": "m", "sdp": "v=0...", "slots": ["3", "4"]}   ->  {"sdp": "v=0..."}
//	POST /leave {"client": 7}                                                         ->  {}
//
// `client` is a number that nobody else in the process has. The client is the offerer and has one PeerConnection, which
// is never renegotiated. The m-lines whose mids are in `slots` are recvonly in the offer: the server sends there. The
// others are sendonly and declare their streams by a=ssrc. Neither side trickles: the offer has the client's candidates
// in it, and the answer has the server's one. The server is an ICE lite agent.
//
// Within a meeting, the tracks of the others fill the slots of their kind, in the order of `slots` and in the order in
// which the tracks' first packets came. A track stays in its slot until it ends; the track that has waited longest takes
// the free slot. /leave, and a PeerConnection that failed or closed, end the tracks of a client and free its slots.
//
// A packet is forwarded with its payload, marker and timestamp, and without its header extensions: their numbers, and
// the mid they may name, mean something else to the subscriber. Sequence numbers pass through until a slot shows another
// track, and go on from there. A slot starts as VP8 or Opus if the client knows them, and takes over the codec of the
// track that it shows; a track whose codec the client did not offer is not shown to it.
//
// A PLI or FIR of a subscriber, a subscriber that connects and a slot that shows another track ask the publisher for a
// keyframe by PLI, at most once in 300 ms. NACK, reports and TWCC feedback are Pion's default interceptors; this version
// of Pion answers a NACK on the SSRC of the stream itself, and does not unpack what a publisher resends by RTX. So it is
// to be measured without loss: a client that wants an RTX stream declared before it sends NACKs, as str0m does, sends none.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
)

// Largest request body; an offer with some hundred slots is far below.
const maxRequest = 4 << 20

type offerRequest struct {
	Client  uint64   `json:"client"`
	Meeting string   `json:"meeting"`
	SDP     string   `json:"sdp"`
	Slots   []string `json:"slots"`
}

type offerResponse struct {
	SDP string `json:"sdp"`
}

type leaveRequest struct {
	Client uint64 `json:"client"`
}

type leaveResponse struct{}

type errorResponse struct {
	Error string `json:"error"`
}

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "", "`IP` to listen on")
	srtp := flag.String("srtp", "default", "SRTP protection profiles: default, gcm or cm")
	flag.Parse()
	if err := run(*listen, *srtp); err != nil {
		log.Fatal("pion: ", err)
	}
}

func run(listen, srtp string) error {
	ip := net.ParseIP(listen)
	if ip == nil || ip.IsUnspecified() {
		return fmt.Errorf("--listen takes the IP address of an interface, not %q", listen)
	}
	sfu, err := newSFU(ip, srtp)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(listen, "0"))
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, door(sfu))
}

// door is the HTTP interface to sfu.
func door(sfu *sfu) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/offer", func(w http.ResponseWriter, r *http.Request) {
		var request offerRequest
		if !read(w, r, &request) {
			return
		}
		answer, err := sfu.offer(request)
		if err != nil {
			refuse(w, err)
			return
		}
		reply(w, http.StatusOK, offerResponse{SDP: answer})
	})
	mux.HandleFunc("/leave", func(w http.ResponseWriter, r *http.Request) {
		var request leaveRequest
		if !read(w, r, &request) {
			return
		}
		sfu.leave(request.Client)
		reply(w, http.StatusOK, leaveResponse{})
	})
	return mux
}

// read takes the request's body into value, or answers that it can't.
func read(w http.ResponseWriter, r *http.Request, value any) bool {
	if r.Method != http.MethodPost {
		reply(w, http.StatusMethodNotAllowed, errorResponse{Error: "only POST is understood"})
		return false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		refuse(w, fmt.Errorf("not a request: %w", err))
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, err error) {
	reply(w, http.StatusBadRequest, errorResponse{Error: err.Error()})
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The only error left is a client that has gone.
	_ = json.NewEncoder(w).Encode(value)
}

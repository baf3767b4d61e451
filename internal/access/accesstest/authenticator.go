package accesstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// Authenticator is a browser and a security key in one, with the passkeys it has made. Its fields are what an honest one
// says; a test changes them to lie.
type Authenticator struct {
	Origin    string // of the page that asks
	RPID      string // "": as the page says
	Challenge string // "": as the page says
	Unseen    bool   // the key did not ask for a finger or a PIN
	Absent    bool   // nobody touched it
	Count     uint32 // of the next use; 0 with Still
	Still     bool   // it counts nothing
	Keys      []*Key
}

// Key is one passkey.
type Key struct {
	ID     []byte
	Handle []byte // of its owner
	rpID   string
	key    *ecdsa.PrivateKey
}

// Flags of authenticator data: WebAuthn, section 6.1.
const (
	present  = 0x01
	verified = 0x04
	attested = 0x40
)

var b64 = base64.RawURLEncoding

func (a *Authenticator) flags() byte {
	var f byte
	if !a.Absent {
		f |= present
	}
	if !a.Unseen {
		f |= verified
	}
	return f
}

func (a *Authenticator) count() uint32 {
	if a.Still {
		return 0
	}
	a.Count++
	return a.Count
}

func (a *Authenticator) client(kind, challenge string) []byte {
	if a.Challenge != "" {
		challenge = a.Challenge
	}
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false})
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}

func (a *Authenticator) data(rpID string, flags byte) []byte {
	if a.RPID != "" {
		rpID = a.RPID
	}
	h := sha256.Sum256([]byte(rpID))
	return binary.BigEndian.AppendUint32(append(h[:], flags), a.count())
}

// Create makes a passkey as navigator.credentials.create does, and returns what toJSON says of it.
func (a *Authenticator) Create(options json.RawMessage) (json.RawMessage, error) {
	var o struct {
		Challenge string
		RP        struct{ ID string }
		User      struct{ ID string }
	}
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, err
	}
	k := &Key{ID: make([]byte, 32), rpID: o.RP.ID}
	rand.Read(k.ID) // never fails
	var err error
	if k.Handle, err = b64.DecodeString(o.User.ID); err != nil {
		return nil, err
	}
	if k.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	point, err := k.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	public, err := webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}) // RFC 9053, section 7.1.1
	if err != nil {
		return nil, err
	}
	data := append(a.data(k.rpID, a.flags()|attested), make([]byte, 16)...) // of no known model
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(k.ID))), k.ID...)
	data = append(data, public...)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		return nil, err
	}
	a.Keys = append(a.Keys, k)
	return credential(k, map[string]any{"clientDataJSON": b64.EncodeToString(a.client("webauthn.create", o.Challenge)),
		"attestationObject": b64.EncodeToString(object), "transports": []string{"internal"}})
}

// Get answers with a passkey as navigator.credentials.get does, and returns what toJSON says: the first that the options
// allow, or of k where that is not nil.
func (a *Authenticator) Get(options json.RawMessage, k *Key) (json.RawMessage, error) {
	var o struct {
		Challenge        string
		RPID             string                `json:"rpId"`
		AllowCredentials []struct{ ID string } `json:"allowCredentials"`
	}
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, err
	}
	if k == nil {
		for _, have := range a.Keys {
			allowed := len(o.AllowCredentials) == 0
			for _, c := range o.AllowCredentials {
				allowed = allowed || c.ID == b64.EncodeToString(have.ID)
			}
			if allowed && have.rpID == o.RPID && k == nil {
				k = have
			}
		}
	}
	if k == nil {
		return nil, fmt.Errorf("this authenticator has no passkey for %s", o.RPID)
	}
	client, data := a.client("webauthn.get", o.Challenge), a.data(o.RPID, a.flags())
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.key, digest[:])
	if err != nil {
		return nil, err
	}
	return credential(k, map[string]any{"clientDataJSON": b64.EncodeToString(client), "authenticatorData": b64.EncodeToString(data),
		"signature": b64.EncodeToString(signature), "userHandle": b64.EncodeToString(k.Handle)})
}

func credential(k *Key, response map[string]any) (json.RawMessage, error) {
	return json.Marshal(map[string]any{"id": b64.EncodeToString(k.ID), "rawId": b64.EncodeToString(k.ID), "type": "public-key",
		"response": response, "clientExtensionResults": map[string]any{}, "authenticatorAttachment": "platform"})
}

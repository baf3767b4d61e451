package image

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
)

// SignOptions is what an image says besides its payload.
type SignOptions struct {
	// Key signs: ECDSA on P-256 or Ed25519, in a file or a token.
	Key     crypto.Signer
	Version Version
	// Counter is the security counter: raise it when an older image must never run again.
	Counter uint32
	// Hardware is the hardware id of the devices it is for; 1 to 64 printable ASCII characters. Required.
	Hardware     string
	Dependencies []Dependency
	// LoadAddr and HeaderSize (bytes, 32 to 65535; 0 is 32) are for microcontrollers, whose vector table wants room.
	LoadAddr   uint32
	HeaderSize int
	// Pure signs the image itself and not its digest (Ed25519 only).
	Pure bool
	// FullKey carries the whole public key instead of its hash.
	FullKey bool
}

// Sign makes an image of the payload. What it returns has been parsed and verified again, so that a faulty token or
// option does not make it into a release.
func Sign(payload []byte, o SignOptions) ([]byte, error) {
	image, err := sign(payload, o)
	if err != nil {
		return nil, fmt.Errorf("sign image: %w", err)
	}
	return image, nil
}

func sign(payload []byte, o SignOptions) ([]byte, error) {
	if o.HeaderSize == 0 {
		o.HeaderSize = headerSize
	}
	switch {
	case o.Key == nil:
		return nil, errors.New("no key")
	case len(payload) == 0:
		return nil, errors.New("no payload")
	case o.HeaderSize < headerSize || o.HeaderSize > 0xffff:
		return nil, fmt.Errorf("header of %d bytes; %d to %d are possible", o.HeaderSize, headerSize, 0xffff)
	case len(payload) > MaxSize-(256<<10): // leaves room for header and TLVs
		return nil, fmt.Errorf("payload of %d bytes is too large", len(payload))
	case !validHardware(o.Hardware):
		return nil, fmt.Errorf("hardware id %.80q must be 1 to %d printable ASCII characters", o.Hardware, maxHardware)
	case len(o.Dependencies) > 255:
		return nil, fmt.Errorf("%d dependencies are too many", len(o.Dependencies))
	}
	key, err := NewKey(o.Key.Public())
	if err != nil {
		return nil, err
	}
	if o.Pure && key.ed25519 == nil {
		return nil, errors.New("only Ed25519 signs an image whole")
	}

	le := binary.LittleEndian
	var protected []byte
	protected = appendTLV(protected, tlvCounter, le.AppendUint32(nil, o.Counter))
	for _, d := range o.Dependencies {
		protected = appendTLV(protected, tlvDependency, appendVersion([]byte{d.Image, 0, 0, 0}, d.Min))
	}
	protected = appendTLV(protected, tlvHardware, []byte(o.Hardware))

	b := make([]byte, 0, o.HeaderSize+len(payload)+len(protected)+512)
	b = le.AppendUint32(b, magic)
	b = le.AppendUint32(b, o.LoadAddr)
	b = le.AppendUint16(b, uint16(o.HeaderSize))
	b = le.AppendUint16(b, uint16(areaHeader+len(protected)))
	b = le.AppendUint32(b, uint32(len(payload)))
	b = le.AppendUint32(b, 0) // flags
	b = appendVersion(b, o.Version)
	b = le.AppendUint32(b, 0)
	b = append(b, bytes.Repeat([]byte{0xff}, o.HeaderSize-headerSize)...) // as erased flash
	b = append(b, payload...)
	b = appendArea(b, protectedMagic, protected)

	tail, err := signature(b, key, o)
	if err != nil {
		return nil, err
	}
	b = appendArea(b, areaMagic, tail)

	im, err := Parse(b)
	if err != nil {
		return nil, err
	}
	installed := map[uint8]Version{}
	for _, d := range o.Dependencies {
		if v, ok := installed[d.Image]; !ok || v.Less(d.Min) {
			installed[d.Image] = d.Min
		}
	}
	return b, im.Verify([]Key{key}, Policy{Hardware: o.Hardware, MinCounter: o.Counter, Installed: installed})
}

// signature returns the TLVs of the unprotected area: hash, key, signature.
func signature(signed []byte, key Key, o SignOptions) ([]byte, error) {
	digest := sha256.Sum256(signed)
	hash, keyHash := digest[:], sha256.Sum256(key.der)
	name := keyHash[:]
	var tail []byte
	if o.Pure { // SHA-512 throughout, as MCUboot's own tool does
		whole, of := sha512.Sum512(signed), sha512.Sum512(key.der)
		hash, name = whole[:], of[:]
		tail = appendTLV(tail, tlvSHA512, hash)
		tail = appendTLV(tail, tlvPure, []byte{1})
	} else {
		tail = appendTLV(tail, tlvSHA256, hash)
	}
	if o.FullKey {
		tail = appendTLV(tail, tlvPublicKey, key.der)
	} else {
		tail = appendTLV(tail, tlvKeyHash, name)
	}
	kind, message, opts := uint16(tlvECDSA), hash, crypto.SignerOpts(crypto.SHA256)
	if key.ed25519 != nil {
		kind, opts = tlvEd25519, crypto.Hash(0)
		if o.Pure {
			message = signed
		}
	}
	sig, err := o.Key.Sign(rand.Reader, message, opts)
	if err != nil {
		return nil, err
	}
	return appendTLV(tail, kind, sig), nil
}

func appendVersion(b []byte, v Version) []byte {
	b = append(b, v.Major, v.Minor)
	b = binary.LittleEndian.AppendUint16(b, v.Revision)
	return binary.LittleEndian.AppendUint32(b, v.Build)
}

func appendTLV(b []byte, kind uint16, v []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
	return append(b, v...)
}

func appendArea(b []byte, magic uint16, tlvs []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, magic)
	b = binary.LittleEndian.AppendUint16(b, uint16(areaHeader+len(tlvs)))
	return append(b, tlvs...)
}

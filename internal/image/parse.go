package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// What can be wrong with an image, for errors.Is. Each is wrapped with the particulars.
var (
	ErrFormat     = errors.New("not a firmware image that can be run")
	ErrSignature  = errors.New("image is not signed by a trusted key")
	ErrHardware   = errors.New("image is for other hardware")
	ErrRollback   = errors.New("image is older than one that was confirmed")
	ErrDependency = errors.New("image needs another image")
)

// MaxSize bounds an image with its padding, in bytes.
const MaxSize = 64 << 20

const (
	magic          = 0x96f3b83d
	headerSize     = 32
	areaMagic      = 0x6907
	protectedMagic = 0x6908
	areaHeader     = 4 // magic and total size; a TLV's own header has 4 bytes too
	maxHardware    = 64

	// Flags that say where in a microcontroller's memory the payload goes; they change nothing in how it is read.
	flagPIC      = 0x01
	flagRAMLoad  = 0x20
	flagROMFixed = 0x100
	knownFlags   = flagPIC | flagRAMLoad | flagROMFixed

	flagEncrypted   = 0x04 | 0x08
	flagNonBootable = 0x10

	tlvKeyHash    = 0x01
	tlvPublicKey  = 0x02
	tlvSHA256     = 0x10
	tlvSHA512     = 0x12
	tlvECDSA      = 0x22
	tlvEd25519    = 0x24
	tlvPure       = 0x25
	tlvDependency = 0x40
	tlvCounter    = 0x50
	tlvBootRecord = 0x60
	tlvHardware   = 0x00a0
)

// Version is the version of an image: major.minor.revision+build.
type Version struct {
	Major, Minor uint8
	Revision     uint16
	Build        uint32
}

func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d+%d", v.Major, v.Minor, v.Revision, v.Build)
}

// Less reports whether v is older than w. The build number counts last.
func (v Version) Less(w Version) bool { return v.number() < w.number() }

func (v Version) number() uint64 {
	return uint64(v.Major)<<56 | uint64(v.Minor)<<48 | uint64(v.Revision)<<32 | uint64(v.Build)
}

// Dependency says that another image of the device must have at least a version.
type Dependency struct {
	Image uint8
	Min   Version
}

// Image is a parsed image. Until [Image.Verify] has returned nil, every field is only what somebody wrote.
type Image struct {
	Version  Version
	LoadAddr uint32
	Flags    uint32
	// Payload is the program, a part of the bytes that were parsed: they must not change while it is in use.
	Payload []byte
	// Counter is the security counter, from the protected area only; HasCounter tells 0 from none.
	Counter    uint32
	HasCounter bool
	// Hardware is the hardware id it is for; "" when the image does not say.
	Hardware     string
	Dependencies []Dependency
	// Size is where the image ends in the bytes that were parsed; what follows (padding and the trailer of a flash
	// slot) is neither signed nor read.
	Size int

	signed []byte // header, payload and protected TLVs: all that the signature covers
	// The parts of the unprotected area; nil when absent.
	keyHash, publicKey, sha256, sha512, ecdsa, ed25519 []byte
	pure                                               bool
}

// Parse reads an image and checks its form, not its signature. It keeps parts of data and copies nothing. Errors are
// [ErrFormat].
func Parse(data []byte) (*Image, error) {
	im, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return im, nil
}

func parse(data []byte) (*Image, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes are more than %d", len(data), MaxSize)
	}
	if len(data) < headerSize || binary.LittleEndian.Uint32(data) != magic {
		return nil, errors.New("no image header")
	}
	le := binary.LittleEndian
	im := &Image{
		LoadAddr: le.Uint32(data[4:]),
		Flags:    le.Uint32(data[16:]),
		Version:  parseVersion(data[20:]),
	}
	header, protected, payload := uint64(le.Uint16(data[8:])), uint64(le.Uint16(data[10:])), uint64(le.Uint32(data[12:]))
	switch {
	case im.Flags&flagEncrypted != 0:
		return nil, errors.New("it is encrypted, which is not supported")
	case im.Flags&flagNonBootable != 0:
		return nil, errors.New("it is marked as not bootable")
	case im.Flags&^uint32(knownFlags) != 0:
		return nil, fmt.Errorf("unknown flags %#x", im.Flags&^uint32(knownFlags))
	case header < headerSize:
		return nil, fmt.Errorf("header of %d bytes", header)
	case payload == 0:
		return nil, errors.New("no payload")
	case header+payload+protected > uint64(len(data)): // each below 2^32: no overflow in 64 bits
		return nil, errors.New("it is cut short")
	}
	end := header + payload
	im.Payload = data[header:end:end]
	if protected > 0 {
		area, err := takeArea(data[end:], protectedMagic)
		if err != nil {
			return nil, fmt.Errorf("protected area: %w", err)
		}
		if uint64(len(area))+areaHeader != protected {
			return nil, errors.New("protected area: header and area disagree on its size")
		}
		if err := eachTLV(area, im.readProtected); err != nil {
			return nil, fmt.Errorf("protected area: %w", err)
		}
		end += protected
	}
	im.signed = data[:end:end]
	area, err := takeArea(data[end:], areaMagic)
	if err != nil {
		return nil, err
	}
	if err := eachTLV(area, im.readUnprotected); err != nil {
		return nil, err
	}
	im.Size = int(end) + areaHeader + len(area)
	return im, nil
}

func parseVersion(b []byte) Version {
	return Version{b[0], b[1], binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
}

// takeArea returns the TLVs of the area that b begins with.
func takeArea(b []byte, magic uint16) ([]byte, error) {
	if len(b) < areaHeader {
		return nil, errors.New("it is cut short before its TLVs")
	}
	if m := binary.LittleEndian.Uint16(b); m != magic {
		return nil, fmt.Errorf("TLV area begins with %#04x instead of %#04x", m, magic)
	}
	total := int(binary.LittleEndian.Uint16(b[2:]))
	if total < areaHeader || total > len(b) {
		return nil, fmt.Errorf("TLV area says it has %d bytes and there are %d", total, len(b))
	}
	return b[areaHeader:total:total], nil
}

// eachTLV calls read for each TLV and refuses a second one of a kind; several dependencies are the exception.
func eachTLV(area []byte, read func(kind uint16, value []byte) error) error {
	seen := map[uint16]bool{}
	for len(area) > 0 {
		if len(area) < 4 {
			return errors.New("half a TLV at the end")
		}
		kind, n := binary.LittleEndian.Uint16(area), int(binary.LittleEndian.Uint16(area[2:]))
		if n > len(area)-4 {
			return fmt.Errorf("TLV %#04x of %d bytes reaches past its area", kind, n)
		}
		if seen[kind] && kind != tlvDependency {
			return fmt.Errorf("TLV %#04x stands there twice", kind)
		}
		seen[kind] = true
		if err := read(kind, area[4:4+n:4+n]); err != nil {
			return err
		}
		area = area[4+n:]
	}
	return nil
}

// readProtected takes what the signature covers. A kind that is not known could be a condition for running the image,
// so it is refused; only kinds that the format leaves to vendors (low byte 0xa0 and above) are skipped.
func (im *Image) readProtected(kind uint16, v []byte) error {
	switch {
	case kind == tlvCounter:
		if len(v) != 4 {
			return fmt.Errorf("security counter of %d bytes", len(v))
		}
		im.Counter, im.HasCounter = binary.LittleEndian.Uint32(v), true
	case kind == tlvDependency:
		if len(v) != 12 || v[1] != 0 || v[2] != 0 || v[3] != 0 {
			return errors.New("malformed dependency")
		}
		im.Dependencies = append(im.Dependencies, Dependency{v[0], parseVersion(v[4:])})
	case kind == tlvHardware:
		if !validHardware(string(v)) {
			return fmt.Errorf("hardware id %.80q is not 1 to %d printable ASCII characters", v, maxHardware)
		}
		im.Hardware = string(v)
	case kind == tlvBootRecord, kind&0xff >= 0xa0:
	default:
		return fmt.Errorf("unknown TLV %#04x", kind)
	}
	return nil
}

// readUnprotected takes hash, key and signature, and refuses whatever else: it would be nobody's word.
func (im *Image) readUnprotected(kind uint16, v []byte) error {
	into, min, max := (*[]byte)(nil), 0, 0
	switch kind {
	case tlvKeyHash:
		into, min, max = &im.keyHash, 32, 64
	case tlvPublicKey:
		into, min, max = &im.publicKey, 1, 128
	case tlvSHA256:
		into, min, max = &im.sha256, 32, 32
	case tlvSHA512:
		into, min, max = &im.sha512, 64, 64
	case tlvECDSA:
		into, min, max = &im.ecdsa, 1, 72
	case tlvEd25519:
		into, min, max = &im.ed25519, 64, 64
	case tlvPure:
		if !bytes.Equal(v, []byte{1}) {
			return errors.New("malformed mark of a pure signature")
		}
		im.pure = true
		return nil
	default:
		return fmt.Errorf("TLV %#04x may not stand outside the protected area", kind)
	}
	if len(v) < min || len(v) > max {
		return fmt.Errorf("TLV %#04x of %d bytes", kind, len(v))
	}
	*into = v
	return nil
}

func validHardware(s string) bool {
	return len(s) > 0 && len(s) <= maxHardware && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

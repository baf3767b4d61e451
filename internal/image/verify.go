package image

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
)

// Policy is what a device asks of an image it shall run.
type Policy struct {
	// Hardware is the device's hardware id; the image must name the same one.
	Hardware string
	// MinCounter is the device's stored security counter; the image must carry that or a greater one.
	MinCounter uint32
	// Installed is the versions of the device's other images, which the image's dependencies are checked against.
	Installed map[uint8]Version
}

// Verify returns nil only when one of the keys signed the image and the policy lets it run. An image without a
// hardware id or without a security counter is refused. Errors wrap [ErrSignature], [ErrHardware], [ErrRollback] or
// [ErrDependency].
func (im *Image) Verify(keys []Key, want Policy) error {
	if _, err := im.Authenticate(keys); err != nil {
		return err
	}
	switch {
	case !validHardware(want.Hardware):
		return fmt.Errorf("%w: this device's hardware id %.80q is not 1 to %d printable ASCII characters", ErrHardware, want.Hardware, maxHardware)
	case im.Hardware == "":
		return fmt.Errorf("%w: it names none, this is %s", ErrHardware, want.Hardware)
	case im.Hardware != want.Hardware:
		return fmt.Errorf("%w: it is for %s, this is %s", ErrHardware, im.Hardware, want.Hardware)
	case !im.HasCounter:
		return fmt.Errorf("%w: it carries no security counter", ErrRollback)
	case im.Counter < want.MinCounter:
		return fmt.Errorf("%w: its security counter is %d, at least %d is needed", ErrRollback, im.Counter, want.MinCounter)
	}
	for _, d := range im.Dependencies {
		if v, ok := want.Installed[d.Image]; !ok || v.Less(d.Min) {
			return fmt.Errorf("%w: number %d, version %s or later", ErrDependency, d.Image, d.Min)
		}
	}
	return nil
}

// Authenticate checks hash and signature and returns which of the keys signed. It says nothing about whether the image
// may run here; see [Image.Verify]. Errors wrap [ErrSignature].
func (im *Image) Authenticate(keys []Key) (Key, error) {
	if im.signed == nil { // not from Parse
		return Key{}, fmt.Errorf("%w: it was not read", ErrSignature)
	}
	switch {
	case im.ecdsa == nil && im.ed25519 == nil:
		return Key{}, fmt.Errorf("%w: it is not signed at all", ErrSignature)
	case im.ecdsa != nil && im.ed25519 != nil:
		return Key{}, fmt.Errorf("%w: it carries two signatures", ErrSignature)
	case (im.keyHash == nil) == (im.publicKey == nil):
		return Key{}, fmt.Errorf("%w: it must name its key once", ErrSignature)
	case (im.sha256 == nil) == (im.sha512 == nil):
		return Key{}, fmt.Errorf("%w: it must carry one hash", ErrSignature)
	}
	key, ok := im.signer(keys)
	if !ok {
		return Key{}, fmt.Errorf("%w: its key is not one of the %d trusted here", ErrSignature, len(keys))
	}
	var digest []byte
	if im.sha256 != nil {
		h := sha256.Sum256(im.signed)
		digest = h[:]
	} else {
		h := sha512.Sum512(im.signed)
		digest = h[:]
	}
	if !bytes.Equal(digest, im.sha256) && !bytes.Equal(digest, im.sha512) {
		return Key{}, fmt.Errorf("%w: its content is not what was signed (hash differs)", ErrSignature)
	}
	if !im.signatureHolds(key, digest) {
		return Key{}, fmt.Errorf("%w: the signature is wrong", ErrSignature)
	}
	return key, nil
}

// signer finds the key that the image names. What it names only chooses among the trusted keys.
func (im *Image) signer(keys []Key) (Key, bool) {
	for _, k := range keys {
		if len(k.der) == 0 {
			continue
		}
		if im.publicKey != nil {
			if bytes.Equal(im.publicKey, k.der) {
				return k, true
			}
			continue
		}
		if h := sha256.Sum256(k.der); bytes.Equal(im.keyHash, h[:]) {
			return k, true
		}
		if h := sha512.Sum512(k.der); bytes.Equal(im.keyHash, h[:]) { // images that are hashed by SHA-512 throughout
			return k, true
		}
	}
	return Key{}, false
}

// signatureHolds checks the signature of the kind that belongs to the key; one of another kind does not hold.
func (im *Image) signatureHolds(k Key, digest []byte) bool {
	switch {
	case k.p256 != nil && im.ecdsa != nil:
		return !im.pure && len(digest) == sha256.Size && ecdsa.VerifyASN1(k.p256, digest, im.ecdsa)
	case k.ed25519 != nil && im.ed25519 != nil:
		message := digest
		if im.pure {
			message = im.signed
		}
		return ed25519.Verify(k.ed25519, message, im.ed25519)
	}
	return false
}

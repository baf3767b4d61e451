package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

const (
	masterHeader  = "loggerhead-master-key-1 "
	masterBytes   = 32
	maxMasterFile = 1024
)

// Master is the installation's master key. It never leaves this package but into its file.
type Master struct {
	key  []byte
	wrap tink.AEAD // wraps data keys
}

// LogValue keeps the key out of every log.
func (m Master) LogValue() slog.Value { return slog.StringValue("[master key " + m.ID() + "]") }

// Format keeps the key out of every message, whatever the verb.
func (m Master) Format(f fmt.State, _ rune) { io.WriteString(f, "[master key]") }

func newMaster(key []byte) (*Master, error) {
	m := &Master{key: key}
	kek, err := m.Derive("wrap data keys", 32)
	if err != nil {
		return nil, err
	}
	m.wrap, err = subtle.NewAESGCM(kek)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return m, nil
}

// NewMaster makes a random master key that is in no file yet.
func NewMaster() (*Master, error) {
	key := make([]byte, masterBytes)
	rand.Read(key)
	return newMaster(key)
}

// CreateMaster makes a random master key and writes it to path, mode 0600: the whole of it, synced, or nothing. A file
// that is there already is an error: a master key is never overwritten.
func CreateMaster(path string) (*Master, error) {
	m, err := NewMaster()
	if err != nil {
		return nil, err
	}
	text := masterHeader + base64.StdEncoding.EncodeToString(m.key) + "\n"
	if err := durable.Create(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	return m, nil
}

// LoadMaster reads a master key file. A file that others than its owner can read is refused.
func LoadMaster(path string) (*Master, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no master key at %s; `loggerhead init` makes one, or put your kept copy there: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	defer f.Close() // read only: a failing close loses nothing
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key %s can be read by others (mode %#o); run: chmod 600 %s", path, st.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxMasterFile))
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	text, ok := strings.CutPrefix(string(bytes.TrimSpace(b)), strings.TrimSpace(masterHeader))
	if !ok {
		return nil, fmt.Errorf("%s is not a master key file: it does not begin with %q", path, masterHeader)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != masterBytes {
		return nil, fmt.Errorf("master key %s is damaged; put back the copy you kept when the installation was made", path)
	}
	return newMaster(key)
}

// Derive returns n bytes that depend on the master key and purpose only.
func (m Master) Derive(purpose string, n int) ([]byte, error) {
	return hkdf.Key(sha256.New, m.key, nil, "loggerhead "+purpose+" v1", n)
}

// ID is a short public name of the key, which tells two keys apart and gives nothing away.
func (m Master) ID() string {
	b, err := m.Derive("name", 6)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("%x", b)
}

// BlindIndex returns a keyed hash of value, by which a sealed column can be looked up for equality.
func (m *Master) BlindIndex(column, value string) ([]byte, error) {
	k, err := m.Derive("blind index "+column, 32)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, k)
	io.WriteString(h, value) // a hash never fails
	return h.Sum(nil), nil
}

// NewKey makes a data key for an owner and returns it with its wrapped form, which may be stored anywhere.
func (m *Master) NewKey(owner string) (*Key, []byte, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, nil, fmt.Errorf("make data key of %s: %w", owner, err)
	}
	var b bytes.Buffer
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), m.wrap, []byte(owner)); err != nil {
		return nil, nil, fmt.Errorf("wrap data key of %s: %w", owner, err)
	}
	k, err := keyOf(h)
	return k, b.Bytes(), err
}

// OpenKey unwraps an owner's data key.
func (m *Master) OpenKey(owner string, wrapped []byte) (*Key, error) {
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), m.wrap, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("the master key %s does not open the data key of %s; is it the one this data was made with? %w", m.ID(), owner, err)
	}
	return keyOf(h)
}

// Key is the data key of one owner. It is safe for concurrent use.
type Key struct{ aead tink.AEAD }

func keyOf(h *keyset.Handle) (*Key, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return &Key{aead: a}, nil
}

// LogValue keeps the key out of every log.
func (k *Key) LogValue() slog.Value { return slog.StringValue("[data key]") }

// Seal encrypts plain for the place named by context. The result is 33 bytes longer.
func (k *Key) Seal(plain []byte, context string) ([]byte, error) {
	return k.aead.Encrypt(plain, []byte(context))
}

// Open decrypts what [Key.Seal] made for the same context. Anything else is an error.
func (k *Key) Open(sealed []byte, context string) ([]byte, error) {
	b, err := k.aead.Decrypt(sealed, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("%s does not open: damaged, moved, or sealed with another key: %w", context, err)
	}
	return b, nil
}

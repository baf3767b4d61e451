package store

import (
	"crypto/aes"
	"crypto/cipher"
)

// Cursors returns what seals the cursors of lists, the same on every hub of the installation.
func (db *DB) Cursors() (cipher.AEAD, error) {
	key, err := db.master.Derive("cursors of lists", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

package series

import (
	"encoding/binary"
	"hash/crc32"
)

// OtherDirectory is a chunk of several blocks whose directory, checksum and all, has another count of the first.
func OtherDirectory(body []byte) ([]byte, error) {
	blocks, err := blocksOf(nil, chunkMagic, body)
	if err != nil {
		return nil, err
	}
	s, err := decodeSummary(0, blocks[0].summary)
	if err != nil {
		return nil, err
	}
	s.count--
	s.good--
	blocks[0].summary = s.encode(0)
	var directory, all []byte
	for _, b := range blocks {
		directory = binary.AppendUvarint(directory, uint64(len(b.body)))
		directory = append(binary.AppendUvarint(directory, uint64(len(b.summary))), b.summary...)
		all = append(all, b.body...)
	}
	out := binary.AppendUvarint([]byte(chunkMagic), uint64(len(blocks)))
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(directory, castagnoli))
	out = binary.AppendUvarint(out, uint64(len(directory)))
	return append(append(out, directory...), all...), nil
}

// Package image reads, checks and makes firmware images in the MCUboot format, which carries both microcontroller
// firmware and the Linux program of a datalogger: a header, the payload, protected TLVs (covered by the signature) and
// a signature. docs/format/image.md is its description.
//
// Nothing in an image is trusted before its signature is verified by a key the caller holds, and nothing outside the
// signed part is trusted even then. The parser takes hostile input: it never allocates by a length it was told, and an
// image that could be read in two ways is refused. The package imports no X.509 and no network code, so that the boot
// stage stays small enough to be read.
package image

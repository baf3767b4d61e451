// Package ingest takes in what the dataloggers upload: it reads a batch, finds the elements its channels feed, judges
// the device's clock, has the samples made durable, and then tells the feed, from which live charts are drawn. An
// acknowledgement it returns means: on disk, synced.
package ingest

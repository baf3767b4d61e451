//go:build !race

package gateway_test

// raceEnabled reports whether the race detector runs, under which memory says nothing.
const raceEnabled = false

// Package server is the hub put together: [Config] says everything that can be set, [Init] makes an installation,
// [New] wires the parts in the order they depend on each other, and Run serves until its context ends and then stops
// in phases, so that whatever was acknowledged is on disk and whatever is under way ends well.
package server

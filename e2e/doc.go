// Package e2e tests the programs whole: real processes, killed and started again, over real connections.
package e2e

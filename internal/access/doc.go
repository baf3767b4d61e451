// Package access decides who somebody is and what they may do: users with passwords and sessions, devices with
// certificates, and the [store.Scope] each of them gets. It is the only package that builds scopes.
package access

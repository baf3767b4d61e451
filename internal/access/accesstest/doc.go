// Package accesstest has what people bring to a log-in, for tests: an authenticator that makes passkeys and answers with
// them, right and wrong, and an OpenID Connect provider, honest and hostile.
package accesstest

// Package notify sends mail by SMTP, over TLS, from an outbox that survives a crash. It trusts neither what is to be
// written into a header nor the server it gives the mail to: what could smuggle a header in is refused, answers are
// bounded in time, and a password goes to a server only over a verified connection.
package notify

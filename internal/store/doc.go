// Package store is what lasts: the SQL database, SQLite or PostgreSQL, behind methods that take a [Scope]. One file
// holds one noun. Everything a project owns is sealed under the project's key before it reaches the engine, and
// everything that changes something writes its audit event in the same transaction.
package store

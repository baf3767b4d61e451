// Package demo is a whole installation to look at, in one folder: a hub in this process, and three loggerhead-agent
// processes that are claimed, enrolled and upload like any other datalogger. Nothing in it knows a short cut: users and
// inventory are made as an operator makes them, everything else goes through the REST API.
//
// The folder holds the hub (hub), the dataloggers (loggers), their logs (logs) and the log-ins (log-ins.txt); it stays,
// and the next demo goes on from it. Every step can be cut off and is completed by the next run.
//
// A demo that ends by itself proves what an acknowledgement means: every acknowledged sample in every datalogger's own
// log is read back through the REST API, with its time and value, once.
package demo

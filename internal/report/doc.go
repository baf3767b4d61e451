// Package report makes exports: files of a project's data that are too large to be waited for. Somebody asks for one,
// hubs make them one after the other in the background, and whoever may is sent the file while it is kept. An export holds
// what its asker may see when it is made; a hub that crashes loses a turn, and another begins it anew.
package report

package api

// changeRoutes are the operations on bulk creation and the feed of changes.
var changeRoutes = []route{}

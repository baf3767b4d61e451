package api

// exportRoutes are the operations on exports.
var exportRoutes = []route{}

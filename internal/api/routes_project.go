package api

// projectRoutes are the operations on what concerns a project as a whole.
var projectRoutes = []route{}

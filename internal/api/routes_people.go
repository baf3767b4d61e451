package api

// peopleRoutes are the operations on accounts of people.
var peopleRoutes = []route{}

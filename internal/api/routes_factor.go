package api

// factorRoutes are the operations on second factors, passkeys and single sign-on.
var factorRoutes = []route{}

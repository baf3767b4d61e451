package api

import "net/http"

// pairingRoutes log a program in that has no browser of its own; see access/pairing.go.
var pairingRoutes = []route{
	public("POST", "/api/v1/pairings", "ask-pairing", "Begin to log in a program that has no browser", askPairing).
		says("The program shows the code to a person, who is logged in in a browser and allows it there; then finish-pairing gives it a session."),
	public("POST", "/api/v1/pairings/finish", "finish-pairing", "Ask whether somebody allowed it; if so, log in", finishPairing).answers(http.StatusOK),
	signedIn("GET", "/api/v1/pairings/{code}", "get-pairing", "What asks to be logged in with this code", getPairing),
	signedIn("POST", "/api/v1/pairings/{code}", "answer-pairing", "Allow a program to log in as me, or refuse it", answerPairing).answers(http.StatusNoContent),
}

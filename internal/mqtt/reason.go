package mqtt

import "fmt"

// Reason is a reason code of MQTT 5 (section 2.4). MQTT 3.1.1 knows none, but in CONNACK and SUBACK.
type Reason byte

const (
	Success                 Reason = 0x00
	NoSubscription          Reason = 0x11
	Unspecified             Reason = 0x80
	Malformed               Reason = 0x81
	ProtocolError           Reason = 0x82
	ImplementationSpecific  Reason = 0x83
	UnsupportedVersion      Reason = 0x84
	BadClientID             Reason = 0x85
	NotAuthorized           Reason = 0x87
	ServerUnavailable       Reason = 0x88
	ServerBusy              Reason = 0x89
	ServerShuttingDown      Reason = 0x8B
	BadAuthenticationMethod Reason = 0x8C
	KeepAliveTimeout        Reason = 0x8D
	SessionTakenOver        Reason = 0x8E
	BadTopicFilter          Reason = 0x8F
	BadTopicName            Reason = 0x90
	ReceiveMaximumExceeded  Reason = 0x93
	BadTopicAlias           Reason = 0x94
	PacketTooLarge          Reason = 0x95
	QuotaExceeded           Reason = 0x97
	AdministrativeAction    Reason = 0x98
	PayloadFormatInvalid    Reason = 0x99
	NoRetain                Reason = 0x9A
	NoQoS                   Reason = 0x9B
	NoSharedSubscriptions   Reason = 0x9E
	ConnectTimeout          Reason = 0xA0
	NoSubscriptionIDs       Reason = 0xA1
	NoWildcards             Reason = 0xA2
)

// Error is what is wrong with a packet. A server that meets one ends the connection with its reason.
type Error struct {
	Reason Reason
	What   string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (reason 0x%02X)", e.What, byte(e.Reason)) }

func malformed(what string) error { return &Error{Malformed, what} }

func broken(what string) error { return &Error{ProtocolError, what} }

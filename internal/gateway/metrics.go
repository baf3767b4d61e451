package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
)

type metrics struct {
	connections *prometheus.GaugeVec   // by protocol
	publishes   *prometheus.CounterVec // by outcome
	requests    *prometheus.CounterVec // by operation and outcome
	refused     *prometheus.CounterVec // connections, by reason
	cut         *prometheus.CounterVec // connections, by reason
}

func newMetrics(r prometheus.Registerer) metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	m := metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "loggerhead_gateway_connections",
			Help: "Open connections on the devices' listeners by protocol: https, mqtt."}, []string{"protocol"}),
		publishes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_gateway_mqtt_publishes_total",
			Help: "Uploads over MQTT by outcome: ok, or the code of the refusal."}, []string{"outcome"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_gateway_https_requests_total",
			Help: "Requests of devices by operation and outcome: ok, or the code of the refusal."}, []string{"operation", "outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_gateway_refused_connections_total",
			Help: "Connections that did not come to be, by reason."}, []string{"reason"}),
		cut: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_gateway_cut_connections_total",
			Help: "Connections the hub ended, by reason."}, []string{"reason"}),
	}
	r.MustRegister(m.connections, m.publishes, m.requests, m.refused, m.cut)
	return m
}

// outcome is the label of an error; nil is ok.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(lh.CodeOf(err))
}

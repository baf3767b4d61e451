package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/demo"
	"github.com/loggerhead-cloud/loggerhead/web"
)

type demoCommand struct {
	Data        string        `help:"The demo's folder; it stays, and a later demo goes on from it ($$DEMO_DATA)." default:"demo-data" type:"path" var:"DEMO_DATA"`
	Seconds     int           `help:"Stop after so many seconds and prove that every acknowledged sample can be read back; 0 runs until Ctrl-C ($$DEMO_SECONDS)." default:"0" var:"DEMO_SECONDS"`
	History     time.Duration `help:"What new stations bring from before they were new ($$DEMO_HISTORY)." default:"24h" var:"DEMO_HISTORY"`
	Agent       string        `help:"The loggerhead-agent to run; without it, the one beside this program ($$DEMO_AGENT)." type:"path" placeholder:"FILE" var:"DEMO_AGENT"`
	PeoplePort  uint16        `help:"Port for people; 0 is any free one ($$DEMO_PEOPLE_PORT)." default:"8443" var:"DEMO_PEOPLE_PORT"`
	MQTTPort    uint16        `name:"mqtt-port" help:"Port for devices by MQTT ($$DEMO_MQTT_PORT)." default:"8883" var:"DEMO_MQTT_PORT"`
	DevicesPort uint16        `help:"Port for devices by HTTPS ($$DEMO_DEVICES_PORT)." default:"8884" var:"DEMO_DEVICES_PORT"`
	PrivatePort uint16        `help:"Port for the operator ($$DEMO_PRIVATE_PORT)." default:"8885" var:"DEMO_PRIVATE_PORT"`
}

// maxHistory is what a simulated station can bring.
const maxHistory = 31 * 24 * time.Hour

func (d demoCommand) Run(ctx context.Context, p program) error {
	if d.Agent == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		d.Agent = filepath.Join(filepath.Dir(self), "loggerhead-agent")
	}
	return demo.Run(ctx, demo.Options{Data: d.Data, Duration: time.Duration(d.Seconds) * time.Second, Agent: d.Agent, History: min(max(d.History, 0), maxHistory),
		Ports: demo.Ports{People: d.PeoplePort, MQTT: d.MQTTPort, Devices: d.DevicesPort, Private: d.PrivatePort},
		Web:   web.Files(), Version: versionOf(), Out: p.stdout})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

type inventoryCommand struct {
	Add  inventoryAddCommand  `cmd:"" help:"List a device in the inventory, or give a listed one a new claim code. The code is printed this once."`
	Show inventoryShowCommand `cmd:"" help:"Show what the inventory says of a device."`
}

// inventory runs fn on the installation's inventory.
func (c configPath) inventory(ctx context.Context, p program, fn func(*fleet.Fleet, *store.DB) error) error {
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := c.database(ctx, log)
	if err != nil {
		return err
	}
	return errors.Join(fn(fleet.New(fleet.Options{DB: db, Log: log}), db), db.Close())
}

type inventoryAddCommand struct {
	configPath
	Serial   string `arg:"" help:"Serial on the device's label: letters, digits and -._/"`
	Hardware string `help:"Hardware id, e.g. lh-sim-1."`
}

func (d inventoryAddCommand) Run(ctx context.Context, p program) error {
	return d.inventory(ctx, p, func(f *fleet.Fleet, _ *store.DB) error {
		code, err := f.List(ctx, d.Serial, d.Hardware)
		if err == nil {
			fmt.Fprintf(p.stdout, "serial      %s\nclaim code  %s\n\nThe code is told this once. It claims the device for a project and enrols it; an earlier code is void.\n", d.Serial, code)
		}
		return err
	})
}

type inventoryShowCommand struct {
	configPath
	Serial string `arg:"" help:"Serial on the device's label."`
}

func (d inventoryShowCommand) Run(ctx context.Context, p program) error {
	return d.inventory(ctx, p, func(_ *fleet.Fleet, db *store.DB) error {
		it, err := db.Inventory(ctx, d.Serial)
		if err != nil {
			return err
		}
		claimed, code := "no", "good"
		if it.Device != "" {
			claimed = "yes, as " + string(it.Device)
		}
		if len(it.UsedKey) > 0 {
			code = "used up"
		}
		fmt.Fprintf(p.stdout, "serial      %s\nhardware    %s\nlisted      %s\nclaimed     %s\nclaim code  %s\n", it.Serial, printable(it.Hardware),
			it.Created.Time().Format("2006-01-02 15:04:05Z"), claimed, code)
		return nil
	})
}

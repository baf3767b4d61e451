package access_test

import (
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// BenchmarkAuthenticate is what each request of a program costs before anything is done for it: whose key, and what scope.
func BenchmarkAuthenticate(b *testing.B) {
	db := storetest.Open(b, storetest.SQLite(b))
	u, err := db.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, "x")
	if err != nil {
		b.Fatal(err)
	}
	p, err := db.CreateProject(ctx, u.ID, lh.Project{Name: "Weir", Zone: "UTC"})
	if err != nil {
		b.Fatal(err)
	}
	owner := store.NewScope(p.ID, lh.RoleOwner, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)})
	a := access.New(access.Options{DB: db, Now: time.Now})
	s, err := db.CreateServiceAccount(ctx, owner, lh.ServiceAccount{Name: "reader", Role: lh.RoleViewer, Enabled: true})
	if err != nil {
		b.Fatal(err)
	}
	_, key, err := a.NewKey(ctx, owner, lh.ProgramKey{Program: string(s.ID)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		who, err := a.Authenticate(ctx, key, home)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := a.Scope(ctx, who, p.ID); err != nil {
			b.Fatal(err)
		}
	}
}

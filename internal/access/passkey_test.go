package access_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/access/accesstest"
)

// key makes a passkey for somebody logged in.
func (b *bench) key(p access.Principal, auth *accesstest.Authenticator, with access.Answer) (lh.Passkey, []string) {
	b.Helper()
	p = b.confirmed(p, with)
	o, err := b.access.BeginPasskey(ctx, p)
	if err != nil {
		b.Fatal(err)
	}
	made, err := auth.Create(o)
	if err != nil {
		b.Fatal(err)
	}
	k, codes, err := b.access.AddPasskey(ctx, p, "Phone", made)
	if err != nil {
		b.Fatal(err)
	}
	return k, codes
}

// answer is what an authenticator says to the question for a log-in, of anybody or of a half-done one.
func (b *bench) answer(auth *accesstest.Authenticator, token string, k *accesstest.Key) json.RawMessage {
	b.Helper()
	o, err := b.access.AskPasskey(ctx, token, "192.0.2.1")
	if err != nil {
		b.Fatal(err)
	}
	a, err := auth.Get(o, k)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// TestPasskeys: several, each by name; alone they log in, and after the password they finish it; removed, they do not.
func TestPasskeys(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		p := b.in(b.ana.Email)
		_, err := b.access.BeginPasskey(ctx, p)
		b.refusedAs("without confirming", err, lh.Forbidden)
		phone, laptop := &accesstest.Authenticator{Origin: hubURL}, &accesstest.Authenticator{Origin: hubURL, Still: true}
		k, codes := b.key(p, phone, access.Answer{})
		if len(codes) != 10 || k.Name != "Phone" || k.Used != 0 || !strings.HasPrefix(string(k.ID), "pky_") {
			b.Errorf("%+v, %d codes", k, len(codes))
		}
		b.clock.add(time.Second) // they are listed oldest first
		// The question for a second one names the first, so that its authenticator makes no other.
		p = b.confirmed(p, access.Answer{Recovery: codes[9]})
		o, err := b.access.BeginPasskey(ctx, p)
		if err != nil || !strings.Contains(string(o), `"excludeCredentials":[{`) || !strings.Contains(string(o), `"userVerification":"required"`) || !strings.Contains(string(o), `"id":"hub.example"`) {
			b.Errorf("options %s, %v", o, err)
		}
		if _, more := b.key(p, laptop, access.Answer{Recovery: codes[8]}); len(more) != 0 {
			b.Error("recovery codes are made anew")
		}
		for _, auth := range []*accesstest.Authenticator{phone, laptop, phone} {
			in, token, err := b.access.LogInPasskey(ctx, b.answer(auth, "", nil), "192.0.2.1")
			if err != nil || in.User.ID != b.ana.ID || !in.Session.Strong || in.Session.Proof != lh.ProofPasskey {
				b.Fatalf("%+v %v", in, err)
			}
			if _, err := b.access.Authenticate(ctx, token, in.Remote); err != nil {
				b.Error(err)
			}
		}
		need := b.half(b.ana.Email, "192.0.2.1")
		if need.TOTP || !need.Passkey || !need.Codes {
			b.Errorf("%+v", need)
		}
		in, _, err := b.access.FinishLogIn(ctx, need.Token, access.Answer{Passkey: b.answer(phone, need.Token, nil)}, "192.0.2.1")
		if err != nil || in.Session.Proof != lh.ProofPasskey {
			b.Fatalf("%+v %v", in, err)
		}
		// A passkey confirms by itself: it has asked for a finger or a PIN.
		if o, err = b.access.AskPasskeyAgain(ctx, in); err != nil {
			b.Fatal(err)
		}
		again, err := phone.Get(o, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := b.access.Confirm(ctx, in, "", access.Answer{Passkey: again}); err != nil {
			b.Error(err)
		}
		in.Session.Confirmed = lh.MillisOf(b.clock.now())
		if err := b.access.RenamePasskey(ctx, in, k.ID, "Old phone"); err != nil {
			b.Error(err)
		}
		f, err := b.access.Factors(ctx, in)
		if err != nil || len(f.Passkeys) != 2 || f.Passkeys[0].Name != "Old phone" || f.Passkeys[0].Used == 0 || f.Passkeys[0].Suspect != 0 {
			b.Errorf("%+v %v", f, err)
		}
		for _, bad := range []string{"", " x", "a\nb", strings.Repeat("x", 101), "\xff"} {
			b.refusedAs("name "+bad, b.access.RenamePasskey(ctx, in, k.ID, bad), lh.Invalid)
		}
		other := b.in(b.user("bob@test.example").Email)
		b.refusedAs("renamed by somebody else", b.access.RenamePasskey(ctx, other, k.ID, "Mine"), lh.NotFound)
		b.refusedAs("removed by somebody else", b.access.RemovePasskey(ctx, b.confirmed(other, access.Answer{}), k.ID), lh.NotFound)
		if err := b.access.RemovePasskey(ctx, in, k.ID); err != nil {
			b.Fatal(err)
		}
		_, _, err = b.access.LogInPasskey(ctx, b.answer(phone, "", nil), "192.0.2.1")
		b.refusedAs("one that was removed", err, lh.Unauthenticated)
		if _, _, err := b.access.LogInPasskey(ctx, b.answer(laptop, "", nil), "192.0.2.1"); err != nil {
			b.Errorf("the other one: %v", err)
		}
		b.wantAudited("factor.passkey.add", "factor.passkey.rename", "factor.passkey.remove")
		if m := strings.Join(b.mailed(), "; "); !strings.Contains(m, "passkey was added") || !strings.Contains(m, "passkey was removed") {
			b.Errorf("mailed: %s", m)
		}
	})
}

// TestPasskeysRefused: whatever is not the right key's answer to this very question, on this very site, to somebody it has
// made sure of, is refused, and all of it in the same words.
func TestPasskeysRefused(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		honest := &accesstest.Authenticator{Origin: hubURL}
		b.key(b.in(b.ana.Email), honest, access.Answer{})
		bob := b.user("bob@test.example")
		bobs := &accesstest.Authenticator{Origin: hubURL}
		b.key(b.in(bob.Email), bobs, access.Answer{})
		key := honest.Keys[0]
		n := 0
		try := func(what string, answer json.RawMessage) {
			b.Helper()
			n++
			_, _, err := b.access.LogInPasskey(ctx, answer, "192.0.2."+string(rune('0'+n%10)))
			b.refusedAs(what, err, lh.Unauthenticated)
			if err != nil && !strings.Contains(lh.PublicMessage(err), "this passkey was not accepted") && !strings.Contains(lh.PublicMessage(err), "begin again") {
				b.Errorf("%s: %s", what, lh.PublicMessage(err))
			}
		}
		lie := func(what string, change func(*accesstest.Authenticator)) {
			b.Helper()
			liar := *honest
			liar.Count = honest.Count + 100
			change(&liar)
			try(what, b.answer(&liar, "", key))
		}
		lie("wrong origin", func(a *accesstest.Authenticator) { a.Origin = "https://hub.example.evil.example:8443" })
		lie("wrong port", func(a *accesstest.Authenticator) { a.Origin = "https://hub.example" })
		lie("in plaintext", func(a *accesstest.Authenticator) { a.Origin = "http://hub.example:8443" })
		lie("a sub-domain", func(a *accesstest.Authenticator) { a.Origin = "https://x.hub.example:8443" })
		lie("another site's key", func(a *accesstest.Authenticator) { a.RPID = "evil.example" })
		lie("wrong challenge", func(a *accesstest.Authenticator) { a.Challenge = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" })
		lie("no finger, no PIN", func(a *accesstest.Authenticator) { a.Unseen = true })
		lie("untouched", func(a *accesstest.Authenticator) { a.Absent = true })
		// An answer counts once, on whichever replica.
		honest.Count += 200
		answer := b.answer(honest, "", nil)
		if _, _, err := b.access.LogInPasskey(ctx, answer, "192.0.2.21"); err != nil {
			b.Fatal(err)
		}
		try("replay", answer)
		_, _, err := b.replica().LogInPasskey(ctx, answer, "192.0.2.22")
		b.refusedAs("replay on another replica", err, lh.Unauthenticated)
		// An answer to one kind of question is none to another, and one put to Ana is not Bob's to answer.
		need := b.half(b.ana.Email, "192.0.2.1")
		try("an answer for the second step, alone", b.answer(honest, need.Token, nil))
		finish := func(what string, answer json.RawMessage) {
			b.Helper()
			n++
			_, _, err := b.access.FinishLogIn(ctx, b.half(b.ana.Email, "192.0.2.1").Token, access.Answer{Passkey: answer}, "192.0.2.1")
			b.refusedAs(what, err, lh.Unauthenticated)
		}
		finish("an answer for a whole log-in, in the second step", b.answer(honest, "", nil))
		finish("another person's passkey", b.answer(bobs, need.Token, bobs.Keys[0]))
		finish("another person's question", b.answer(bobs, b.half(bob.Email, "192.0.2.2").Token, nil))
		// Somebody else's name on one's own key, and one's own key on somebody else's name.
		swapped := *bobs.Keys[0]
		swapped.Handle = key.Handle
		try("Bob's key for Ana", b.answer(bobs, "", &swapped))
		swapped = *key
		swapped.Handle = bobs.Keys[0].Handle
		honest.Count += 10
		try("Ana's key for Bob", b.answer(honest, "", &swapped))
		swapped.Handle = nil
		try("nobody's name", b.answer(honest, "", &swapped))
		swapped.Handle = []byte("usr_\x00\xff")
		try("no name", b.answer(honest, "", &swapped))
		foreign := &accesstest.Authenticator{Origin: hubURL}
		o, err := b.access.BeginPasskey(ctx, b.confirmed(b.in2(bob.Email, bobs), access.Answer{Passkey: b.again(b.in2(bob.Email, bobs), bobs)}))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := foreign.Create(o); err != nil { // never handed in
			b.Fatal(err)
		}
		try("a key that was never added", b.answer(foreign, "", foreign.Keys[0]))
		// Too late.
		answer = b.answer(honest, "", nil)
		b.clock.add(5*time.Minute + time.Second)
		try("after five minutes", answer)
		for what, garbage := range map[string]string{"nothing": "", "no object": "5", "no answer": `{}`, "deep": strings.Repeat("[", 60000), "cut off": string(answer[:len(answer)/2]),
			"no signature": strings.Replace(string(answer), `"signature":"`, `"signature":"AAAA`, 1)} {
			try(what, json.RawMessage(garbage))
		}
		// Making one is held to the same.
		b.clock.add(time.Hour)
		p := b.in2(b.ana.Email, honest)
		for what, change := range map[string]func(*accesstest.Authenticator){
			"wrong origin": func(a *accesstest.Authenticator) { a.Origin = "https://evil.example" }, "wrong challenge": func(a *accesstest.Authenticator) { a.Challenge = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
			"no finger, no PIN": func(a *accesstest.Authenticator) { a.Unseen = true }, "another site": func(a *accesstest.Authenticator) { a.RPID = "evil.example" },
		} {
			p = b.confirmed(p, access.Answer{Passkey: b.again(p, honest)})
			o, err := b.access.BeginPasskey(ctx, p)
			if err != nil {
				b.Fatal(err)
			}
			liar := &accesstest.Authenticator{Origin: hubURL}
			change(liar)
			made, err := liar.Create(o)
			if err != nil {
				b.Fatal(err)
			}
			_, _, err = b.access.AddPasskey(ctx, p, "x", made)
			b.refusedAs("made: "+what, err, lh.Forbidden)
		}
	})
}

// in2 logs somebody in who has a passkey.
func (b *bench) in2(email string, auth *accesstest.Authenticator) access.Principal {
	b.Helper()
	auth.Count += 1000
	p, _, err := b.access.LogInPasskey(ctx, b.answer(auth, "", nil), "203.0.113.1")
	if err != nil || p.User.Email != email {
		b.Fatalf("%s: %+v %v", email, p, err)
	}
	return p
}

// again is what a passkey answers that is asked to confirm.
func (b *bench) again(p access.Principal, auth *accesstest.Authenticator) json.RawMessage {
	b.Helper()
	o, err := b.access.AskPasskeyAgain(ctx, p)
	if err != nil {
		b.Fatal(err)
	}
	auth.Count += 1000
	a, err := auth.Get(o, nil)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// TestCopiedPasskey: a counter that goes back is refused, noted and told, and the key with the higher count works on.
func TestCopiedPasskey(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		auth := &accesstest.Authenticator{Origin: hubURL}
		b.key(b.in(b.ana.Email), auth, access.Answer{})
		auth.Count = 10
		p := b.in2(b.ana.Email, auth)
		b.mailed()
		copied := *auth
		copied.Count = 3
		_, _, err := b.access.LogInPasskey(ctx, b.answer(&copied, "", nil), "192.0.2.1")
		b.refusedAs("a copy", err, lh.Unauthenticated)
		if !strings.Contains(lh.PublicMessage(err), "counter went back") {
			b.Errorf("a copy: %v", err)
		}
		f, err := b.access.Factors(ctx, p)
		if err != nil || len(f.Passkeys) != 1 || f.Passkeys[0].Suspect == 0 {
			b.Errorf("%+v %v", f, err)
		}
		b.wantAudited("factor.passkey.suspect")
		b.wantMailed("may have been copied")
		copied = *auth
		copied.Count-- // the very count that was used last
		_, _, err = b.access.LogInPasskey(ctx, b.answer(&copied, "", nil), "192.0.2.1")
		b.refusedAs("the same count again", err, lh.Unauthenticated)
		b.in2(b.ana.Email, auth)
		// One that counted and no longer does is refused too.
		copied = *auth
		copied.Still = true
		_, _, err = b.access.LogInPasskey(ctx, b.answer(&copied, "", nil), "192.0.2.1")
		b.refusedAs("a count of nothing", err, lh.Unauthenticated)
	})
}

// TestPasskeysNeedAName: a hub that is reached by an address alone says so.
func TestPasskeysNeedAName(t *testing.T) {
	for _, url := range []string{"", "https://192.0.2.1:8443", "https://[2001:db8::1]", "http://hub.example", "hub.example", "https://"} {
		eachEngine(t, func(o *access.Options) { o.URL = url }, func(b *bench) {
			if b.access.CanPasskey() {
				b.Errorf("%q has passkeys", url)
			}
			_, err := b.access.AskPasskey(ctx, "", "192.0.2.1")
			b.refusedAs(url, err, lh.Conflict)
			_, err = b.access.BeginPasskey(ctx, b.confirmed(b.in(b.ana.Email), access.Answer{}))
			b.refusedAs(url, err, lh.Conflict)
			_, _, err = b.access.LogInPasskey(ctx, json.RawMessage("{}"), "192.0.2.1")
			b.refusedAs(url, err, lh.Conflict)
		})
	}
}

// TestLastWayInStays: what would leave somebody with nothing to log in with is refused.
func TestLastWayInStays(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		u, err := b.db.CreateUser(ctx, lh.User{Email: "carl@test.example", Name: "Carl"}, "") // as by a provider
		if err != nil {
			b.Fatal(err)
		}
		_, _, err = b.access.LogIn(ctx, u.Email, "", "192.0.2.1")
		b.refusedAs("no password", err, lh.Unauthenticated)
		i, err := b.db.AddIdentity(ctx, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)}, lh.Identity{User: u.ID, Issuer: "https://idp.example", Subject: "1"})
		if err != nil {
			b.Fatal(err)
		}
		s := lh.Session{ID: lh.NewSessionID(), User: u.ID, Created: lh.MillisOf(b.clock.now()), Expires: lh.MillisOf(b.clock.now().Add(time.Hour)), Proof: lh.ProofProvider}
		if err := b.db.CreateSession(ctx, s, []byte("hash")); err != nil {
			b.Fatal(err)
		}
		p := access.Principal{Kind: lh.ActorUser, User: u, Session: s}
		until, err := b.access.Confirm(ctx, p, "", access.Answer{})
		if err != nil || until == 0 {
			b.Fatalf("somebody who has just come from the provider: %v", err)
		}
		p.Session.Confirmed = lh.MillisOf(b.clock.now())
		b.refusedAs("the only way in", b.access.Unlink(ctx, p, i.ID), lh.Conflict)
		b.clock.add(11 * time.Minute)
		_, err = b.access.Confirm(ctx, p, "", access.Answer{})
		b.refusedAs("long after coming from the provider", err, lh.Forbidden)
	})
}

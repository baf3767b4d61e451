// Package fleet is the life of dataloggers as the hub sees it: listed in the inventory with a one-time claim code,
// claimed into a project by its owner, enrolled with a certificate of their own, describing their channels, renewed,
// and revoked.
package fleet

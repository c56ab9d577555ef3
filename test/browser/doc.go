// Package browser has a headless Chromium use the dashboard of a real fleet, as
// a person would: what the page shows, each of its actions, and what hostile
// text does to it, which is nothing. It is a module of its own so that hermes
// does not depend on what drives the browser.
package browser

// The theme somebody chose, before anything is painted. Without a choice the
// system's counts.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* no storage: the system's */ }

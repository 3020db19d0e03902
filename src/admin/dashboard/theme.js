// Runs before the first paint, so that nobody who chose dark sees a white flash.
"use strict";
try {
  const theme = localStorage.getItem("ringway.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // storage may be forbidden; the system's choice holds then
}

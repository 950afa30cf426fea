// The chosen theme, worn before anything is drawn: no module, since those wait for the whole document.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* storage is not allowed: the system's theme */ }

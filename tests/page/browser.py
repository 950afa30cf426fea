"""Debian's Chromium, without a window, and what tests ask of a page in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.patience import PATIENCE_S

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = next((name for name, path in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if path is None), None)
AXE = Path(__file__).with_name("axe.min.js")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
)


@contextmanager
def chromium() -> Iterator["Browser"]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """One tab, with the few things that tests do in it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load a page anew, even if only the fragment differs."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def find(self, css: str) -> WebElement:
        """Return the first element that matches, once it exists."""
        return WebDriverWait(self.driver, PATIENCE_S, 0.03).until(lambda _: next(iter(self.all(css)), None))

    def click(self, element: str | WebElement) -> None:
        """Click in the middle of the window: at its edges are the header and the composer."""
        element = self.find(element) if isinstance(element, str) else element
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()

    def double_click(self, css: str) -> None:
        """Click twice, which the browser takes for a double click however slow the machine is."""
        at = self.run(
            "arguments[0].scrollIntoView({block: 'nearest'}); return arguments[0].getBoundingClientRect()",
            self.find(css),
        )
        middle = {"x": at["x"] + at["width"] / 2, "y": at["y"] + at["height"] / 2, "button": "left"}
        for count in (1, 2):
            for name in ("mousePressed", "mouseReleased"):
                event = middle | {"type": name, "clickCount": count}
                self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def text(self, css: str) -> str:
        self.find(css)
        return str(self.run("return document.querySelector(arguments[0]).innerText", css))

    def until(self, expression: str, *arguments: Any) -> Any:
        """Wait until a JavaScript expression is true."""
        wait = WebDriverWait(self.driver, PATIENCE_S, 0.03)
        return wait.until(
            lambda driver: driver.execute_script(f"return ({expression})", *arguments), f"never: {expression}"
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, scheme: str) -> None:
        """Set the color scheme that the system prefers: `dark` or `light`."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def select(self, css: str, value: str) -> None:
        """Choose an option, or set the value of an input, as a user's event would."""
        self.find(css)
        self.run(
            "const at = document.querySelector(arguments[0]); at.value = arguments[1];"
            "for (const name of ['input', 'change']) at.dispatchEvent(new Event(name, {bubbles: true}))",
            css,
            value,
        )

    def texts(self, css: str) -> list[str]:
        """Return the visible text of each element."""
        script = "return [...document.querySelectorAll(arguments[0])].map(at => at.innerText.trim())"
        return [str(text) for text in self.run(script, css)]

    def ask(self, prompt: str, turns: int = 1) -> None:
        """Ask in the playground, and wait until the last of so many turns has ended."""
        self.select("#prompt", prompt)
        self.click(".send")
        self.until_answered(turns)

    def until_answered(self, turns: int = 1) -> None:
        """Wait until so many turns of the playground have ended."""
        self.until("document.querySelectorAll('.turn .copies').length === arguments[0]", turns)

    def complaints(self) -> list[str]:
        """Return the console's messages since the last call: refusals of the policy, and errors."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def findings(self, impacts: tuple[str, ...] = ("serious", "critical")) -> list[str]:
        """Return axe's findings about the page, of these impacts."""
        self.driver.execute_script(AXE.read_text(encoding="utf-8"))
        result = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']})"
            ".then(done, error => done({violations: [{id: String(error), impact: 'critical', nodes: []}]}))"
        )
        return [
            f"{rule['id']}: {[(node['html'][:160], node.get('failureSummary')) for node in rule['nodes'][:3]]}"
            for rule in result["violations"]
            if rule["impact"] in impacts
        ]

    def picture(self, path: Path | str) -> None:
        self.driver.save_screenshot(str(path))

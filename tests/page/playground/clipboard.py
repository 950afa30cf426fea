"""A clipboard that keeps what the page copies, since a browser without a window may have none."""

from tests.page.browser import Browser


def keep_copies(browser: Browser) -> None:
    browser.run("window.copied = []; navigator.clipboard.writeText = async text => { window.copied.push(text); }")


def copied(browser: Browser, number: int = 1) -> list[str]:
    """Return what was copied, once it is so many texts."""
    browser.until("window.copied.length === arguments[0]", number)
    return [str(text) for text in browser.run("return window.copied")]

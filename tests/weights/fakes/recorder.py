"""A progress reporter that keeps what it was told."""


class Recorder:
    """Reporter and task in one: keeps what it was told."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.notes: list[str] = []
        self.messages: list[str] = []
        self.finished: list[str] = []
        self.bytes: list[tuple[int, int | None]] = []
        self.stop_at = stop_at

    def start(self, name: str) -> "Recorder":
        return self

    def update(self, note: str, done_bytes: int | None = None, total_bytes: int | None = None) -> None:
        if note == self.stop_at:
            raise KeyboardInterrupt
        self.notes.append(note)
        if done_bytes is not None:
            self.bytes.append((done_bytes, total_bytes))

    def message(self, text: str) -> None:
        self.messages.append(text)

    def finish(self, note: str) -> None:
        self.finished.append(note)

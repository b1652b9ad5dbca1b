"""A mistake in one line of ``knock/core``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: in ``knock/core/<module>.py`` the text ``old``, found once, becomes ``new``."""

    name: str
    module: str
    old: str
    new: str

    def mutate(self, source: str) -> str:
        """Return the source with the mistake in it."""
        count = source.count(self.old)
        if count != 1:
            raise ValueError(f"{self.name}: the text is {count} times in {self.module}.py")
        return source.replace(self.old, self.new)

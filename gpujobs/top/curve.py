"""The learning curve of the job that is looked at: what its history.csv has, and what has been seen since."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpujobs.results.curves import JobHistory, Panel, panels


@dataclass
class Live:
    """Losses by epoch, counted from 1 as progress has them."""

    job: int
    seen: dict[float, float] = field(default_factory=dict)
    history: JobHistory | None = None

    def add(self, progress: dict[str, object] | None) -> bool:
        """Whether an epoch is new."""
        epoch, loss = (progress or {}).get("epoch"), (progress or {}).get("loss")
        if not isinstance(epoch, int | float) or not isinstance(loss, int | float):
            return False
        is_new = epoch not in self.seen
        self.seen[epoch] = loss
        return is_new

    def panel(self) -> Panel | None:
        """The loss, and that of the validation; None before there is any."""
        written = self.history.columns if self.history is not None else {}
        epochs = list(written.get("epoch", ()))
        later = sorted(one for one in self.seen if not epochs or one - 1 > epochs[-1])
        columns = {"epoch": [*epochs, *(one - 1 for one in later)]}
        nothing = [float("nan")] * len(later)
        columns["loss"] = [*written.get("loss", ()), *(self.seen[one] for one in later)]
        if "val_loss" in written:
            columns["val_loss"] = [*written["val_loss"], *nothing]
        if len(columns["loss"]) != len(columns["epoch"]) or not columns["epoch"]:
            return None
        return panels([JobHistory(self.job, "", columns)])[0]

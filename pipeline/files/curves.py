"""Training curves, for `dvc plots` and for TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dvclive import Live
from torch.utils.tensorboard import SummaryWriter


class Curves:
    """Values by epoch, in both formats."""

    def __init__(self, live: Live, board: SummaryWriter) -> None:
        self.live = live
        self.board = board

    def log(self, entry: Mapping[str, float]) -> None:
        """Add an epoch of a run's history, which is of validation but for the loss in training."""
        epoch = int(entry["epoch"])
        self.live.step = epoch
        for measure in (key for key in entry if key != "epoch"):
            name = measure if measure == "train_loss" else f"validation_{measure}"
            self.live.log_metric(name, entry[measure])
            self.board.add_scalar(name, entry[measure], epoch)
        self.live.make_summary()
        self.board.flush()


@contextmanager
def curves_in(folder: Path) -> Iterator[Curves]:
    """Write to `folder`, which is emptied, and to `tensorboard` in it."""
    with (
        Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None) as live,
        SummaryWriter(str(folder / "tensorboard")) as board,
    ):
        yield Curves(live, board)

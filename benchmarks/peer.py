"""Trains the peer convml-tt with its own classes, inside its own virtual environment.

    peer/bin/python benchmarks/peer.py TRIPLETS BACKBONE N_TRIPLETS

`TRIPLETS` holds a folder `train` of PNG files named as the peer wants them. Prints triplets/s. Only
what convml-tt installs is imported; networks, data module, size of a batch and trainer are as its
users get them.
"""

import sys
import time
import warnings

warnings.simplefilter("ignore")

import pytorch_lightning as lightning  # noqa: E402
from convml_tt.system import TripletTrainerDataModule, TripletTrainerModel  # noqa: E402


class Clock(lightning.Callback):
    """Notes when each batch was done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Called by the trainer."""
        self.times.append(time.perf_counter())


def main(folder: str, backbone: str, n_triplets: int) -> None:
    """Print triplets/s of about `n_triplets`; the first batch is left out, since it warms up."""
    model = TripletTrainerModel(base_arch=backbone)
    data = TripletTrainerDataModule(data_dir=folder, normalize_for_arch=backbone)
    n_batches = n_triplets // data.batch_size
    clock = Clock()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        limit_train_batches=n_batches + 1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[clock],
    )
    trainer.fit(model, datamodule=data)
    assert len(clock.times) == n_batches + 1, "too few triplets"
    print(n_batches * data.batch_size / (clock.times[-1] - clock.times[0]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

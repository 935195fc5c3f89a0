"""`brats cache`: everything of a run that comes before its network."""

from jsonargparse import ArgumentParser as JsonArgumentParser
from jsonargparse import Namespace

from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.errors import ConfigError
from brats_lightning.experiment.training import BratsCLI


class CacheCLI(BratsCLI):
    """Reads a configuration as `fit` does and only fills the cache."""

    def before_instantiate_classes(self) -> None:
        """No run: nothing is written but the cache."""

    def instantiate_classes(self) -> None:
        """Only the data."""
        if self._chosen.data.cache != "disk":
            raise ConfigError(f"`brats cache` fills the disk cache, found data.cache: {self._chosen.data.cache}")
        parser = JsonArgumentParser()
        parser.add_class_arguments(BratsDataModule, "data")
        self.datamodule = parser.instantiate(Namespace(data=self._chosen.data)).data

    def _run_subcommand(self, subcommand: str) -> None:  # noqa: ARG002
        self.datamodule.prepare_data()
        self.datamodule.predict_dataloader()  # unlabelled cases too

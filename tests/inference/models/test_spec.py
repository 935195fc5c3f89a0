from dataclasses import asdict

import pytest

from brats_lightning.data.bias_field import N4, Backend
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.inference.models.spec import preprocessing_of


def test_n4_of_a_checkpoint_that_names_no_backend_was_fitted_by_itk() -> None:
    settings = asdict(Preprocessing(bias_field=True, n4=N4(shrink=2)))
    del settings["n4"]["backend"]
    assert preprocessing_of(settings) == Preprocessing(bias_field=True, n4=N4(backend="itk", shrink=2))


@pytest.mark.parametrize("backend", ["torch", "itk"])
def test_n4_of_a_checkpoint_keeps_the_backend_it_names(backend: Backend) -> None:
    preprocessing = Preprocessing(bias_field=True, n4=N4(backend=backend))
    assert preprocessing_of(asdict(preprocessing)) == preprocessing


def test_settings_without_n4_are_the_defaults() -> None:
    assert preprocessing_of({}) == Preprocessing()

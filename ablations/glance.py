"""A quick look at all trials of a study: Optuna takes half a millisecond for each in a database."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial
from sqlalchemy import Select, select


def glance(storage: BaseStorage, study_id: int, cell: str | None = None) -> Sequence[FrozenTrial]:
    """Return all trials of a study in the order of their numbers; those of a database lack parameters.

    A trial's attributes and values are read after its state, and are there before it ends: what is read
    of a trial that has ended is whole.

    Args:
        storage: of any kind.
        study_id: id in the storage.
        cell: of this cell alone, where that is quicker.
    """
    backend = without_cache(storage)
    if not isinstance(backend, RDBStorage):
        return storage.get_all_trials(study_id, deepcopy=False)
    return _read(backend, study_id, cell)


def without_cache(storage: BaseStorage) -> BaseStorage:
    """Return the database behind Optuna's cache, which reads all trials to return those in one state."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def _read(backend: RDBStorage, study_id: int, cell: str | None) -> list[FrozenTrial]:
    from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel, TrialValueModel

    trial, attribute, value = TrialModel, TrialUserAttributeModel, TrialValueModel
    mine = trial.study_id == study_id
    if cell is not None:
        is_cell = (attribute.key == "cell") & (attribute.value_json == json.dumps(cell))
        mine &= trial.trial_id.in_(select(attribute.trial_id).where(is_cell))

    def of(table: Any, *columns: Any) -> Select[Any]:
        return select(*columns).join(trial, table.trial_id == trial.trial_id).where(mine)

    dates = [trial.__table__.c[name] for name in ("datetime_start", "datetime_complete")]
    listed: Select[Any] = select(trial.trial_id, trial.number, trial.state, *dates).where(mine)
    with backend.engine.connect() as connection:
        rows = connection.execute(listed.order_by(trial.trial_id)).all()
        told = connection.execute(of(attribute, attribute.trial_id, attribute.key, attribute.value_json))
        attributes: dict[int, dict[str, Any]] = defaultdict(dict)
        for trial_id, key, text in told:
            attributes[trial_id][key] = json.loads(text)
        scores = of(value, value.trial_id, value.value, value.value_type).order_by(value.objective)
        values: dict[int, list[float]] = defaultdict(list)
        for trial_id, number, kind in connection.execute(scores):
            values[trial_id].append(value.stored_repr_to_value(number, kind))
    return [
        FrozenTrial(
            number=number, state=state, value=None, values=values.get(trial_id),
            datetime_start=_local(start), datetime_complete=_local(end), params={}, distributions={},
            user_attrs=attributes[trial_id], system_attrs={}, intermediate_values={}, trial_id=trial_id,
        )
        for trial_id, number, state, start, end in rows
    ]  # fmt: skip


def _local(stored: datetime | None) -> datetime | None:
    """Turn a date as Optuna stores it, without a zone in UTC, into one as it returns it."""
    return stored and stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)

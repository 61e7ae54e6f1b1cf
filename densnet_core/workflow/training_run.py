"""What runs on computed and on given frames share: networks that fit their data, and the training of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from densnet_core.config import Config, select
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.specification import DensitySpecification
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.executors import Executor
from densnet_core.structures import Structure
from densnet_core.testing.quick import quick_check
from densnet_core.training.plan import Plan
from densnet_core.training.terms import wanted_labels
from densnet_core.workflow.folder import RunFolder, key_of
from densnet_core.workflow.learning import check_networks, network_choices, origins, plan_of, train_together
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.staged import Staged


class TrainingRun(Staged):
    """The networks of a configuration and their training; a subclass says where the frames come from.

    Parameters
    ----------
    config : Config
    reporter : Reporter or None
        Receives the progress.
    manager : Manager or None
        Where components are looked up.

    Raises
    ------
    ConfigError
        If the configuration refers to something that is not there.
    """

    def __init__(self, config: Config, reporter: Reporter | None, manager: Manager | None) -> None:
        super().__init__(RunFolder(config.output_directory), reporter or Reporter())
        self.config = config
        self.manager = manager or get_manager()
        self.selection = select(config, self.manager)

    def _given_specification(self) -> DensitySpecification:
        """What the density network predicts as far as it is known before the first stage."""
        raise NotImplementedError

    def _example(self) -> Structure:
        """A molecule on which the networks are tried out."""
        raise NotImplementedError

    @cached_property
    def executor(self) -> Executor:
        chosen = self.selection.executor
        executor: Executor = self.manager.load(chosen.component)(chosen.options)
        return executor

    @cached_property
    def choices(self) -> tuple[NetworkChoice, NetworkChoice]:
        """The density and the energy network, as the configuration has them."""
        return network_choices(self.selection)

    @cached_property
    def plan(self) -> Plan:
        """The stages of the training."""
        return plan_of(self.config.training, self.choices, self.manager)

    @cached_property
    def origins(self) -> dict[str, dict[str, Any]]:
        """Which code makes the model."""
        return origins(self.selection, self.manager)

    @cached_property
    def _built(self) -> list[Any]:
        return check_networks(self.config, self.choices, self._given_specification(), self.manager)

    def check(self) -> None:
        """Build both networks and forget them, so that what does not fit the basis is refused before hours of work.

        Raises
        ------
        ConfigError
        """
        _ = self._built

    def _prepare(self) -> None:
        """Equivariance, gradient and export of both networks, once for each state of their code: before any label."""
        self.check()
        specification = self._given_specification()
        code = {slot: one for slot, one in self.origins.items() if slot != "reference"}
        states = [list(state) for state in specification.states]
        key = key_of(
            "networks", [choice.to_dict() for choice in self.choices], code, specification.basis.to_dict(), states
        )
        if not self.folder.is_current("networks", key):
            density, energy = self._built
            quick_check(density, energy, self._example())
            self.folder.finish("networks", key, 0.0)

    @cached_property
    def labels(self) -> list[str]:
        """Names of the labels that any stage of the training learns from."""
        return wanted_labels(self.plan.all_wanted(self.manager))

    def _learn(
        self,
        train: Dataset,
        validation: Dataset,
        specification: DensitySpecification,
        prior: AtomicPrior,
        atoms: Mapping[int, float],
        document: Mapping[str, Any],
    ) -> DenSNet:
        """The trained model; goes on from checkpoints of this configuration, sets those of another aside.

        Parameters
        ----------
        atoms : mapping
            Energies of isolated atoms by atomic number, hartree, where they are not to be fitted.
        document : mapping
            What the model says about its data.
        """
        for network, name in self.plan.stage_names:
            for path in self.folder.training_files(name):
                self._own(path, network)
        start, made = self.config.training.start, {"training_key": self._keys["train"], "made_by": self.origins}
        return train_together(
            {
                "dataset": replace(train, atomic_energies=atoms),
                "validation": validation,
                "specification": specification,
                "prior": prior,
                "plan": self.plan,
                "choices": self.choices,
                "start": None if start is None else DenSNet.load(start, self.manager),
                "folder": self.folder.training,
                "keys": self._keys,
                "document": {
                    "name": self.folder.root.name,
                    "config": self.config.model_dump(mode="json", by_alias=True),
                    "labels": asdict(self.config.basis.fit_method),
                    **document,
                    "provenance": {**document.get("provenance", {}), **made},
                },
                "listener": self.reporter,
                "manager": self.manager,
            }
        )

"""Losses, the training loop, checkpoints and evaluation."""

from densnet_core.training.plan import Plan, Stage
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.train import train_model

__all__ = ["LoopOptions", "Plan", "Stage", "train_model"]

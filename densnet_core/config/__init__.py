"""The configuration schema and its reader."""

from densnet_core.config.inputs import check_spectrum
from densnet_core.config.load import Chosen, Selection, load_config, parse_config, select
from densnet_core.config.schema import Config

__all__ = ["Chosen", "Config", "Selection", "check_spectrum", "load_config", "parse_config", "select"]

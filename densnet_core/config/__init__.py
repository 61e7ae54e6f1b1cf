"""The configuration schema and its reader."""

from densnet_core.config.load import Chosen, Selection, check_inputs, check_spectrum, load_config, parse_config, select
from densnet_core.config.schema import Config

__all__ = ["Chosen", "Config", "Selection", "check_inputs", "check_spectrum", "load_config", "parse_config", "select"]
